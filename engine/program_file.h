// Integer programs as self-contained files.
//
// Little-endian: "QGRADINT", the version (uint32), a checksum of all that follows (uint64, FNV-1a), then the fields of
// Program in their order. Lists are preceded by their length (uint32). Weights are packed at their bit width, less the
// smallest weight of their output channel and without the zero bits that all of these differences end with.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "engine/program.h"

namespace qgrad::deploy {

inline constexpr uint32_t kProgramVersion = 6;
inline constexpr uint64_t kMostProgramBytes = uint64_t{1} << 30;

std::string program_bytes(const Program& program);
// Throws Error, naming the file, for anything but a program that an engine can run.
Program program_from_bytes(std::string_view bytes, std::string_view file_for_messages);
bool is_program_file(const std::filesystem::path& file);  // by its first bytes
// At most kMostProgramBytes are read.
Program read_program(const std::filesystem::path& file);

}  // namespace qgrad::deploy

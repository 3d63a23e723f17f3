// What the fuzz targets share. A target is one_input(), which libFuzzer calls with bytes of its making (main.cpp): it
// reads them as a file of one kind. An Error is an answer; any other exception, a finding of a sanitizer, a block of
// memory that the file does not justify and a call that takes too long are findings.
#pragma once

#include <filesystem>
#include <string_view>

namespace qgrad::fuzz {

void one_input(std::string_view bytes);

// A file in memory that holds these bytes, until the next call.
std::filesystem::path file_of(std::string_view bytes);

inline constexpr size_t kProgramHead = 8 + 4 + 8;  // of a program's file: what it is, version, checksum

}  // namespace qgrad::fuzz

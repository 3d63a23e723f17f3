// What results record of the run that made them, beside its config and seed.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"
#include "tasks/output_folder.h"
#include "tasks/task.h"

namespace qgrad {

// {"version", "commit", "compiler", "instruction_set"} of this program, and what its numbers follow from beside the
// config, with checksums: "data_crc32c", and "files_crc32c" of the files that the config names, a checkpoint say.
Json run_facts(const Task& task, const Json& config);

std::vector<std::string> files_of(const Json& facts);  // that the config names

Json crc32c_of_file(const std::filesystem::path& file);  // in hexadecimal digits

// Adds facts and the command to results, under "run", and writes results.json.
void write_results(OutputFolder& folder, const std::string& command, Json& results, const Json& facts);

}  // namespace qgrad

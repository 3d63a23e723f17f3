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

// The checksums among them.
Json sources_of(const Json& facts);
// "data_crc32c.training is .., but was ..", of data and files that two runs know; null of earlier versions knows none.
std::vector<std::string> source_differences(const Json& facts_before, const Json& facts);

std::vector<std::string> files_of(const Json& facts);  // that the config names

Json crc32c_of_file(const std::filesystem::path& file);  // in hexadecimal digits

// Adds facts and the command to results, under "run", and writes results.json.
void write_results(OutputFolder& folder, const std::string& command, Json& results, const Json& facts);

}  // namespace qgrad

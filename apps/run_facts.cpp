// Collecting, comparing and writing them.
#include "apps/run_facts.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/version.h"
#include "core/checksum.h"
#include "core/file.h"

namespace qgrad {
namespace {

// Keys of a config, wherever they stand, whose text names a file.
const std::set<std::string> kFiles = {"checkpoint", "statistics", "model_activation_stats"};

void add_files(const Json& config, Json& sums) {
  for (const auto& [key, value] : config.items()) {
    if (value.is_structured()) add_files(value, sums);
    if (!kFiles.contains(key) || !value.is_string()) continue;
    const auto file = value.get<std::string>();
    if (std::filesystem::is_regular_file(file)) sums[file] = crc32c_of_file(file);
  }
}

}  // namespace

Json run_facts(const Task& task, const Json& config) {
  const Version v = version();
  Json facts = {{"version", v.version},
                {"commit", v.commit},
                {"compiler", v.compiler},
                {"instruction_set", v.instruction_set},
                {"data_crc32c", task.checksums()}};
  Json files = Json::object();
  add_files(config, files);
  if (!files.empty()) facts["files_crc32c"] = files;
  return facts;
}

std::vector<std::string> files_of(const Json& facts) {
  std::vector<std::string> files;
  const Json sums = facts.value("files_crc32c", Json::object());
  for (const auto& [file, sum] : sums.items()) files.push_back(file);
  return files;
}

Json crc32c_of_file(const std::filesystem::path& file) {
  return fmt::format("{:08x}", crc32c(read_file(file, "a file")));
}

void write_results(OutputFolder& folder, const std::string& command, Json& results, const Json& facts) {
  results["run"] = facts;
  results["run"]["command"] = command;
  write_json(folder.to_write("results.json"), results);
}

}  // namespace qgrad

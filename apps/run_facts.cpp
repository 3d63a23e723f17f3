// Collecting and writing them.
#include "apps/run_facts.h"

#include <nlohmann/json.hpp>

#include "apps/version.h"

namespace qgrad {

Json run_facts(const Task& task) {
  const Version v = version();
  return {{"version", v.version},
          {"commit", v.commit},
          {"compiler", v.compiler},
          {"instruction_set", v.instruction_set},
          {"data_crc32c", task.checksums()}};
}

void write_results(OutputFolder& folder, Json& results, const Task& task) {
  results["run"] = run_facts(task);
  write_json(folder.to_write("results.json"), results);
}

}  // namespace qgrad

// What results record of the run that made them, beside its config and seed.
#pragma once

#include "core/json.h"
#include "tasks/output_folder.h"
#include "tasks/task.h"

namespace qgrad {

// {"version", "commit", "compiler", "instruction_set", "data_crc32c"}: as they are now, and checksums of the data.
Json run_facts(const Task& task);

// Adds them to results, under "run", and writes results.json.
void write_results(OutputFolder& folder, Json& results, const Task& task);

}  // namespace qgrad

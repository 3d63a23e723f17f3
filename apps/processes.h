// The processes of one command: this one alone, or those that `mpirun` has started, in a build with QGRAD_MPI. They see
// the same files. The first one says what is said and writes what is written, unless a piece of work is another's.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "core/json.h"
#include "core/ranks.h"
#include "tasks/output_folder.h"

namespace qgrad {

// Of the first process the folder that it locks, of another the same folder.
std::unique_ptr<OutputFolder> shared_folder(const std::filesystem::path& path);

// Finds out how many there are, before threads are started. Throws where mpirun has started several processes of a
// build without MPI.
void join_processes();
int process_count();
bool is_first_process();

// For a training on all of them; null: there is one.
Ranks* training_ranks();

// Pieces of work by their numbers, as the first process has them, each done by a process that is free, in this order:
// work(piece) there, and done(piece, result) on the first one, one at a time. Returns on the first process when all are
// done, on another when no piece is left for it. What work() throws is thrown there. Throws Stopped where another
// process was stopped, or this one while it waits; `folder`: where the run goes on from.
using Work = std::function<Json(int64_t piece)>;
using Done = std::function<void(int64_t piece, const Json& result)>;
void share_work(const std::filesystem::path& folder, const std::vector<int64_t>& pieces, const Work& work,
                const Done& done);

// All call it before they share work. Throws where this process has another config, program or data than the first one,
// or another `state` to go on from (null: from none), and says what differs; instruction sets and folders of data may.
void check_alike(const Json& config, const Json& facts, const Json& state);

// Returns on the others when the first one has called it.
void wait_for_first_process();

// At the end of all: done; stopped as they were asked to, when mpirun may answer no more; or after an error of one of
// them. The last two end the process where there are several.
void leave_processes();
void stop_processes(int status);
void end_processes(int status);

}  // namespace qgrad

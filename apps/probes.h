// The measurements of a sensitivity analysis, shared by the processes of a command.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "tasks/sensitivity.h"

namespace qgrad {

// Of every probe, in the order of the probes, on the first process; on another what is not measured is missing.
// `known`: what needs no measuring. `folder`: of the run. keep(what there is) is called after every measurement. Shows
// progress under `label`.
std::vector<Damage> measured(const Sensitivity& sensitivity, const std::vector<Damage>& known, const std::string& label,
                             const std::filesystem::path& folder,
                             const std::function<void(const std::vector<Damage>& so_far)>& keep);

}  // namespace qgrad

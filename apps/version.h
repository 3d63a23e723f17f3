// What this program is, for reports of errors and for whoever repeats a run.
#pragma once

#include <string>

namespace qgrad {

struct Version {
  std::string version, commit, compiler, instruction_set;
};
Version version();

// Lines of the version and the commit, the compiler, the instruction set in use, and the number of threads.
std::string version_text();

}  // namespace qgrad

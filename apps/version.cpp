// Compiled by itself: it changes with every commit.
#include "apps/version.h"

#include <fmt/format.h>

#include "core/kernels/table.h"
#include "core/parallel.h"

#if __has_include("qgrad_commit.h")
#include "qgrad_commit.h"
#else
#define QGRAD_COMMIT "unknown"
#endif

namespace qgrad {
namespace {

#ifdef __clang__
constexpr const char* kCompiler = "Clang " __clang_version__;
#else
constexpr const char* kCompiler = "GCC " __VERSION__;
#endif

}  // namespace

Version version() { return {QGRAD_VERSION, QGRAD_COMMIT, kCompiler, kernels().isa}; }

std::string version_text() {
  const Version v = version();
  return fmt::format("qgrad {}, commit {}\ncompiler: {}\ninstruction set: {}\nthreads: {}", v.version, v.commit,
                     v.compiler, v.instruction_set, num_threads());
}

}  // namespace qgrad

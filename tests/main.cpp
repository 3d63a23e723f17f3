// The test runner.
#define CATCH_CONFIG_RUNNER
#include <fmt/format.h>

#include "support/catch.h"
#include "support/golden.h"

int main(int argc, char** argv) {
  Catch::Session session;
  if (const int wrong_usage = session.applyCommandLine(argc, argv)) return wrong_usage;
  const int failures = session.run();
  if (!session.configData().testsOrTags.empty()) return failures;
  // A run of everything opens every golden file there is.
  const std::vector<std::string> unopened = qgrad::golden::unopened();
  for (const std::string& name : unopened) fmt::print(stderr, "golden {}: no test opens it\n", name);
  return failures != 0 || unopened.empty() ? failures : 1;
}

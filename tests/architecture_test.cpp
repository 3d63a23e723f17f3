// Which floor may include which: docs/architecture.md. And what tests may name.
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>

#include "support/catch.h"

TEST_CASE("files include what is on their own floor or below it") {
  namespace fs = std::filesystem;
  const std::map<std::string, std::set<std::string>> below = {
      {"core", {"core"}},
      {"engine", {"core", "engine"}},
      {"nn", {"core", "nn"}},
      {"data", {"core", "data"}},
      {"quant", {"core", "nn", "quant"}},
      {"quant/export", {"core", "engine", "nn", "quant"}},
      {"tasks", {"core", "data", "engine", "nn", "quant", "tasks"}},
      {"apps", {"apps", "core", "data", "engine", "nn", "quant", "tasks"}},
  };
  const fs::path root = QGRAD_SOURCE_DIR;
  const std::regex include(R"re(^\s*#include "([a-z]+)/)re");
  int files = 0;
  for (const auto& [folder, allowed] : below)
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root / folder)) {
      const std::string path = fs::relative(entry.path(), root).string(), extension = entry.path().extension().string();
      if (extension != ".h" && extension != ".cpp" && extension != ".inl") continue;
      if (folder == "quant" && path.starts_with("quant/export/")) continue;
      ++files;
      std::ifstream stream(entry.path());
      std::smatch match;
      for (std::string line; std::getline(stream, line);)
        if (std::regex_search(line, match, include) && !allowed.contains(match[1])) FAIL_CHECK(path << ": " << line);
    }
  CHECK(files > 200);
}

TEST_CASE("tests take from support/catch.h what Catch2 2 and 3 name differently") {
  namespace fs = std::filesystem;
  const fs::path tests = fs::path(QGRAD_SOURCE_DIR) / "tests";
  const std::regex differs("Catch::(Matchers::)?(Contains|Approx)\\b");
  int files = 0;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(tests)) {
    const std::string path = fs::relative(entry.path(), tests).string();
    if (entry.path().extension() != ".cpp" || path == "architecture_test.cpp") continue;
    ++files;
    std::ifstream stream(entry.path());
    for (std::string line; std::getline(stream, line);)
      if (std::regex_search(line, differs)) FAIL_CHECK(path << ": " << line);
  }
  CHECK(files > 100);
}

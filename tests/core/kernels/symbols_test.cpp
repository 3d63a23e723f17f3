// Object files of an instruction set must export nothing but their tables: one weak symbol (an inline function of a
// shared header, say) could replace the portable copy at link time and crash processors without that set.
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "support/catch.h"

namespace {

// The symbols of an object file, one "type name" each; nothing where nm is missing.
std::vector<std::string> symbols_of(const std::string& object) {
  std::vector<std::string> symbols;
  FILE* pipe = ::popen(("nm -C --defined-only '" + object + "' 2>/dev/null").c_str(), "r");
  if (!pipe) return symbols;
  char line[4096];
  while (std::fgets(line, sizeof line, pipe)) {
    std::string text(line);
    while (!text.empty() && text.back() == '\n') text.pop_back();
    // "0000000000000980 T qgrad::norm_avx2()"
    if (const size_t space = text.find(' '); space != std::string::npos) symbols.push_back(text.substr(space + 1));
  }
  ::pclose(pipe);
  return symbols;
}

}  // namespace

TEST_CASE("object files of an instruction set hold no weak symbols") {
  std::ifstream list(QGRAD_ISA_OBJECT_LIST);
  REQUIRE(list.good());
  size_t objects = 0;
  for (std::string object; std::getline(list, object);) {
    if (object.empty()) continue;
    const std::vector<std::string> symbols = symbols_of(object);
    if (symbols.empty()) {
      WARN("skipped: nm gives no symbols of " << object);
      continue;
    }
    ++objects;
    for (const std::string& symbol : symbols) {
      INFO(object << ": " << symbol);
      if (symbol.find("typeinfo") != std::string::npos) continue;  // data, of clang's sanitizer of function pointers
      CHECK(std::string("WVu").find(symbol[0]) == std::string::npos);
    }
  }
  if (objects == 0) WARN("skipped: no such object files here");
}

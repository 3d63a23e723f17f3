// How many cases a test with random ones takes: few, or as many as $QGRAD_FUZZ_CASES says.
#pragma once

#include <cstdint>
#include <cstdlib>

namespace qgrad::test {

inline uint64_t random_cases(uint64_t few) {
  const char* wanted = std::getenv("QGRAD_FUZZ_CASES");
  return wanted ? std::strtoull(wanted, nullptr, 10) : few;
}

}  // namespace qgrad::test

// Counts the allocations of a piece of work.
#pragma once

#include <cstdint>

namespace qgrad::test {

// How often operator new was called since the program began, by any thread; AddressSanitizer keeps its own, and the
// count is 0.
int64_t allocations();

}  // namespace qgrad::test

// Counts the allocations of a piece of work. AddressSanitizer keeps its own, and all counts are 0.
#pragma once

#include <cstdint>

namespace qgrad::test {

// How often operator new was called since the program began, by any thread.
int64_t allocations();

// What it gave that was not given back; and the most of it at a time since forget_most_bytes().
int64_t bytes_held();
int64_t most_bytes();
void forget_most_bytes();

}  // namespace qgrad::test

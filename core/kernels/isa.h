// Which row of a kernel table runs here.
#pragma once

#include <cstdlib>
#include <span>
#include <string_view>

#include "core/error.h"

namespace qgrad {

inline bool processor_has_avx2() {
#ifdef QGRAD_X86_64
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

// The row that QGRAD_ISA names, else the last one. Rows have a name `isa` and stand in order, scalar first.
template <class Row>
const Row& chosen_row(std::span<const Row* const> rows) {
  const char* forced = std::getenv("QGRAD_ISA");
  if (!forced || !*forced) return *rows.back();
  for (const Row* row : rows)
    if (std::string_view(row->isa) == forced) return *row;
  fail("QGRAD_ISA={}: expected scalar{}", forced, rows.size() > 1 ? " or avx2" : " (this processor has no AVX2)");
}

}  // namespace qgrad

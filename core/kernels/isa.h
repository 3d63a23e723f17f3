// Instruction sets, and which row of a kernel table runs here.
#pragma once

#include <cstdlib>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#ifdef QGRAD_X86_64
#include <cpuid.h>
#endif

#include "core/error.h"

namespace qgrad {

// One for each row of a table, in the order of preference.
enum class Isa { scalar, avx2, avx2_vnni, avx512, avx512_vnni };
inline constexpr const char* kIsaNames[] = {"scalar", "avx2", "avx2_vnni", "avx512", "avx512_vnni"};

// That alone does not make a row: the scalar one uses it where it is.
inline bool processor_has_fma() {
#ifdef QGRAD_X86_64
  return __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

// AVX-VNNI: its byte products are those of AVX-512's VNNI, in 256 bits and without the rest of AVX-512.
inline bool processor_has_avx_vnni() {
#ifdef QGRAD_X86_64
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
#else
  return false;
#endif
}

inline bool processor_has(Isa isa) {
#ifdef QGRAD_X86_64
  const bool avx2 = __builtin_cpu_supports("avx2") && processor_has_fma();
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  switch (isa) {
    case Isa::scalar:
      return true;
    case Isa::avx2:
      return avx2;
    case Isa::avx2_vnni:
      return avx2 && processor_has_avx_vnni();
    case Isa::avx512:
      return avx512;
    case Isa::avx512_vnni:
      return avx512 && __builtin_cpu_supports("avx512vnni");
  }
#endif
  return isa == Isa::scalar;
}

// A kernel table: one row for each instruction set that the processor has. `Row` has a name `isa`.
template <class Row>
class IsaTable {
 public:
  // The functions that give the rows, in the order of Isa. They are called where their row runs only, as their own code
  // may be for that instruction set.
  explicit IsaTable(std::initializer_list<Row (*)()> rows) {
    rows_.reserve(rows.size());
    auto isa = Isa::scalar;
    for (Row (*row)() : rows) {
      if (processor_has(isa)) rows_.push_back(row()), rows_.back().isa = kIsaNames[static_cast<int>(isa)];
      isa = static_cast<Isa>(static_cast<int>(isa) + 1);
    }
    for (const Row& row : rows_) pointers_.push_back(&row);
  }
  IsaTable(const IsaTable&) = delete;

  std::span<const Row* const> rows() const { return pointers_; }

  // The row that QGRAD_ISA names, else the last one.
  const Row& chosen() const {
    const char* forced = std::getenv("QGRAD_ISA");
    if (!forced || !*forced) return rows_.back();
    std::string here;
    for (const Row& row : rows_) {
      if (std::string_view(row.isa) == forced) return row;
      here += here.empty() ? row.isa : std::string(", ") + row.isa;
    }
    fail("QGRAD_ISA={}: expected an instruction set that this processor has: {}", forced, here);
  }

 private:
  std::vector<Row> rows_;
  std::vector<const Row*> pointers_;
};

}  // namespace qgrad

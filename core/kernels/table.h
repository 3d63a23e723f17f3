// The kernel table: one family per folder, one row per instruction set, chosen once at run time.
//
// QGRAD_ISA=scalar|avx2|avx2_vnni|avx512|avx512_vnni forces a row; otherwise the best one the processor has. The scalar
// row is the specification. Every kernel is exact: the same bits on every instruction set. Kernels get plain pointers,
// never allocate, never start threads: ops split the work with parallel_for.
//
// A new family is a folder with a header, its loops and its cases (cases.h), an entry in QGRAD_KERNEL_FAMILIES, and a
// line in plain.inl. A new instruction set is a file beside avx2.cpp with its flags in CMakeLists.txt, its vectors in
// vector.h, its name in isa.h, and a row in table.cpp and in the engine's two tables.
#pragma once

#include <cstdint>
#include <span>

#include "core/kernels/conv/conv.h"
#include "core/kernels/elementwise/elementwise.h"
#include "core/kernels/gemm/gemm.h"
#include "core/kernels/integer/integer.h"
#include "core/kernels/norm/norm.h"
#include "core/kernels/pool/pool.h"
#include "core/kernels/quantize/quantize.h"
#include "core/kernels/reduce/reduce.h"
#include "core/kernels/winograd/winograd.h"

namespace qgrad {

#define QGRAD_KERNEL_FAMILIES(family)                                                                        \
  family(Conv, conv) family(ConvGradient, conv_gradient) family(Elementwise, elementwise) family(Gemm, gemm) \
      family(GemmGradient, gemm_gradient) family(Integer, integer) family(Norm, norm) family(Pool, pool)     \
          family(PoolGradient, pool_gradient) family(Quantize, quantize) family(Reduce, reduce)              \
              family(Winograd, winograd) family(WinogradGradient, winograd_gradient)

struct Kernels {
  const char* isa = nullptr;
#define QGRAD_MEMBER(Type, name) Type##Kernels name;
  QGRAD_KERNEL_FAMILIES(QGRAD_MEMBER)
#undef QGRAD_MEMBER
};

const Kernels& kernels();                             // the chosen row
std::span<const Kernels* const> available_kernels();  // every row this processor can run, scalar first

// Elements per chunk for elementwise loops: large enough to hide the cost of a chunk, small enough to share.
inline constexpr int64_t kElementwiseGrain = 1 << 14;

}  // namespace qgrad

// The kernel table: one family per header, one row per instruction set, chosen once at run time.
//
// QGRAD_ISA=scalar|avx2 forces a row; otherwise the best one the processor has. The scalar row is the specification.
// Each kernel is exact (the same bits on every instruction set) or tolerant (the sum order differs); its header says
// which. Kernels get plain pointers, never allocate, never start threads: ops split the work with parallel_for.
#pragma once

#include <cstdint>
#include <span>

#include "core/kernels/conv_kernels.h"
#include "core/kernels/elementwise_kernels.h"
#include "core/kernels/gemm_kernels.h"
#include "core/kernels/integer_kernels.h"
#include "core/kernels/norm_kernels.h"
#include "core/kernels/pool_kernels.h"
#include "core/kernels/quant_kernels.h"
#include "core/kernels/reduce_kernels.h"

namespace qgrad {

struct Kernels {
  const char* isa;
  ElementwiseKernels elementwise;
  ReduceKernels reduce;
  GemmKernels gemm;
  ConvKernels conv;
  PoolKernels pool;
  NormKernels norm;
  QuantKernels quant;
  IntegerKernels integer;
};

const Kernels& kernels();                             // the chosen row
std::span<const Kernels* const> available_kernels();  // every row this processor can run, scalar first

// Elements per chunk for elementwise loops: large enough to hide the cost of a chunk, small enough to share.
inline constexpr int64_t kElementwiseGrain = 1 << 14;

}  // namespace qgrad

// The integer engine's kernels, one row per instruction set. A table of its own, so that a program that only runs
// quantized networks links these kernels alone.
#pragma once

#include <span>

#include "engine/kernels/byte_kernels.h"

namespace qgrad {

const ByteKernels& byte_kernels();                             // the row that QGRAD_ISA or the processor chooses
std::span<const ByteKernels* const> available_byte_kernels();  // every row this processor can run, scalar first

}  // namespace qgrad

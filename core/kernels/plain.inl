// The loops of all families that are written once and compiled per instruction set. The including file defines
// QGRAD_ROW(family), the name of the function that gives a family's kernels.
#include "core/kernels/elementwise/elementwise.inl"
#include "core/kernels/integer/integer.inl"
#include "core/kernels/norm/norm.inl"
#include "core/kernels/pool/pool.inl"
#include "core/kernels/quantize/quantize.inl"
#include "core/kernels/reduce/reduce.inl"
#include "core/kernels/winograd/winograd.inl"

// Normalisation kernels for any processor.
#include "core/kernels/norm_kernels.h"

namespace qgrad {
namespace {

template <class Comparison>
uint8_t bits_of(const Comparison& lanes) {
  unsigned bits = 0;
  for (unsigned i = 0; i < 8; ++i) bits |= lanes[i] ? 1u << i : 0u;
  return static_cast<uint8_t>(bits);
}

}  // namespace
}  // namespace qgrad

#define QGRAD_NORM norm_scalar
#define QGRAD_BITS(lanes) bits_of(lanes)
#include "core/kernels/norm.inl"

// The integer engine's kernels for any processor.
#include "engine/kernels/byte_tile.h"

namespace qgrad {
namespace {

constexpr ByteArithmetic kByteArithmetic{ByteSums::of_16_bits, kBytePanel};
constexpr int64_t kTilePanels = 1, kTilePositions[] = {3}, kDepthwisePositions = 3;

// Sums wrap around as registers do: what lies between the bias and the result may pass 32 bits.
void store(const ByteEnding& to, uint32_t* sum, uint8_t* y) {
  const auto origin = static_cast<float>(to.origin);
  for (int64_t c = 0; c < to.lanes; ++c) {
    if (to.fraction) sum[c] = (sum[c] << to.sum_shift) + static_cast<uint32_t>(to.fraction[c]);
    const float x = to.rescale[c] * static_cast<float>(static_cast<int32_t>(sum[c]));
    if (to.real_bias)
      reinterpret_cast<float*>(y)[c] = x + to.real_bias[c];
    else
      y[c] = to_byte(x, to.low[c] - origin, to.high[c] - origin, origin);
  }
}

void byte_tile(const ByteTile& t) {
  for (int64_t i = 0; i < t.blocks * t.positions; ++i) {
    const int64_t block = i / t.positions, p = i % t.positions;
    const uint8_t* from = t.x[p] + block * t.x_block;
    uint32_t sum[kBytePanel];
    for (int64_t c = 0; c < kBytePanel; ++c) sum[c] = static_cast<uint32_t>(t.bias[c]);
    const uint32_t* offset = t.panel->offset;
    const int8_t* narrow = t.panel->narrow;
    for (const ByteRun* run = t.panel->runs; run < t.panel->runs + t.panel->run_count; ++run)
      for (int64_t step = 0; step < int64_t{run->length} * run->count; ++step) {
        const uint8_t* x = from + *offset++;
        for (int64_t c = 0; c < kBytePanel; ++c, narrow += 4)
          for (int64_t k = 0; k < 4; ++k) sum[c] += static_cast<uint32_t>(x[k] * narrow[k]);
      }
    const int16_t* wide = t.panel->wide;
    for (int64_t step = 0; step < t.panel->wide_steps; ++step) {
      const uint8_t* x = from + *offset++;
      for (int64_t half = 0; half < 2; ++half)
        for (int64_t c = 0; c < kBytePanel; ++c, wide += 2)
          sum[c] += static_cast<uint32_t>(x[half] * wide[0] + x[half + 2] * wide[1]);
    }
    store(t.ending, sum, t.y[p] + block * t.y_block);
  }
}

void depthwise_tile(const ByteTile& t) {
  for (int64_t i = 0; i < t.blocks * t.positions; ++i) {
    const int64_t block = i / t.positions, p = i % t.positions;
    const uint8_t* from = t.x[p] + block * t.x_block;
    uint32_t sum[kBytePanel];
    for (int64_t c = 0; c < kBytePanel; ++c) sum[c] = static_cast<uint32_t>(t.bias[c]);
    for (int64_t step = 0; step < t.panel->wide_steps; ++step) {
      const uint8_t* first = from + t.panel->offset[2 * step];
      const uint8_t* second = from + t.panel->offset[2 * step + 1];
      const int16_t* weight = t.panel->wide + step * kBytePanel * 2;
      for (int64_t c = 0; c < t.ending.lanes; ++c)
        sum[c] += static_cast<uint32_t>(first[c] * weight[2 * c] + second[c] * weight[2 * c + 1]);
    }
    store(t.ending, sum, t.y[p] + block * t.y_block);
  }
}

void product(const ByteProduct& p) {
  const int64_t columns = p.panels * kBytePanel;
  for (int64_t row = 0; row < p.rows; ++row) {
    int32_t* y = p.y + row * columns;
    for (int64_t c = 0; c < columns; ++c) y[c] = 0;
    for (int64_t k = 0; k < p.pairs; ++k) {
      const int16_t *x = p.x + (row * p.pairs + k) * 2, *factors = p.factors + k * columns * 2;
      for (int64_t c = 0; c < columns; ++c) y[c] += x[0] * factors[2 * c] + x[1] * factors[2 * c + 1];
    }
  }
}

// A register of one number.
typedef float Floats;
typedef int32_t Integers;
constexpr int kIntegerLanes = 1, kByteVectors = 1;
inline Floats load_floats(const float* x) { return *x; }
inline Floats floats_of(const uint8_t* x) { return *x; }
inline void store(float* y, Floats x) { *y = x; }
inline Integers rounded_within(Floats x, float low, float high) {
  const float raised = x > low ? x : low;
  return static_cast<int32_t>(__builtin_nearbyintf(raised > high ? high : raised));
}
inline void store_bytes(uint8_t* y, const Integers* x, int32_t more) { *y = static_cast<uint8_t>(*x + more); }

}  // namespace
}  // namespace qgrad

#define QGRAD_BYTE_ROW byte_scalar
#include "engine/kernels/byte.inl"

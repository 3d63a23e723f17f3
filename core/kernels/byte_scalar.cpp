// The integer engine's kernels for any processor, and the packing of weights.
#include "core/kernels/byte_tile.h"

namespace qgrad {
namespace {

void byte_tile(const ByteTile& t) {
  for (int64_t p = 0; p < t.positions; ++p) {
    int32_t sum[kBytePanel];
    for (int64_t c = 0; c < kBytePanel; ++c) sum[c] = t.bias[c];
    const int16_t* weight = t.weight;
    for (int64_t outer = 0; outer < t.outer; ++outer)
      for (int64_t inner = 0; inner < t.inner; ++inner) {
        const int16_t* x = t.x[p] + outer * t.outer_step + inner * t.inner_step;
        for (int64_t k = 0; k < t.pairs; ++k, weight += 2 * kBytePanel)
          for (int64_t c = 0; c < kBytePanel; ++c)
            sum[c] += x[2 * k] * weight[2 * c] + x[2 * k + 1] * weight[2 * c + 1];
      }
    for (int64_t c = 0; c < t.lanes; ++c)
      t.y[p][c] = static_cast<uint8_t>(static_cast<int32_t>(
          to_grid(static_cast<float>(sum[c]), t.rescale[c], 1, t.zero_point, t.low[c], t.high[c], t.qmin)));
  }
}

}  // namespace

int64_t byte_conv_panels(const ConvGeometry& g) { return g.groups * panels_of_group(g); }

int64_t byte_conv_packed(const ConvGeometry& g) {
  const ByteRuns runs = byte_runs(g);
  return byte_conv_panels(g) * g.kernel_h * runs.count * runs.pairs * 2 * kBytePanel;
}

void byte_conv_pack(const ConvGeometry& g, const int16_t* weight, int16_t* packed) {
  const ByteRuns runs = byte_runs(g);
  const int64_t panels = panels_of_group(g), out_group = g.out / g.groups;
  for (int64_t group = 0; group < g.groups; ++group)
    for (int64_t panel = 0; panel < panels; ++panel)
      for (int64_t tap_run = 0; tap_run < g.kernel_h * runs.count; ++tap_run)
        for (int64_t k = 0; k < 2 * runs.pairs; k += 2)
          for (int64_t c = panel * kBytePanel; c < (panel + 1) * kBytePanel; ++c)
            for (int64_t half = k; half < k + 2; ++half)
              *packed++ = half < runs.length && c < out_group
                              ? weight[(tap_run * runs.length + half) * g.out + group * out_group + c]
                              : int16_t{0};
}

int64_t byte_conv_scratch(const ConvGeometry& g, int64_t rows) {
  return rows_under(g, rows) * columns_under(g) * g.in + 1;
}

}  // namespace qgrad

#define QGRAD_BYTE_ISA "scalar"
#define QGRAD_BYTE_KERNELS byte_scalar
#include "core/kernels/byte.inl"

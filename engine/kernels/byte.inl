// The integer engine's loops, written once and compiled per instruction set. The including file names QGRAD_BYTE_ROW,
// the function that gives the row, and has what byte_conv.inl wants.
#include "engine/kernels/byte_conv.inl"

namespace qgrad {
namespace {

inline uint8_t to_byte(float x, const ByteOutput& to) { return to_byte(x / to.step, to.low, to.high, to.origin); }

void quantize(const float* __restrict x, uint8_t* __restrict y, size_t n, const ByteOutput& output) {
  const ByteOutput to = output;
  for (size_t i = 0; i < n; ++i) y[i] = to_byte(x[i], to);
}

inline float real(uint8_t x, float origin, float step) { return (static_cast<float>(x) - origin) * step; }

void dequantize(const ByteOperand& operand, float* __restrict y, size_t n) {
  const ByteOperand from = operand;
  for (size_t i = 0; i < n; ++i) y[i] = real(from.x[i], from.origin, from.step);
}

void add(const ByteOperand* operands, size_t count, uint8_t* __restrict y, size_t n, const ByteOutput& output) {
  const ByteOutput to = output;
  if (count == 2) {
    const ByteOperand a = operands[0], b = operands[1];
    for (size_t i = 0; i < n; ++i) y[i] = to_byte(real(a.x[i], a.origin, a.step) + real(b.x[i], b.origin, b.step), to);
    return;
  }
  for (size_t i = 0; i < n; ++i) {
    float sum = 0;
    for (size_t k = 0; k < count; ++k) sum += real(operands[k].x[i], operands[k].origin, operands[k].step);
    y[i] = to_byte(sum, to);
  }
}

void multiply(const ByteOperand* operands, size_t count, uint8_t* y, size_t n, const ByteOutput& output) {
  const ByteOutput to = output;
  for (size_t i = 0; i < n; ++i) {
    float product = 1;
    for (size_t k = 0; k < count; ++k) product *= real(operands[k].x[i], operands[k].origin, operands[k].step);
    y[i] = to_byte(product, to);
  }
}

void max_pool(const uint8_t* x, uint8_t* y, const PoolGeometry& geometry) {
  const PoolGeometry g = geometry;
  for (int64_t oy = 0; oy < g.out_height; ++oy)
    for (int64_t ox = 0; ox < g.out_width; ++ox) {
      uint8_t* __restrict to = y + (oy * g.out_width + ox) * g.channels;
      for (int64_t c = 0; c < g.channels; ++c) to[c] = 0;
      for (int64_t ky = 0; ky < g.kernel_h; ++ky)
        for (int64_t kx = 0; kx < g.kernel_w; ++kx) {
          const int64_t iy = oy * g.stride_h - g.padding_h + ky, ix = ox * g.stride_w - g.padding_w + kx;
          if (iy < 0 || iy >= g.height || ix < 0 || ix >= g.width) continue;
          const uint8_t* __restrict from = x + (iy * g.width + ix) * g.channels;
          for (int64_t c = 0; c < g.channels; ++c) to[c] = from[c] > to[c] ? from[c] : to[c];
        }
    }
}

}  // namespace

ByteKernels QGRAD_BYTE_ROW() {
  return {.arithmetic = kByteArithmetic,
          .conv = conv,
          .quantize = quantize,
          .dequantize = dequantize,
          .add = add,
          .multiply = multiply,
          .product = product,
          .max_pool = max_pool};
}

}  // namespace qgrad

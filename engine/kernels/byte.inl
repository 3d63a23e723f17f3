// The integer engine's loops, written once and compiled per instruction set. The including file names QGRAD_BYTE_ROW,
// the function that gives the row, and has what byte_conv.inl wants.
#include "engine/kernels/byte_conv.inl"

namespace qgrad {
namespace {

// One number, or a register of them.
template <class F>
F numbers_at(const float* x) {
  if constexpr (sizeof(F) == sizeof(float))
    return *x;
  else
    return load_floats(x);
}
template <class F>
F numbers_at(const uint8_t* x) {
  if constexpr (sizeof(F) == sizeof(float))
    return static_cast<float>(*x);
  else
    return floats_of(x);
}

// A NaN stays one.
inline float clamped(float x, float low, float high) {
  const float raised = x < low ? low : x;
  return high < raised ? high : raised;
}

// In a loop over what is left, which the compiler would unroll and vectorize, too.
inline void one_at_a_time() { asm volatile(""); }

// What the i-th byte of an operand stands for, and the next ones.
template <class F>
F real(const ByteOperand& from, size_t i) {
  return (numbers_at<F>(from.x + i) - from.origin) * from.step;
}

// y[i] = the byte of numbers<float>(i), of which numbers<Floats>(i) gives some at a time. Limits are whole numbers, so
// that rounding may come after them.
void to_bytes(const auto& numbers, uint8_t* y, size_t n, const ByteOutput& output) {
  const ByteOutput to = output;
  size_t i = 0;
  for (; i + kByteVectors * kIntegerLanes <= n; i += kByteVectors * kIntegerLanes) {
    Integers steps[kByteVectors];
#pragma GCC unroll 4
    for (size_t v = 0; v < kByteVectors; ++v)
      steps[v] = rounded_within(numbers.template operator()<Floats>(i + v * kIntegerLanes) / to.step, to.low, to.high);
    store_bytes(y + i, steps, static_cast<int32_t>(to.origin));
  }
#pragma GCC unroll 1
  for (; i < n; ++i) {
    one_at_a_time();
    y[i] = to_byte(numbers.template operator()<float>(i) / to.step, to.low, to.high, to.origin);
  }
}

void quantize(const float* x, uint8_t* y, size_t n, const ByteOutput& to) {
  to_bytes([=]<class F>(size_t i) { return numbers_at<F>(x + i); }, y, n, to);
}

// y[i] = numbers<float>(i), the same way.
void to_floats(const auto& numbers, float* y, size_t n) {
  size_t i = 0;
  for (; i + kIntegerLanes <= n; i += kIntegerLanes) store(y + i, numbers.template operator()<Floats>(i));
#pragma GCC unroll 1
  for (; i < n; ++i) {
    one_at_a_time();
    y[i] = numbers.template operator()<float>(i);
  }
}

void dequantize(const ByteOperand& operand, float* y, size_t n) {
  to_floats([from = operand]<class F>(size_t i) { return real<F>(from, i); }, y, n);
}

void add(const ByteOperand* operands, size_t count, uint8_t* y, size_t n, const ByteOutput& to) {
  if (count == 2)
    return to_bytes([a = operands[0], b = operands[1]]<class F>(size_t i) { return real<F>(a, i) + real<F>(b, i); }, y,
                    n, to);
  to_bytes(
      [=]<class F>(size_t i) {
        F sum = real<F>(operands[0], i);
        for (size_t k = 1; k < count; ++k) sum += real<F>(operands[k], i);
        return sum;
      },
      y, n, to);
}

void multiply(const ByteOperand* operands, size_t count, uint8_t* y, size_t n, const ByteOutput& to) {
  to_bytes(
      [=]<class F>(size_t i) {
        F product = real<F>(operands[0], i);
        for (size_t k = 1; k < count; ++k) product *= real<F>(operands[k], i);
        return product;
      },
      y, n, to);
}

void add_floats(const float* a, const float* b, float* y, size_t n) {
  to_floats([=]<class F>(size_t i) { return numbers_at<F>(a + i) + numbers_at<F>(b + i); }, y, n);
}
void multiply_floats(const float* a, const float* b, float* y, size_t n) {
  to_floats([=]<class F>(size_t i) { return numbers_at<F>(a + i) * numbers_at<F>(b + i); }, y, n);
}
void clamp_floats(const float* x, float* y, size_t n, float low, float high) {
  to_floats([=]<class F>(size_t i) { return clamped(numbers_at<F>(x + i), low, high); }, y, n);
}

// Of two bytes each.
inline void keep_larger(uint8_t* a, const uint8_t* b, int64_t n) {
  typedef uint8_t Bytes __attribute__((vector_size(16)));
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    Bytes x, y;
    memcpy(&x, a + i, sizeof x), memcpy(&y, b + i, sizeof y);
    x = x > y ? x : y;
    memcpy(a + i, &x, sizeof x);
  }
#pragma GCC unroll 1
  for (; i < n; ++i) {
    one_at_a_time();
    a[i] = b[i] > a[i] ? b[i] : a[i];
  }
}

void max_pool(const uint8_t* x, uint8_t* y, const PoolGeometry& geometry) {
  const PoolGeometry g = geometry;
  for (int64_t oy = 0; oy < g.out_height; ++oy)
    for (int64_t ox = 0; ox < g.out_width; ++ox) {
      uint8_t* to = y + (oy * g.out_width + ox) * g.channels;
      memset(to, 0, static_cast<size_t>(g.channels));
      for (int64_t ky = 0; ky < g.kernel_h; ++ky)
        for (int64_t kx = 0; kx < g.kernel_w; ++kx) {
          const int64_t iy = oy * g.stride_h - g.padding_h + ky, ix = ox * g.stride_w - g.padding_w + kx;
          if (iy < 0 || iy >= g.height || ix < 0 || ix >= g.width) continue;
          keep_larger(to, x + (iy * g.width + ix) * g.channels, g.channels);
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
          .add_floats = add_floats,
          .multiply_floats = multiply_floats,
          .clamp_floats = clamp_floats,
          .product = product,
          .max_pool = max_pool};
}

}  // namespace qgrad

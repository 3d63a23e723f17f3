// The transforms, a vector of channels at a time: down the columns of a tile, then along its rows. Each is followed by
// its transpose, which is that of the gradient.
#include "core/kernels/vector.h"
#include "core/kernels/winograd/winograd.h"

namespace qgrad {
namespace winograd_loops {
namespace {

constexpr int kTaps = 3, kOutputs = kWinogradOutputs, kInputs = kWinogradInputs;

// The points a, -a, b, -b beside 0 and infinity, and powers of them.
constexpr float kA = 0.75f, kB = 1.5f, kA2 = kA * kA, kB2 = kB * kB, kA3 = kA2 * kA, kB3 = kB2 * kB;
constexpr float kProduct = kA2 * kB2, kMinusSum = -(kA2 + kB2), kMinusA = -kA, kMinusB = -kB;
constexpr float kMinusA2 = -kA2, kMinusB2 = -kB2;

inline Vector scaled(const float& factor, Vector x, Vector plus) { return multiply_add(broadcast(&factor), x, plus); }

// The products of the differences between a point and the others.
constexpr float kOver0 = 1 / kProduct, kOverA = 1 / (2 * kA2 * (kA2 - kB2)), kOverB = 1 / (2 * kB2 * (kB2 - kA2));

// G t: what three taps come to at the points, divided by these products.
inline void taps_at_points(const Vector* t, Vector* value) {
  const Vector even_a = scaled(kA2, t[2], t[0]), even_b = scaled(kB2, t[2], t[0]);
  value[0] = multiply(broadcast(&kOver0), t[0]);
  value[1] = multiply(broadcast(&kOverA), scaled(kA, t[1], even_a));
  value[2] = multiply(broadcast(&kOverA), scaled(kMinusA, t[1], even_a));
  value[3] = multiply(broadcast(&kOverB), scaled(kB, t[1], even_b));
  value[4] = multiply(broadcast(&kOverB), scaled(kMinusB, t[1], even_b));
  value[5] = t[2];
}

// G^T v: the gradient of the taps.
inline void gradient_of_taps(const Vector* v, Vector* t) {
  const Vector even_a = multiply(broadcast(&kOverA), add(v[1], v[2]));
  const Vector odd_a = multiply(broadcast(&kOverA), subtract(v[1], v[2]));
  const Vector even_b = multiply(broadcast(&kOverB), add(v[3], v[4]));
  const Vector odd_b = multiply(broadcast(&kOverB), subtract(v[3], v[4]));
  t[0] = scaled(kOver0, v[0], add(even_a, even_b));
  t[1] = scaled(kB, odd_b, multiply(broadcast(&kA), odd_a));
  t[2] = scaled(kB2, even_b, scaled(kA2, even_a, v[5]));
}

// B^T x: what a polynomial of six numbers comes to at the points.
inline void values_at_points(const Vector* x, Vector* value) {
  const Vector even_a = scaled(kMinusB2, x[2], x[4]), odd_a = scaled(kMinusB2, x[1], x[3]);
  const Vector even_b = scaled(kMinusA2, x[2], x[4]), odd_b = scaled(kMinusA2, x[1], x[3]);
  value[0] = scaled(kProduct, x[0], scaled(kMinusSum, x[2], x[4]));
  value[1] = scaled(kA, odd_a, even_a);
  value[2] = scaled(kMinusA, odd_a, even_a);
  value[3] = scaled(kB, odd_b, even_b);
  value[4] = scaled(kMinusB, odd_b, even_b);
  value[5] = scaled(kProduct, x[1], scaled(kMinusSum, x[3], x[5]));
}

// A^T v: the four outputs of which the products have these values at the points.
inline void outputs_of(const Vector* v, Vector* y) {
  const Vector even_a = add(v[1], v[2]), odd_a = subtract(v[1], v[2]);
  const Vector even_b = add(v[3], v[4]), odd_b = subtract(v[3], v[4]);
  y[0] = add(add(v[0], even_a), even_b);
  y[1] = scaled(kB, odd_b, multiply(broadcast(&kA), odd_a));
  y[2] = scaled(kB2, even_b, multiply(broadcast(&kA2), even_a));
  y[3] = scaled(kB3, odd_b, scaled(kA3, odd_a, v[5]));
}

// A y: what the gradients of four outputs come to at the points.
inline void gradient_at_points(const Vector* y, Vector* value) {
  const Vector even_a = scaled(kA2, y[2], y[0]), odd_a = scaled(kA2, y[3], y[1]);
  const Vector even_b = scaled(kB2, y[2], y[0]), odd_b = scaled(kB2, y[3], y[1]);
  value[0] = y[0];
  value[1] = scaled(kA, odd_a, even_a);
  value[2] = scaled(kMinusA, odd_a, even_a);
  value[3] = scaled(kB, odd_b, even_b);
  value[4] = scaled(kMinusB, odd_b, even_b);
  value[5] = y[3];
}

void weight(const WinogradWeight& a) {
  for (int64_t row = a.first; row < a.last; ++row)
    for (int64_t lane = 0; lane < kPanel; lane += kVectorLanes) {
      const float* taps = a.taps.data + row / a.in * a.taps.panel_step + row % a.in * a.taps.row_step + lane;
      const int64_t tap_step = a.in * a.taps.row_step;
      Vector down[kTaps][kInputs];  // [column][row]
#pragma GCC unroll 1
      for (int64_t i = 0; i < kTaps; ++i, taps += tap_step) {
        const Vector numbers[] = {load(taps), load(taps + kTaps * tap_step), load(taps + 2 * kTaps * tap_step)};
        taps_at_points(numbers, down[i]);
      }
      float* point = a.to + row * kPanel + lane;
#pragma GCC unroll 1
      for (int64_t k = 0; k < kInputs; ++k) {
        const Vector numbers[] = {down[0][k], down[1][k], down[2][k]};
        Vector value[kInputs];
        taps_at_points(numbers, value);
#pragma GCC unroll 6
        for (int64_t i = 0; i < kInputs; ++i, point += a.step) store(point, value[i]);
      }
    }
}

// Vectors of channels: the last one ends with them, and may do again what the one before has done.
int64_t vectors(int64_t channels) { return (channels + kVectorLanes - 1) / kVectorLanes; }
int64_t first_channel(int64_t vector, int64_t channels) {
  const int64_t last = channels - kVectorLanes, first = vector * kVectorLanes;
  return first < last ? first : last;
}

// `size` x `size` numbers of each tile at the points.
template <int size, void (*at_points)(const Vector*, Vector*)>
inline void transform_tiles(const WinogradInput& a) {
  const int64_t row_pitch = (a.tiles.columns * kOutputs + size - kOutputs) * a.channels;
  float* to = a.to;
  for (int64_t row = 0; row < a.tiles.rows; ++row)
    for (int64_t column = 0; column < a.tiles.columns; ++column, to += a.channels)
      for (int64_t v = 0; v < vectors(a.channels); ++v) {
        const int64_t channel = first_channel(v, a.channels);
        const float* x = a.x + row * kOutputs * row_pitch + column * kOutputs * a.channels + channel;
        Vector down[size][kInputs];  // [column][row]
#pragma GCC unroll 1
        for (int64_t i = 0; i < size; ++i, x += a.channels) {
          Vector numbers[size];
#pragma GCC unroll 6
          for (int64_t k = 0; k < size; ++k) numbers[k] = load(x + k * row_pitch);
          at_points(numbers, down[i]);
        }
        float* point = to + channel;
#pragma GCC unroll 1
        for (int64_t k = 0; k < kInputs; ++k) {
          Vector numbers[size], value[kInputs];
#pragma GCC unroll 6
          for (int64_t i = 0; i < size; ++i) numbers[i] = down[i][k];
          at_points(numbers, value);
#pragma GCC unroll 6
          for (int64_t i = 0; i < kInputs; ++i, point += a.step) store(point, value[i]);
        }
      }
}

void input(const WinogradInput& a) { transform_tiles<kInputs, values_at_points>(a); }
void output_gradient(const WinogradInput& a) { transform_tiles<kOutputs, gradient_at_points>(a); }

// The outputs of a tile that lie in the image.
struct Inside {
  int64_t rows, columns;
};

void store_tile(const ConvGeometry& g, const WinogradOutput& a, const Vector (*down)[kOutputs], int64_t position,
                int64_t channel, Inside inside) {
  const Vector bias = a.bias ? load(a.bias + channel) : zeros();
  const Vector low = broadcast(&a.ending.low), high = broadcast(&a.ending.high);
#pragma GCC unroll 1
  for (int64_t k = 0; k < inside.rows; ++k, position += g.row_pitch) {
    Vector numbers[kInputs], y[kOutputs];
#pragma GCC unroll 6
    for (int64_t i = 0; i < kInputs; ++i) numbers[i] = down[i][k];
    outputs_of(numbers, y);
#pragma GCC unroll 1
    for (int64_t i = 0; i < inside.columns; ++i) {
      const int64_t at = position + i * g.pixel_pitch;
      Vector sum = add(y[i], bias);
      if (a.ending.addend) sum = add(sum, load(a.ending.addend + at));
      if (a.ending.clamps) sum = clamp(sum, low, high);
      store(a.y + at, sum);
    }
  }
}

void output(const ConvGeometry& g, const WinogradOutput& a) {
  const float* from = a.from;
  for (int64_t row = 0; row < a.tiles.rows; ++row)
    for (int64_t column = 0; column < a.tiles.columns; ++column, from += g.out) {
      const int64_t r = (a.tiles.row + row) * kOutputs, c = column * kOutputs;
      const Inside inside{r + kOutputs < g.out_h ? kOutputs : g.out_h - r,
                          c + kOutputs < g.out_w ? kOutputs : g.out_w - c};
      for (int64_t v = 0; v < vectors(g.out); ++v) {
        const int64_t channel = first_channel(v, g.out);
        Vector down[kInputs][kOutputs];  // [column][row]
#pragma GCC unroll 1
        for (int64_t i = 0; i < kInputs; ++i) {
          const float* point = from + channel + i * a.step;
          Vector numbers[kInputs];
#pragma GCC unroll 6
          for (int64_t k = 0; k < kInputs; ++k, point += kInputs * a.step) numbers[k] = load(point);
          outputs_of(numbers, down[i]);
        }
        store_tile(g, a, down, r * g.row_pitch + c * g.pixel_pitch + channel, channel, inside);
      }
    }
}

void weight_gradient(const WinogradTaps& a) {
  for (int64_t row = 0; row < a.in; ++row)
    for (int64_t v = 0; v < vectors(a.out); ++v) {
      const int64_t channel = first_channel(v, a.out);
      Vector down[kInputs][kTaps];  // [column][row]
#pragma GCC unroll 1
      for (int64_t i = 0; i < kInputs; ++i) {
        const float* point = a.from + row * a.out + channel + i * a.step;
        Vector numbers[kInputs];
#pragma GCC unroll 6
        for (int64_t k = 0; k < kInputs; ++k, point += kInputs * a.step) numbers[k] = load(point);
        gradient_of_taps(numbers, down[i]);
      }
      float* tap = a.to + row * a.pitch + channel;
#pragma GCC unroll 1
      for (int64_t k = 0; k < kTaps; ++k) {
        Vector numbers[kInputs], value[kTaps];
#pragma GCC unroll 6
        for (int64_t i = 0; i < kInputs; ++i) numbers[i] = down[i][k];
        gradient_of_taps(numbers, value);
#pragma GCC unroll 3
        for (int64_t i = 0; i < kTaps; ++i, tap += a.in * a.pitch) store(tap, value[i]);
      }
    }
}

}  // namespace
}  // namespace winograd_loops

WinogradKernels QGRAD_ROW(winograd)() {
  using namespace winograd_loops;
  return {weight, input, output};
}

WinogradGradientKernels QGRAD_ROW(winograd_gradient)() {
  using namespace winograd_loops;
  return {output_gradient, weight_gradient};
}

}  // namespace qgrad

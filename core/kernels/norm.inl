// Batch normalisation loops, written once and compiled per instruction set: the including file names QGRAD_NORM.
#include "core/kernels/lanes.h"

namespace qgrad {
namespace {

#define QGRAD_STORE_DOUBLE(pointer, lanes) (*(UnalignedDoubleLanes*)(pointer) = (lanes))

void moments(const float* x, size_t rows, size_t channels, double* sum, double* sum_squares) {
  size_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) {
    DoubleLanes total = {}, squares = {};
    const float* at = x + c;
    for (size_t row = 0; row < rows; ++row, at += channels) {
      const DoubleLanes v = QGRAD_TO_DOUBLE(QGRAD_LOAD(at));
      total += v;
      squares += v * v;
    }
    QGRAD_STORE_DOUBLE(sum + c, total);
    QGRAD_STORE_DOUBLE(sum_squares + c, squares);
  }
  for (; c < channels; ++c) {
    double total = 0, squares = 0;
    for (size_t row = 0; row < rows; ++row) {
      const double v = x[row * channels + c];
      total += v;
      squares += v * v;
    }
    sum[c] = total;
    sum_squares[c] = squares;
  }
}

void gradient_moments(const float* x, const float* dy, size_t rows, size_t channels, const float* mean, double* sum,
                      double* sum_products) {
  size_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) {
    DoubleLanes total = {}, products = {};
    const Lanes centre = QGRAD_LOAD(mean + c);
    const float *at = x + c, *at_dy = dy + c;
    for (size_t row = 0; row < rows; ++row, at += channels, at_dy += channels) {
      const DoubleLanes g = QGRAD_TO_DOUBLE(QGRAD_LOAD(at_dy));
      total += g;
      products += g * QGRAD_TO_DOUBLE(QGRAD_LOAD(at) - centre);
    }
    QGRAD_STORE_DOUBLE(sum + c, total);
    QGRAD_STORE_DOUBLE(sum_products + c, products);
  }
  for (; c < channels; ++c) {
    double total = 0, products = 0;
    for (size_t row = 0; row < rows; ++row) {
      const double g = dy[row * channels + c];
      total += g;
      products += g * double{x[row * channels + c] - mean[c]};
    }
    sum[c] = total;
    sum_products[c] = products;
  }
}

void normalize(const float* x, float* y, size_t rows, size_t channels, const float* mean, const float* scale,
               const float* shift) {
  for (size_t row = 0; row < rows; ++row, x += channels, y += channels) {
#pragma GCC ivdep
    for (size_t c = 0; c < channels; ++c) y[c] = (x[c] - mean[c]) * scale[c] + shift[c];
  }
}

void normalize_backward(const float* x, const float* dy, float* dx, size_t rows, size_t channels, const float* mean,
                        const float* a, const float* b, const float* c) {
  for (size_t row = 0; row < rows; ++row, x += channels, dy += channels, dx += channels) {
#pragma GCC ivdep
    for (size_t k = 0; k < channels; ++k) dx[k] = (dy[k] * a[k] + (x[k] - mean[k]) * b[k]) + c[k];
  }
}

}  // namespace

NormKernels QGRAD_NORM() { return {moments, gradient_moments, normalize, normalize_backward}; }

}  // namespace qgrad

// Pooling against its definition, walked position by position, for every combination of options.
#include <cmath>
#include <limits>
#include <vector>

#include "core/ops.h"
#include "core/ops/linear_map.h"
#include "support/catch.h"
#include "support/values.h"

using namespace qgrad;
using namespace qgrad::test;

namespace {

// How many windows there are: PyTorch's pooling_output_shape.
int64_t windows(int64_t size, int64_t kernel, int64_t stride, int64_t before, int64_t after, int64_t dilation,
                bool ceil) {
  const double room = static_cast<double>(size + before + after - dilation * (kernel - 1) - 1);
  const double steps = room / static_cast<double>(stride);
  auto count = static_cast<int64_t>(ceil ? std::ceil(steps) : std::floor(steps)) + 1;
  if (ceil && (count - 1) * stride >= size + before) --count;
  return count;
}

struct Pooled {
  std::vector<float> largest, average;
  Shape shape;
};

Pooled walked(const Tensor& x, const Pool2dOptions& o) {
  const int64_t height = x.dim(1), width = x.dim(2), channels = x.dim(3);
  const int64_t below = o.padding_end_h.value_or(o.padding_h), right = o.padding_end_w.value_or(o.padding_w);
  const int64_t rows = windows(height, o.kernel_h, o.stride_h, o.padding_h, below, o.dilation_h, o.ceil);
  const int64_t columns = windows(width, o.kernel_w, o.stride_w, o.padding_w, right, o.dilation_w, o.ceil);
  Pooled result{.shape = {x.dim(0), rows, columns, channels}};
  for (int64_t n = 0; n < x.dim(0); ++n)
    for (int64_t oy = 0; oy < rows; ++oy)
      for (int64_t ox = 0; ox < columns; ++ox)
        for (int64_t c = 0; c < channels; ++c) {
          float largest = -std::numeric_limits<float>::infinity();
          double sum = 0, counted = 0;
          for (int64_t ky = 0; ky < o.kernel_h; ++ky)
            for (int64_t kx = 0; kx < o.kernel_w; ++kx) {
              const int64_t iy = oy * o.stride_h - o.padding_h + ky * o.dilation_h;
              const int64_t ix = ox * o.stride_w - o.padding_w + kx * o.dilation_w;
              const bool inside = iy >= 0 && iy < height && ix >= 0 && ix < width;
              counted += o.count_padding ? iy < height + below && ix < width + right : inside;
              if (!inside) continue;
              const float value = x.data()[static_cast<size_t>(((n * height + iy) * width + ix) * channels + c)];
              largest = std::max(largest, value);
              sum += double{value};
            }
          result.largest.push_back(largest);
          result.average.push_back(static_cast<float>(sum / counted));
        }
  return result;
}

std::vector<float> values_of(const Tensor& x) { return {x.data().begin(), x.data().end()}; }

}  // namespace

TEST_CASE("pooling is what its definition says, with padding, dilation, last windows and counts of any kind") {
  // Sums of few halves: exact in any order.
  Tensor x = normal_tensor({2, 7, 8, 3}, 1);
  for (float& value : x.mutable_data()) value = std::nearbyint(value * 2) / 2;
  for (const int64_t kernel : {1, 2, 3, 4})
    for (const int64_t stride : {1, 2, 3})
      for (const int64_t before : {0, 1, 2})
        for (const int64_t after : {0, 1, 3})
          for (const int64_t dilation : {1, 2})
            for (const bool ceil : {false, true})
              for (const bool count : {false, true}) {
                const int64_t extent = (kernel - 1) * dilation + 1;
                if (before >= extent || after >= extent) continue;
                const Pool2dOptions options{.kernel_h = kernel,
                                            .kernel_w = 2,
                                            .stride_h = stride,
                                            .stride_w = 2,
                                            .padding_h = before,
                                            .padding_w = 1,
                                            .padding_end_h = after,
                                            .padding_end_w = 0,
                                            .dilation_h = dilation,
                                            .ceil = ceil,
                                            .count_padding = count};
                CAPTURE(kernel, stride, before, after, dilation, ceil, count);
                const Pooled expected = walked(x, options);
                const Tensor largest = max_pool2d(x, options);
                REQUIRE(largest.shape() == expected.shape);
                REQUIRE(values_of(largest) == expected.largest);
                const Pool2dOptions simple = simplified(options, x.shape());
                REQUIRE(walked(x, simple).largest == expected.largest);
                if (dilation != 1) continue;
                const Tensor average = avg_pool2d(x, options);
                REQUIRE(average.shape() == expected.shape);
                REQUIRE(values_of(average) == expected.average);
                REQUIRE(walked(x, simple).average == expected.average);
                const Tensor by_axes = mapped("test", x, avg_pool2d_maps(x.shape(), options));
                for (size_t i = 0; i < expected.average.size(); ++i)
                  REQUIRE(std::fabs(by_axes.data()[i] - expected.average[i]) < 1e-5f);
              }
}

TEST_CASE("a last window that goes beyond the padding counts none of what lies there") {
  // AveragePool of ONNX with ceil_mode = 1 and count_include_pad = 1, 4 x 4 numbers from 1: its own test's numbers.
  Tensor x = Tensor::empty({1, 4, 4, 1});
  for (size_t i = 0; i < 16; ++i) x.mutable_data()[i] = static_cast<float>(i + 1);
  const Pool2dOptions options{.kernel_h = 3, .kernel_w = 3, .ceil = true};
  CHECK(values_of(avg_pool2d(x, options)) == std::vector<float>{6, 7.5f, 12, 13.5f});
  CHECK(values_of(max_pool2d(x, options)) == std::vector<float>{11, 12, 15, 16});
}

TEST_CASE("options that make no difference for an image are left out") {
  const Pool2dOptions options{.kernel_h = 3, .kernel_w = 3, .ceil = true, .count_padding = false};
  const Pool2dOptions fits = simplified(options, {1, 7, 9, 2});
  CHECK((!fits.ceil && fits.count_padding && !fits.padding_end_h));
  const Pool2dOptions beyond = simplified(options, {1, 8, 9, 2});
  CHECK((!beyond.ceil && !beyond.count_padding && beyond.padding_end_h == 1 && beyond.padding_end_w == 0));
  CHECK(simplified({.kernel_h = 3, .kernel_w = 3, .ceil = true}, {1, 8, 9, 2}).ceil);
}

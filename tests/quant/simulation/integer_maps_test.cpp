// Weights of averages and interpolation as integers.
#include "quant/simulation/integer_maps.h"

#include <cmath>

#include "core/ops.h"
#include "support/catch.h"
#include "support/values.h"

using namespace qgrad;

namespace {

using Numbers = std::vector<float>;

Numbers row_sums(const LinearMap& map) {
  Numbers sums(static_cast<size_t>(map.rows()), 0.0f);
  for (size_t row = 0; row < sums.size(); ++row)
    for (int64_t t = map.first[row]; t < map.first[row + 1]; ++t) sums[row] += map.weight[static_cast<size_t>(t)];
  return sums;
}

IntegerMaps resized(int64_t size, int64_t result, ResizeCoordinates coordinates = ResizeCoordinates::half_pixel) {
  return integer_maps(resize_maps(
      {1, size, 1, 1}, {.height = result, .width = 1, .mode = ResizeMode::linear, .coordinates = coordinates}));
}

}  // namespace

TEST_CASE("weights of interpolation are fractions of the smallest divisor") {
  const IntegerMaps doubled = resized(3, 6);
  CHECK(doubled.step == 0.25f);
  CHECK(doubled.weights.rows.weight == Numbers{1, 3, 3, 1, 1, 3, 3, 1, 1, 3, 3, 1});
  CHECK(resized(4, 16).step == 1.0f / 8);
  CHECK(resized(2, 3).step == 1.0f / 6);
  CHECK(resized(16, 32, ResizeCoordinates::align_corners).step == 1.0f / 31);
  CHECK(resized(7, 7).step == 1);
}

TEST_CASE("means of different numbers of values have one divisor") {
  const Pool2dOptions inside{.kernel_h = 3,
                             .kernel_w = 2,
                             .stride_h = 1,
                             .stride_w = 1,
                             .padding_h = 1,
                             .padding_w = 1,
                             .count_padding = false};
  const IntegerMaps maps = integer_maps(avg_pool2d_maps({1, 4, 4, 1}, inside));
  CHECK(maps.weights.rows.weight == Numbers{3, 3, 2, 2, 2, 2, 2, 2, 3, 3});
  CHECK(maps.weights.columns.weight == Numbers{2, 1, 1, 1, 1, 1, 1, 2});
  CHECK(maps.step == 1.0f / 12);
}

TEST_CASE("weights without a small divisor are rounded so that every row keeps its sum") {
  const Pool2dOptions inside{.kernel_h = 7,
                             .kernel_w = 7,
                             .stride_h = 1,
                             .stride_w = 1,
                             .padding_h = 3,
                             .padding_w = 3,
                             .count_padding = false};
  for (const IntegerMaps& maps :
       {integer_maps(avg_pool2d_maps({1, 9, 9, 1}, inside)), resized(300, 301), resized(301, 300)}) {
    const LinearMap& rows = maps.weights.rows;
    CHECK(row_sums(rows) == Numbers(static_cast<size_t>(rows.rows()), 256.0f));
    for (const float weight : rows.weight) CHECK(weight == std::nearbyint(weight));
  }
}

TEST_CASE("integer maps are the real ones up to their rounding, and keep sums of bytes within 2^24") {
  for (const int64_t size : {5, 8, 33})
    for (const int64_t result : {3, 8, 13, 64}) {
      CAPTURE(size, result);
      const AxisMaps real =
          resize_maps({1, size, size, 1}, {.height = result, .width = result, .mode = ResizeMode::linear});
      const IntegerMaps maps = integer_maps(real);
      const Tensor x = test::uniform_tensor({1, size, size, 2}, 1, 0, 255);
      const Tensor expected = mapped("test", x, real), y = mapped("test", x, maps.weights);
      for (size_t i = 0; i < y.data().size(); ++i) {
        CHECK(y.data()[i] <= 0x1p24f);
        CHECK(std::fabs(y.data()[i] * maps.step - expected.data()[i]) < 1);
      }
    }
}

// Resizing against the numbers of ONNX's reference implementation.
#include <vector>

#include "core/ops.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/gradcheck.h"

using namespace qgrad;
using namespace qgrad::test;

namespace {

using Numbers = std::vector<float>;

// 1 4 9 16 25 as one row of an image, resized.
Numbers squares_in(int64_t size, ResizeOptions options) {
  options.height = 1, options.width = size;
  return values(resize(Tensor::from({1, 1, 5, 1}, Numbers{1, 4, 9, 16, 25}), options));
}

void check_near(const Numbers& y, const Numbers& expected) {
  REQUIRE(y.size() == expected.size());
  for (size_t i = 0; i < y.size(); ++i) CHECK(y[i] == Approx(expected[i]).epsilon(1e-6));
}

}  // namespace

TEST_CASE("the nearest number is found by every coordinate and rounding of ONNX") {
  using C = ResizeCoordinates;
  using R = ResizeRounding;
  const auto in_8 = [](C c, R r) { return squares_in(8, {.coordinates = c, .rounding = r}); };
  const auto in_3 = [](C c, R r) { return squares_in(3, {.coordinates = c, .rounding = r}); };
  CHECK(in_8(C::half_pixel, R::floor) == Numbers{1, 1, 4, 4, 9, 9, 16, 25});
  CHECK(in_8(C::half_pixel, R::ceil) == Numbers{1, 4, 9, 9, 16, 16, 25, 25});
  CHECK(in_8(C::half_pixel, R::round_prefer_floor) == Numbers{1, 1, 4, 9, 9, 16, 25, 25});
  CHECK(in_8(C::asymmetric, R::floor) == Numbers{1, 1, 4, 4, 9, 16, 16, 25});
  CHECK(in_8(C::asymmetric, R::round_prefer_floor) == Numbers{1, 4, 4, 9, 9, 16, 25, 25});
  CHECK(in_8(C::asymmetric, R::round_prefer_ceil) == Numbers{1, 4, 4, 9, 16, 16, 25, 25});
  CHECK(in_8(C::align_corners, R::round_prefer_floor) == Numbers{1, 4, 4, 9, 9, 16, 16, 25});
  CHECK(in_3(C::half_pixel, R::ceil) == Numbers{4, 9, 25});
  CHECK(in_3(C::asymmetric, R::floor) == Numbers{1, 4, 16});
  CHECK(in_3(C::align_corners, R::ceil) == Numbers{1, 9, 25});
  CHECK(in_3(C::pytorch_half_pixel, R::floor) == Numbers{1, 9, 16});
}

TEST_CASE("linear and cubic resizing give the numbers of ONNX's reference") {
  using C = ResizeCoordinates;
  const auto resized = [](int64_t size, ResizeMode mode, C c) {
    return squares_in(size, {.mode = mode, .coordinates = c});
  };
  const auto linear = ResizeMode::linear, cubic = ResizeMode::cubic;
  check_near(resized(8, linear, C::half_pixel), {1.0f, 2.3125f, 4.3125f, 7.4375f, 11.1875f, 15.5625f, 21.0625f, 25.0f});
  check_near(resized(3, linear, C::half_pixel), {2, 9, 22});
  check_near(resized(8, linear, C::asymmetric), {1.0f, 2.875f, 5.25f, 8.375f, 12.5f, 17.125f, 22.75f, 25.0f});
  check_near(resized(8, linear, C::align_corners),
             {1.0f, 2.71428561f, 4.71428585f, 7.57142878f, 11.0f, 15.0f, 19.8571434f, 25.0f});
  check_near(resized(1, linear, C::pytorch_half_pixel), {1});
  check_near(resized(8, cubic, C::half_pixel),
             {0.72149658203125f, 1.88568115234375f, 4.352783203125f, 6.913818359375f, 11.147216796875f,
              15.295166015625f, 21.69696044921875f, 25.83551025390625f});
  check_near(resized(3, cubic, C::asymmetric), {1.0f, 6.81481361f, 19.6111050f});
}

TEST_CASE("coordinates go by a scale where one is given, and the size of the result is rounded down") {
  const Tensor x = Tensor::from({1, 1, 5, 1}, Numbers{1, 4, 9, 16, 25});
  ResizeOptions options{.scale_h = 1.0f, .scale_w = 1.3f, .mode = ResizeMode::linear};
  check_near(values(resize(x, options)), {1.0f, 2.96153855f, 6.11538506f, 10.3461542f, 15.7307701f, 22.5769253f});
  options.coordinates = ResizeCoordinates::half_pixel_symmetric;
  check_near(values(resize(x, options)),
             {1.23076904f, 3.53846145f, 7.07692289f, 11.6923075f, 17.3846146f, 24.3076935f});
}

TEST_CASE("corners are aligned as if a scaled size were not rounded") {
  // 2.4 numbers in the place of 4: ONNX's test resize_downsample_scales_linear_align_corners.
  const Tensor x = Tensor::from({1, 1, 4, 1}, Numbers{1, 2, 3, 4});
  check_near(values(resize(x, {.scale_h = 1.0f,
                               .scale_w = 0.6f,
                               .mode = ResizeMode::linear,
                               .coordinates = ResizeCoordinates::align_corners})),
             {1.0f, 3.14285707f});
}

TEST_CASE("images are resized along both dimensions, channel by channel") {
  const Tensor x = Tensor::from({1, 2, 2, 2}, Numbers{1, 10, 2, 20, 3, 30, 4, 40});
  const Tensor y = resize(x, {.scale_h = 2.0f, .scale_w = 1.0f});
  CHECK(y.shape() == Shape{1, 4, 2, 2});
  CHECK(bits(y) == bits(Numbers{1, 10, 2, 20, 1, 10, 2, 20, 3, 30, 4, 40, 3, 30, 4, 40}));
  CHECK(error_of([&] { resize(x, {}); }) == "resize: expected a size, or scales");
  CHECK(error_of([&] { resize(x, {.scale_h = 0.1f, .scale_w = 1.0f}); }) ==
        "resize: dimension 1 of [1,2,2,2] can not become 0");
  CHECK(error_of([&] {
          resize(Tensor::zeros({2, 2}), {.height = 1, .width = 1});
        }) == "resize: expected images [N,H,W,C], got [2,2]");
}

TEST_CASE("gradients of resizing are right") {
  const Tensor x = normal_tensor({2, 3, 5, 2}, 1);
  const ResizeMode mode = GENERATE(ResizeMode::nearest, ResizeMode::linear, ResizeMode::cubic);
  const auto [height, width] = GENERATE(std::pair(6, 10), std::pair(2, 3));
  CHECK(
      gradcheck([=, h = height, w = width](Inputs i) { return resize(i[0], {.height = h, .width = w, .mode = mode}); },
                {x}) == "");
}

// Normalisation to the bit, and augmentation against a naive implementation of torchvision's steps.
#include "data/transforms.h"

#include <algorithm>
#include <bit>
#include <map>
#include <nlohmann/json.hpp>

#include "support/catch.h"
#include "support/image_files.h"

using namespace qgrad;

namespace {

using Bytes = std::vector<uint8_t>;

std::vector<float> apply(const TransformConfig& config, const Shape& shape, const Bytes& image, int64_t epoch = 0,
                         int64_t sample = 0, uint64_t seed = 1) {
  std::vector<float> output(image.size());
  Transform(config, shape, seed)(image, epoch, sample, output);
  return output;
}

// The steps one by one: a padded copy, a crop of it, a mirrored copy of that.
Bytes pad_crop_flip(const Bytes& image, const Shape& shape, int64_t padding, int64_t top, int64_t left, bool flip) {
  const int64_t h = shape[0], w = shape[1], c = shape[2], wide = w + 2 * padding;
  Bytes padded(static_cast<size_t>((h + 2 * padding) * wide * c)), cropped(image.size()), result(image.size());
  const auto at = [&](Bytes& bytes, int64_t width, int64_t y, int64_t x, int64_t k) -> uint8_t& {
    return bytes[static_cast<size_t>((y * width + x) * c + k)];
  };
  Bytes source = image;
  for (int64_t y = 0; y < h; ++y)
    for (int64_t x = 0; x < w; ++x)
      for (int64_t k = 0; k < c; ++k) at(padded, wide, y + padding, x + padding, k) = at(source, w, y, x, k);
  for (int64_t y = 0; y < h; ++y)
    for (int64_t x = 0; x < w; ++x)
      for (int64_t k = 0; k < c; ++k) at(cropped, w, y, x, k) = at(padded, wide, top + y, left + x, k);
  for (int64_t y = 0; y < h; ++y)
    for (int64_t x = 0; x < w; ++x)
      for (int64_t k = 0; k < c; ++k) at(result, w, y, x, k) = at(cropped, w, y, flip ? w - 1 - x : x, k);
  return result;
}

std::vector<float> normalised(const Bytes& bytes, const std::vector<float>& mean, const std::vector<float>& std) {
  std::vector<float> result;
  for (size_t i = 0; i < bytes.size(); ++i) {
    volatile float x = static_cast<float>(bytes[i]);  // every step rounded to float32
    x = x / 255.0f;
    x = x - mean[i % mean.size()];
    x = x / std[i % std.size()];
    result.push_back(static_cast<float>(x));
  }
  return result;
}

}  // namespace

TEST_CASE("normalised bytes have the bits that PyTorch's ToTensor and Normalize give") {
  const TransformConfig config{.mean = std::vector{0.4914f, 0.4822f, 0.4465f},
                               .std = std::vector{0.2023f, 0.1994f, 0.2010f}};
  Bytes image;
  for (int byte = 0; byte < 256; ++byte) image.insert(image.end(), 3, static_cast<uint8_t>(byte));
  const std::vector<float> x = apply(config, Shape{16, 16, 3}, image);
  CHECK(x == normalised(image, *config.mean, *config.std));
  // x.div(255).sub_(mean).div_(std) of torch 1.13.
  const std::map<size_t, std::array<uint32_t, 3>> torch = {
      {0, {0xc01b75d0, 0xc01ac4b0, 0xc00e2b4e}},   {1, {0xc01a3836, 0xc0198277, 0xc00ceba5}},
      {77, {0xbf6fb9b0, 0xbf676680, 0xbf3816f9}},  {128, {0x3d55d38f, 0x3dcaf5ac, 0x3e8d45f7}},
      {254, {0x401fa937, 0x4024ef99, 0x402efd7a}}, {255, {0x4020e6d1, 0x402631d0, 0x40303d22}}};
  for (const auto& [byte, bits] : torch)
    for (size_t c = 0; c < 3; ++c) CHECK(std::bit_cast<uint32_t>(x[byte * 3 + c]) == bits[c]);
  uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a over the bits of all 768 numbers, made by torch 1.13 too
  for (const float v : x) hash = (hash ^ std::bit_cast<uint32_t>(v)) * 0x100000001b3u;
  CHECK(hash == 0xf76b80f26e9d0c7au);
}

TEST_CASE("crop and flip are one of torchvision's outcomes, each of them as often") {
  const auto [shape, mean, std] = GENERATE(
      table<Shape, std::vector<float>, std::vector<float>>({{Shape{5, 4, 3}, {0.1f, 0.2f, 0.3f}, {0.5f, 0.6f, 0.7f}},
                                                            {Shape{4, 6, 1}, {0.5f}, {0.5f}},
                                                            {Shape{3, 3, 2}, {0.1f, 0.2f}, {1.0f, 2.0f}}}));
  constexpr int kPadding = 2, kSamples = 5000;
  const Bytes image = test::random_image(shape, 4).pixels;
  const TransformConfig config{.mean = mean, .std = std, .crop_padding = kPadding, .flip = true};
  const Transform transform(config, shape, 1);

  std::map<std::vector<float>, int> times;
  for (int top = 0; top <= 2 * kPadding; ++top)
    for (int left = 0; left <= 2 * kPadding; ++left)
      for (const bool flip : {false, true})
        times[normalised(pad_crop_flip(image, shape, kPadding, top, left, flip), mean, std)] = 0;
  REQUIRE(times.size() == 50);

  std::vector<float> output(image.size());
  int unknown = 0;
  for (int sample = 0; sample < kSamples; ++sample) {
    transform(image, /*epoch=*/3, sample, output);
    const auto it = times.find(output);
    if (it == times.end())
      ++unknown;
    else
      ++it->second;
  }
  CHECK(unknown == 0);
  for (const auto& [outcome, count] : times) {  // 100 expected, standard deviation 9.9
    CHECK(count > 50);
    CHECK(count < 150);
  }
}

TEST_CASE("a crop padding larger than the image gives black images too") {
  const Shape shape{2, 3, 1};
  const Bytes image = {10, 20, 30, 40, 50, 60};
  const TransformConfig config{.mean = std::vector{0.0f}, .std = std::vector{1.0f}, .crop_padding = 7, .flip = true};
  int black = 0, other = 0;
  for (int sample = 0; sample < 300; ++sample) {
    const std::vector<float> x = apply(config, shape, image, 0, sample);
    if (std::ranges::all_of(x, [](float v) { return v == 0; }))
      ++black;
    else
      ++other;
  }
  CHECK(black > 150);
  CHECK(other > 5);  // one in fifteen crops meets the image
}

TEST_CASE("cutout sets one square, clipped at the border, to the mean and nothing else") {
  const Shape shape{8, 10, 3};
  const Bytes image = test::random_image(shape, 5).pixels;
  const int side = GENERATE(1, 4, 5);
  const TransformConfig plain{.mean = std::vector{0.333f}, .std = std::vector{0.25f}};  // no byte is exactly the mean
  TransformConfig config = plain;
  config.cutout = side;
  const std::vector<float> before = apply(plain, shape, image);
  bool full = false;
  for (int sample = 0; sample < 200; ++sample) {
    const std::vector<float> after = apply(config, shape, image, 0, sample);
    int64_t top = 8, bottom = -1, left = 10, right = -1, zeros = 0;
    for (int64_t i = 0; i < shape.numel(); ++i) {
      const auto at = static_cast<size_t>(i);
      if (after[at] != 0) {
        REQUIRE(after[at] == before[at]);
        continue;
      }
      ++zeros;
      const int64_t y = i / 30, x = i / 3 % 10;
      top = std::min(top, y), bottom = std::max(bottom, y), left = std::min(left, x), right = std::max(right, x);
    }
    REQUIRE(zeros > 0);
    const int64_t height = bottom - top + 1, width = right - left + 1;
    REQUIRE(zeros == height * width * 3);
    REQUIRE((height == side || (height < side && (top == 0 || bottom == 7))));
    REQUIRE((width == side || (width < side && (left == 0 || right == 9))));
    full = full || (height == side && width == side);
  }
  CHECK(full);
}

TEST_CASE("augmentation depends on seed, epoch and sample, and on nothing else") {
  const Shape shape{32, 32, 3};
  const Bytes image = test::random_image(shape, 6).pixels;
  const TransformConfig config{.crop_padding = 4, .flip = true, .cutout = 8};
  const auto x = apply(config, shape, image, 2, 7, 1);
  CHECK(apply(config, shape, image, 2, 7, 1) == x);
  CHECK(apply(config, shape, image, 3, 7, 1) != x);
  CHECK(apply(config, shape, image, 2, 8, 1) != x);
  CHECK(apply(config, shape, image, 2, 7, 2) != x);
}

TEST_CASE("test-time transforms normalise and do nothing random") {
  const Shape shape{6, 6, 3};
  const Bytes image = test::random_image(shape, 7).pixels;
  const TransformConfig training{
      .mean = std::vector{0.3f}, .std = std::vector{0.2f}, .crop_padding = 2, .flip = true, .cutout = 3};
  for (int sample = 0; sample < 20; ++sample)
    CHECK(apply(training.test_time(), shape, image, sample, sample) == normalised(image, {0.3f}, {0.2f}));
}

TEST_CASE("transforms that do not fit the images are errors") {
  CHECK_THROWS_WITH(Transform({.mean = std::vector{0.1f, 0.2f}}, Shape({8, 8, 3}), 0),
                    "transforms: mean has 2 numbers, images have 3 channels");
  const auto read = [](const char* text) {
    return read_config<TransformConfig>(Config{Json::parse(text), "c.json", "transform"});
  };
  CHECK_THROWS_WITH(read(R"({"std": [0.5, 0.0]})"), "c.json: transform.std[1]: expected more than 0, got 0");
  CHECK_THROWS_WITH(read(R"({"crop_pading": 4})"),
                    "c.json: transform.crop_pading: unknown key (did you mean 'crop_padding'?)");
  CHECK(read(R"({"mean": [0.1], "crop_padding": 4, "flip": true})").crop_padding == 4);
}

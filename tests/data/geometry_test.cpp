// Resizing, cropping and turning against numbers of Pillow and torchvision.
#include "data/geometry.h"

#include "support/catch.h"
#include "support/image_files.h"

using namespace qgrad;
using test::hash_of;
using test::pattern_image;

namespace {

// Image.fromarray(..).resize((width, height), Image.BILINEAR) of Pillow 9.4.
const Image kInput{
    Shape{5, 7, 3},
    {106, 152, 249, 131, 184, 200, 0,   21,  253, 147, 202, 107, 249, 169, 138, 149, 119, 166, 224, 148, 172,
     93,  167, 142, 248, 26,  81,  218, 150, 66,  2,   191, 60,  129, 179, 90,  69,  104, 110, 97,  157, 106,
     152, 251, 62,  7,   248, 171, 33,  123, 79,  176, 37,  20,  94,  49,  149, 127, 206, 244, 28,  119, 54,
     0,   192, 233, 18,  116, 191, 165, 184, 184, 199, 165, 253, 174, 33,  113, 1,   85,  117, 119, 202, 235,
     124, 228, 99,  219, 144, 255, 80,  160, 144, 242, 18,  75,  183, 96,  223, 141, 165, 158, 48,  189, 33}};

}  // namespace

TEST_CASE("resize gives the bits of Pillow's bilinear resize") {
  CHECK(resize(kInput, 3, 4).pixels ==
        std::vector<uint8_t>{135, 136, 178, 109, 118, 144, 149, 168, 114, 148, 136, 142, 87,  194, 133, 106, 136, 105,
                             119, 98,  126, 76,  147, 141, 100, 176, 187, 150, 138, 172, 172, 85,  162, 84,  161, 132});
  CHECK(resize(kInput, 2, 7).pixels == std::vector<uint8_t>{106, 182, 162, 146, 131, 144, 104, 104, 134, 97,  158,
                                                            75,  161, 140, 120, 105, 131, 159, 123, 148, 121, 78,
                                                            216, 147, 90,  151, 202, 110, 161, 142, 199, 90,  135,
                                                            157, 63,  155, 77,  139, 159, 75,  177, 124});
  CHECK(resize(kInput, 8, 3).pixels ==
        std::vector<uint8_t>{94,  138, 229, 136, 146, 158, 197, 140, 162, 134, 123, 173, 121, 154, 121, 151, 140, 137,
                             178, 110, 101, 102, 159, 74,  92,  139, 107, 102, 185, 108, 107, 108, 82,  87,  140, 140,
                             57,  202, 141, 127, 97,  119, 83,  133, 157, 44,  162, 199, 160, 128, 185, 80,  118, 158,
                             106, 169, 189, 174, 106, 164, 101, 140, 141, 155, 177, 176, 183, 86,  142, 117, 159, 127});
}

TEST_CASE("resize keeps an image of the wanted size, and constant images constant") {
  CHECK(resize(kInput, 5, 7).pixels == kInput.pixels);
  const Image grey{Shape{9, 4, 1}, std::vector<uint8_t>(36, 201)};
  for (const auto& [h, w] : {std::pair{1, 1}, {3, 17}, {100, 2}}) {
    const Image resized = resize(grey, h, w);
    CHECK(resized.shape == Shape{h, w, 1});
    CHECK(resized.pixels == std::vector<uint8_t>(static_cast<size_t>(h * w), 201));
  }
  CHECK_THROWS_WITH(resize(grey, 0, 4), Contains("0x4"));
}

TEST_CASE("an image is resized by its shorter side, and cropped, to the bits of torchvision") {
  struct Case {
    int64_t height, width, channels, shorter_side, crop_height, crop_width;
    uint64_t hash;
  };
  // CenterCrop((crop_height, crop_width))(Resize(shorter_side)(image)) of torchvision 0.28 with Pillow 13.0.
  constexpr Case kCases[] = {
      {37, 53, 1, 24, 20, 20, 0xa1b1f44f9f1169cb}, {53, 37, 1, 24, 24, 21, 0xbd16bf3208a8fe6d},
      {20, 31, 1, 45, 32, 40, 0xe50b535783ecd83f}, {11, 7, 1, 9, 15, 16, 0x8ec458a66221cf96},
      {16, 16, 1, 16, 9, 8, 0xa579b86b478881f3},   {64, 10, 1, 5, 8, 8, 0x539ab0f294b7019c},
      {37, 53, 2, 24, 20, 20, 0xdf0e6dcb128b3150}, {53, 37, 2, 24, 24, 21, 0xfcbe1eda639bd4fa},
      {20, 31, 2, 45, 32, 40, 0xaaddaef7e30f30c8}, {11, 7, 2, 9, 15, 16, 0x53b25d395d3196f8},
      {16, 16, 2, 16, 9, 8, 0x1ca8218fc4469b6f},   {64, 10, 2, 5, 8, 8, 0x74d8c09c7cb8c27b},
      {37, 53, 3, 24, 20, 20, 0xd278681b0c25f9c4}, {53, 37, 3, 24, 24, 21, 0x6d296302ba7a0681},
      {20, 31, 3, 45, 32, 40, 0x374d7bbfa2bf3abf}, {11, 7, 3, 9, 15, 16, 0x795a1b8f30f6a383},
      {16, 16, 3, 16, 9, 8, 0x2f2c1eadd0438860},   {64, 10, 3, 5, 8, 8, 0xd0e5a11c43c5f6e2},
      {37, 53, 4, 24, 20, 20, 0x432993a601406e7e}, {53, 37, 4, 24, 24, 21, 0x1fc5db23e568e64c},
      {20, 31, 4, 45, 32, 40, 0x40d86de7b17085f7}, {11, 7, 4, 9, 15, 16, 0x2d6291e7d2c2e35c},
      {16, 16, 4, 16, 9, 8, 0xfba1fa5252eeabae},   {64, 10, 4, 5, 8, 8, 0x69365bfe397d03d2},
  };
  for (const Case& c : kCases) {
    INFO(c.height << "x" << c.width << "x" << c.channels << " to " << c.shorter_side);
    const ImageSize size = size_with_shorter_side({c.height, c.width}, c.shorter_side);
    const Image resized = resize(pattern_image({c.height, c.width, c.channels}), size.height, size.width);
    const Image cropped = center_crop(resized, {c.crop_height, c.crop_width});
    CHECK(cropped.shape == Shape{c.crop_height, c.crop_width, c.channels});
    CHECK(hash_of(cropped.pixels) == c.hash);
  }
}

TEST_CASE("the longer side is in proportion, rounded down") {
  CHECK(size_with_shorter_side({37, 53}, 24) == ImageSize{24, 34});
  CHECK(size_with_shorter_side({375, 500}, 256) == ImageSize{256, 341});
  CHECK(size_with_shorter_side({500, 375}, 256) == ImageSize{341, 256});
  CHECK(size_with_shorter_side({333, 1000}, 7) == ImageSize{7, 21});
  CHECK(size_with_shorter_side({480, 640}, 480) == ImageSize{480, 640});
}

TEST_CASE("the centre of an image has torchvision's margins, zeros where the image is smaller") {
  struct Case {
    int64_t height, width, crop_height, crop_width;
    uint64_t hash;
  };
  constexpr Case kCases[] = {
      {5, 7, 4, 4, 0xe5dd051929a6cba9}, {7, 5, 4, 2, 0x9a3684687c6cb7bd}, {3, 9, 6, 4, 0x05be83038d130050},
      {2, 2, 5, 5, 0xef764b5f66dc624d}, {3, 3, 4, 6, 0x448162a92b4b523b},
  };
  for (const Case& c : kCases) {
    INFO(c.height << "x" << c.width << " to " << c.crop_height << "x" << c.crop_width);
    CHECK(hash_of(center_crop(pattern_image({c.height, c.width, 1}), {c.crop_height, c.crop_width}).pixels) == c.hash);
  }
}

TEST_CASE("what has no size, or too many pixels, is refused") {
  const Image image = pattern_image({4, 5, 3});
  CHECK_THROWS_WITH(crop(image, 1, 2, {4, 2}), "crop: 4x2 at 1,2 is not within an image of 4x5");
  CHECK_THROWS_WITH(resize(image, 1 << 20, 1 << 20), Contains("pixels are more than 67108864"));
  CHECK_THROWS_WITH(upright(image, 9), Contains("expected an orientation of 1 to 8, got 9"));
}

TEST_CASE("images are turned by all eight orientations as Pillow's exif_transpose turns them") {
  const Image image{Shape{2, 3, 1}, {1, 2, 3, 4, 5, 6}};
  const auto turned = [&](int orientation) { return upright(image, orientation).pixels; };
  CHECK(turned(1) == std::vector<uint8_t>{1, 2, 3, 4, 5, 6});
  CHECK(turned(2) == std::vector<uint8_t>{3, 2, 1, 6, 5, 4});
  CHECK(turned(3) == std::vector<uint8_t>{6, 5, 4, 3, 2, 1});
  CHECK(turned(4) == std::vector<uint8_t>{4, 5, 6, 1, 2, 3});
  CHECK(turned(5) == std::vector<uint8_t>{1, 4, 2, 5, 3, 6});
  CHECK(turned(6) == std::vector<uint8_t>{4, 1, 5, 2, 6, 3});
  CHECK(turned(7) == std::vector<uint8_t>{6, 3, 5, 2, 4, 1});
  CHECK(turned(8) == std::vector<uint8_t>{3, 6, 2, 5, 1, 4});
  CHECK(upright(image, 4).shape == Shape{2, 3, 1});
  CHECK(upright(image, 5).shape == Shape{3, 2, 1});
  CHECK(upright(pattern_image({3, 5, 4}), 3).pixels.back() == pattern_image({3, 5, 4}).pixels[3]);
}

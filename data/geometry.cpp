// Pillow's 8-bit triangle filter, torchvision's crops, EXIF's eight orientations.
#include "data/geometry.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "data/image_check.h"

namespace qgrad {
namespace {

// What one output position takes from its line of input: fixed-point weights of inputs first, first + 1, ...
struct Taps {
  int64_t first;
  std::vector<int32_t> weights;
};

constexpr int kFractionBits = 32 - 8 - 2;  // an 8-bit value times weights that sum to one fits 32 bits, with room

// The triangle filter centred on each output position, its half width one pixel of the coarser of both grids.
std::vector<Taps> triangle_taps(int64_t in, int64_t out) {
  const double scale = static_cast<double>(in) / static_cast<double>(out), half_width = std::max(scale, 1.0);
  std::vector<Taps> taps;
  taps.reserve(static_cast<size_t>(out));
  for (int64_t i = 0; i < out; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(static_cast<int64_t>(centre - half_width + 0.5), 0);
    const int64_t last = std::min<int64_t>(static_cast<int64_t>(centre + half_width + 0.5), in);
    std::vector<double> weights;
    double sum = 0;
    for (int64_t x = first; x < last; ++x) {
      const double distance = std::abs((static_cast<double>(x) - centre + 0.5) * (1.0 / half_width));
      weights.push_back(std::max(1.0 - distance, 0.0));
      sum += weights.back();
    }
    Taps tap{first, {}};
    for (const double weight : weights)
      tap.weights.push_back(static_cast<int32_t>(0.5 + weight / sum * (1 << kFractionBits)));
    taps.push_back(std::move(tap));
  }
  return taps;
}

// Resizes the middle dimension of [before, length, after] numbers.
std::vector<uint8_t> resize_dimension(const std::vector<uint8_t>& pixels, int64_t before, int64_t length, int64_t after,
                                      int64_t new_length) {
  const std::vector<Taps> taps = triangle_taps(length, new_length);
  std::vector<uint8_t> result(static_cast<size_t>(before * new_length * after));
  std::vector<int32_t> sums(static_cast<size_t>(after));
  uint8_t* out = result.data();
  for (int64_t b = 0; b < before; ++b) {
    for (const Taps& tap : taps) {
      const uint8_t* in = pixels.data() + (b * length + tap.first) * after;
      std::fill(sums.begin(), sums.end(), 1 << (kFractionBits - 1));
      for (const int32_t weight : tap.weights)
        for (int32_t& sum : sums) sum += weight * *in++;
      for (const int32_t sum : sums) *out++ = static_cast<uint8_t>(std::clamp(sum >> kFractionBits, 0, 255));
    }
  }
  return result;
}

// Calls colour(c, alpha) for every number of an image that is not alpha itself.
template <class F>
void change_colours(Image& image, F&& colour) {
  const auto channels = static_cast<size_t>(image.shape[2]);
  for (size_t pixel = 0; pixel < image.pixels.size(); pixel += channels)
    for (size_t c = 0; c + 1 < channels; ++c)
      image.pixels[pixel + c] = colour(image.pixels[pixel + c], image.pixels[pixel + channels - 1]);
}

uint8_t weighted(int colour, int alpha) {  // round(colour * alpha / 255)
  const int product = colour * alpha + 128;
  return static_cast<uint8_t>((product + (product >> 8)) >> 8);
}
uint8_t unweighted(int colour, int alpha) {
  return static_cast<uint8_t>(alpha == 0 ? colour : std::min(255 * colour / alpha, 255));
}

// Half of an odd number: that of its neighbours which is even, as Python's round().
int64_t half_to_even(int64_t n) { return n % 2 == 0 ? n / 2 : (n - 1) / 2 + ((n - 1) / 2) % 2; }

// The zeros before and after a side to reach at least `wanted`.
struct Margins {
  int64_t before, after;
};
Margins margins(int64_t side, int64_t wanted) {
  const int64_t missing = std::max<int64_t>(wanted - side, 0);
  return {missing / 2, (missing + 1) / 2};
}

Image padded_to(const Image& image, const ImageSize& size) {
  const int64_t height = image.shape[0], width = image.shape[1], channels = image.shape[2];
  const Margins y = margins(height, size.height), x = margins(width, size.width);
  Image result{Shape{y.before + height + y.after, x.before + width + x.after, channels}, {}};
  result.pixels.resize(static_cast<size_t>(result.shape.numel()));
  for (int64_t row = 0; row < height; ++row)
    std::copy_n(image.pixels.begin() + row * width * channels, width * channels,
                result.pixels.begin() + ((y.before + row) * result.shape[1] + x.before) * channels);
  return result;
}

void check_image_shape(const char* who, const Image& image) {
  check(image.shape.rank() == 3 && image.shape.numel() > 0, "{}: expected an image [H,W,C], got {}", who, image.shape);
}

}  // namespace

Image resize(const Image& image, int64_t height, int64_t width) {
  check_image_shape("resize", image);
  check(height > 0 && width > 0, "resize: expected a positive size, got {}x{}", height, width);
  check(width <= kMostPixels && height <= kMostPixels / width, "resize: {}x{} pixels are more than {}", width, height,
        kMostPixels);
  const int64_t old_height = image.shape[0], old_width = image.shape[1], channels = image.shape[2];
  if (height == old_height && width == old_width) return image;
  Image result = image;
  const bool has_alpha = channels == 2 || channels == 4;
  if (has_alpha) change_colours(result, weighted);
  result.shape = {height, width, channels};
  const auto across = [&](int64_t rows) {
    if (width != old_width) result.pixels = resize_dimension(result.pixels, rows, old_width, channels, width);
  };
  const auto down = [&](int64_t columns) {
    if (height != old_height)
      result.pixels = resize_dimension(result.pixels, 1, old_height, columns * channels, height);
  };
  if (height < old_height && old_height - height > 2 * (old_width - width))  // Pillow's choice, by its cost
    down(old_width), across(height);
  else
    across(old_height), down(width);
  if (has_alpha) change_colours(result, unweighted);
  return result;
}

ImageSize size_with_shorter_side(const ImageSize& size, int64_t shorter) {
  const int64_t from = std::min(size.height, size.width), to = std::max(size.height, size.width);
  const auto longer = static_cast<int64_t>(static_cast<double>(shorter * to) / static_cast<double>(from));
  return size.width <= size.height ? ImageSize{longer, shorter} : ImageSize{shorter, longer};
}

Image center_crop(const Image& image, const ImageSize& size) {
  check_image_shape("center_crop", image);
  const Image padded = padded_to(image, size);
  return crop(padded, half_to_even(padded.shape[0] - size.height), half_to_even(padded.shape[1] - size.width), size);
}

Image crop(const Image& image, int64_t top, int64_t left, const ImageSize& size) {
  check_image_shape("crop", image);
  check(size.height > 0 && size.width > 0 && top >= 0 && left >= 0 && top + size.height <= image.shape[0] &&
            left + size.width <= image.shape[1],
        "crop: {}x{} at {},{} is not within an image of {}x{}", size.height, size.width, top, left, image.shape[0],
        image.shape[1]);
  const int64_t channels = image.shape[2];
  Image result{Shape{size.height, size.width, channels}, {}};
  result.pixels.reserve(static_cast<size_t>(result.shape.numel()));
  for (int64_t row = top; row < top + size.height; ++row) {
    const auto begin = image.pixels.begin() + (row * image.shape[1] + left) * channels;
    result.pixels.insert(result.pixels.end(), begin, begin + size.width * channels);
  }
  return result;
}

Image upright(Image image, int orientation) {
  check_image_shape("upright", image);
  check(orientation >= 1 && orientation <= 8, "upright: expected an orientation of 1 to 8, got {}", orientation);
  if (orientation == 1) return image;
  const int64_t height = image.shape[0], width = image.shape[1], channels = image.shape[2];
  const bool columns_are_rows = orientation >= 5;
  const bool from_below = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const ImageSize size = upright(ImageSize{height, width}, orientation);
  Image result{Shape{size.height, size.width, channels}, {}};
  result.pixels.reserve(image.pixels.size());
  for (int64_t y = 0; y < size.height; ++y)
    for (int64_t x = 0; x < size.width; ++x) {
      const int64_t row = columns_are_rows ? x : y, column = columns_are_rows ? y : x;
      const auto pixel =
          image.pixels.begin() +
          ((from_below ? height - 1 - row : row) * width + (from_right ? width - 1 - column : column)) * channels;
      result.pixels.insert(result.pixels.end(), pixel, pixel + channels);
    }
  return result;
}

ImageSize upright(const ImageSize& size, int orientation) {
  return orientation >= 5 ? ImageSize{size.width, size.height} : size;
}

}  // namespace qgrad

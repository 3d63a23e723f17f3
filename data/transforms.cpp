// Crop, flip, normalisation and cutout in one pass over an image.
#include "data/transforms.h"

#include <algorithm>

namespace qgrad {
namespace {

// 0 .. n-1 from 32 random bits; for the n of an image the unevenness is below 1e-6.
int64_t scaled(uint32_t random, int64_t n) {
  return static_cast<int64_t>((uint64_t{random} * static_cast<uint64_t>(n)) >> 32);
}

// Compiled for a known number of channels, so that the loop over them disappears; 0: any number.
template <int64_t kChannels>
void convert_pixels(const uint8_t* in, int64_t pixels, int64_t step, int64_t channels, const float* table, float* out) {
  const int64_t n = kChannels ? kChannels : channels;
  for (int64_t p = 0; p < pixels; ++p)
    for (int64_t c = 0; c < n; ++c) *out++ = table[in[p * step * n + c] * n + c];
}

std::vector<float> per_channel(const std::optional<std::vector<float>>& given, int64_t channels, const char* name) {
  const std::vector<float> values = given.value_or(std::vector{0.5f});
  if (values.size() == 1) return std::vector<float>(static_cast<size_t>(channels), values[0]);
  check(std::ssize(values) == channels, "transforms: {} has {} numbers, images have {} channels", name, values.size(),
        channels);
  return values;
}

}  // namespace

Normalisation normalisation(const TransformConfig& config, int64_t channels) {
  return {per_channel(config.mean, channels, "mean"), per_channel(config.std, channels, "std")};
}

Transform::Transform(const TransformConfig& config, const Shape& image, uint64_t seed)
    : config_(config), random_(seed, "augment") {
  check(image.rank() == 3 && image.numel() > 0, "transforms: expected images [H,W,C], got {}", image);
  height_ = image[0], width_ = image[1], channels_ = image[2];
  const auto [mean, deviation] = normalisation(config, channels_);
  for (int byte = 0; byte < 256; ++byte)
    for (size_t c = 0; c < mean.size(); ++c)
      table_.push_back((static_cast<float>(byte) / 255.0f - mean[c]) / deviation[c]);
}

Transform::Draw Transform::draw(int64_t epoch, int64_t sample) const {
  Draw draw;
  const auto index = static_cast<uint64_t>(sample), lane = 2 * static_cast<uint64_t>(epoch);
  if (config_.crop_padding || config_.flip) {
    const auto [y, x, flip, unused] = random_.block(index, lane);
    draw.shift_y = scaled(y, 2 * config_.crop_padding + 1) - config_.crop_padding;
    draw.shift_x = scaled(x, 2 * config_.crop_padding + 1) - config_.crop_padding;
    draw.flip = config_.flip && flip >> 31;
  }
  if (config_.cutout) {
    const auto [y, x, unused1, unused2] = random_.block(index, lane + 1);
    draw.cutout_y = scaled(y, height_) - config_.cutout / 2;
    draw.cutout_x = scaled(x, width_) - config_.cutout / 2;
  }
  return draw;
}

void Transform::operator()(std::span<const uint8_t> image, int64_t epoch, int64_t sample,
                           std::span<float> output) const {
  const Draw d = draw(epoch, sample);
  const auto convert = channels_ == 3 ? convert_pixels<3> : channels_ == 1 ? convert_pixels<1> : convert_pixels<0>;
  const float* const black = table_.data();  // byte 0 of every channel
  const auto fill_black = [&](int64_t pixels, float* out) {
    for (int64_t p = 0; p < pixels; ++p) out = std::copy_n(black, channels_, out);
  };

  // Output columns [begin, end) come from inside the image; first_x is the input column of the first of them.
  const int64_t begin = std::clamp<int64_t>(d.flip ? d.shift_x : -d.shift_x, 0, width_);
  const int64_t end = std::clamp<int64_t>(width_ + (d.flip ? d.shift_x : -d.shift_x), 0, width_);
  const int64_t first_x = d.flip ? width_ - 1 - begin + d.shift_x : begin + d.shift_x;
  for (int64_t y = 0; y < height_; ++y) {
    float* const row = output.data() + y * width_ * channels_;
    const int64_t input_y = y + d.shift_y;
    if (input_y < 0 || input_y >= height_ || begin >= end) {
      fill_black(width_, row);
      continue;
    }
    fill_black(begin, row);
    convert(image.data() + (input_y * width_ + first_x) * channels_, end - begin, d.flip ? -1 : 1, channels_, black,
            row + begin * channels_);
    fill_black(width_ - end, row + end * channels_);
  }
  if (config_.cutout) cut_out(d, output);
}

void Transform::cut_out(const Draw& draw, std::span<float> output) const {
  const int64_t top = std::max<int64_t>(draw.cutout_y, 0), bottom = std::min(draw.cutout_y + config_.cutout, height_);
  const int64_t left = std::max<int64_t>(draw.cutout_x, 0), right = std::min(draw.cutout_x + config_.cutout, width_);
  for (int64_t y = top; y < bottom; ++y)
    std::fill_n(output.begin() + (y * width_ + left) * channels_, (right - left) * channels_, 0.0f);
}

}  // namespace qgrad

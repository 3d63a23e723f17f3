// From bytes to network input: normalisation for every image, random crop, flip and cutout for training images.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "core/config.h"
#include "core/random.h"
#include "core/shape.h"
#include "data/random_crop.h"

namespace qgrad {

struct TransformConfig {
  std::optional<std::vector<float>> mean, std;
  int64_t crop_padding = 0;
  bool flip = false;
  int64_t cutout = 0;
  std::optional<RandomResizedCropConfig> random_resized_crop;

  // The same normalisation without anything random: for validation, calibration and test images.
  TransformConfig test_time() const { return {.mean = mean, .std = std}; }
  bool is_random() const { return crop_padding > 0 || flip || cutout > 0 || random_resized_crop; }
};

inline void fields(Fields& v, TransformConfig& c) {
  v("mean", c.mean,
    {.help = "per channel, of byte/255; one number serves all channels; null: as the checkpoint has it, else 0.5"});
  v("std", c.std, {.help = "the same for the deviation", .min = 0, .above_min = true});
  v("crop_padding", c.crop_padding,
    {.help = "random crop out of the image with this many black pixels around it", .min = 0, .max = 1024});
  v("flip", c.flip, {.help = "mirror every second image, at random, left to right"});
  v("random_resized_crop", c.random_resized_crop,
    {.help =
         "before all others: a part of the image as it is in its file, of random size, ratio and place, resized to the "
         "size of the data set; null: the image as the data set has it"});
  v("cutout", c.cutout, {.help = "side of a square at a random place set to the mean; 0: none", .min = 0, .max = 1024});
}

// How bytes become a network's input, (byte / 255 - mean) / std: one of each for every channel.
struct Normalisation {
  std::vector<float> mean, std;
};
// Throws where mean or std have neither 1 nor `channels` numbers.
Normalisation normalisation(const TransformConfig& config, int64_t channels);

// What a Loader applies to an image: bytes [H,W,C] to floats [H,W,C]. Called from several threads at once; the result
// may depend on nothing but the arguments (sample: the image's place in its ImageSet).
using SampleTransform =
    std::function<void(std::span<const uint8_t> image, int64_t epoch, int64_t sample, std::span<float> output)>;

// All but random_resized_crop, which is done where images are read (data/random_crop.h).
// In this order, as torchvision's RandomCrop(padding), RandomHorizontalFlip, ToTensor and Normalize do it, and then
// cutout (DeVries and Taylor, arXiv 1708.04552; a square clipped at the border, filled with 0 after normalisation).
// A normalised byte is (byte/255 - mean)/std: in float32, two true divisions, the same bits as PyTorch.
// The draws for an image are a function of (seed, epoch, sample) alone.
class Transform {
 public:
  // Throws where mean or std fit the channels of `image` [H,W,C] in neither way.
  Transform(const TransformConfig& config, const Shape& image, uint64_t seed);
  void operator()(std::span<const uint8_t> image, int64_t epoch, int64_t sample, std::span<float> output) const;

 private:
  struct Draw {
    int64_t shift_y = 0, shift_x = 0;  // input pixel = output pixel + shift
    bool flip = false;
    int64_t cutout_y = 0, cutout_x = 0;  // top left; may lie outside
  };
  Draw draw(int64_t epoch, int64_t sample) const;
  void cut_out(const Draw& draw, std::span<float> output) const;

  TransformConfig config_;
  int64_t height_, width_, channels_;
  std::vector<float> table_;  // [256, C]: the normalised value of every byte
  RandomStream random_;
};

}  // namespace qgrad

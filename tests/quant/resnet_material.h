// A trained ResNet-20, its calibration statistics and the CIFAR-10 test images, for tests on real data.
#pragma once

#include <array>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "data/cifar10.h"
#include "nn/checkpoint.h"
#include "support/golden.h"

namespace qgrad::golden {

// The trained net, the statistics and the images; nothing where they are not there.
struct Material {
  Checkpoint trained;
  Json stats;  // the whole statistics file
  ImageSet images;

  static std::optional<Material> load() {
    const std::filesystem::path model = shared_file("models/distiller_resnet20_cifar10.safetensors");
    const char* chosen = std::getenv("QGRAD_DATA");
    const std::filesystem::path images =
        (chosen ? std::filesystem::path(chosen) : shared_file("cifar-10-batches-bin")) / "test_batch.bin";
    if (!available(model) || !available(images)) {
      leave_unopened("10_resnet20_cifar10");
      return std::nullopt;
    }
    std::optional<Json> stats = golden::load("10_resnet20_cifar10_stats");
    if (!stats) return std::nullopt;
    Material material{read_checkpoint(model), std::move(*stats), {.image = {32, 32, 3}}};
    read_cifar10_batch(images, material.images);
    return material;
  }

  // Images first .. first + count - 1 as (byte / 255 - 0.5) / 0.5, every operation rounded to float.
  Tensor batch(int64_t first, int64_t count) const {
    std::array<float, 256> value;
    for (size_t i = 0; i < value.size(); ++i) value[i] = (static_cast<float>(i) / 255.0f - 0.5f) / 0.5f;
    Tensor x = Tensor::empty({count, 32, 32, 3});
    const std::span<float> out = x.mutable_data();
    for (size_t i = 0; i < out.size(); ++i) out[i] = value[images.pixels[static_cast<size_t>(first * 32 * 32 * 3) + i]];
    return x;
  }
};

}  // namespace qgrad::golden

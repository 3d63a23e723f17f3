// Learned grids by themselves, made by their quantizers.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "docs/quantizers/one_layer.h"
#include "nn/layers/activation.h"
#include "quant/train/learned_grid.h"
#include "support/catch.h"

namespace qgrad::test {

// What a quantizer by this config puts on weights, on what Tanh gives (any sign), on what ReLU6 gives (positive), or in
// the place of a ReLU. Counts as started, too.
class Learned {
 public:
  Learned(const char* quantizer, int bits, Role role, Json config = Json::object())
      : layer_(with(std::move(config), quantizer, bits, role), function_of(role)),
        grid_(dynamic_cast<LearnedQuantization&>(role == Role::weights ? layer_.weights() : layer_.activations())) {
    REQUIRE(grid_.role() == role);
    grid_.started_for_bits.set(Tensor::full({1}, static_cast<float>(bits)));
  }
  LearnedQuantization& operator*() { return grid_; }
  LearnedQuantization* operator->() { return &grid_; }
  void set(const char* parameter, float value) { set(parameter, std::vector{value}); }
  void set(const char* parameter, const std::vector<float>& values) {
    Parameter& to = parameter_of(grid_, parameter);
    to.set_raw(Tensor::from(to.raw().shape(), values));
  }
  const Tensor& operator[](const char* parameter) { return parameter_of(grid_, parameter).raw(); }

 private:
  static Json with(Json config, const char* quantizer, int bits, Role role) {
    const int of_weights = role == Role::weights ? bits : 4;
    config.update({{"class", quantizer}, {"bits_weights", of_weights}, {"bits_activations", bits}});
    return config;
  }
  static ModulePtr function_of(Role role) {
    if (role == Role::rectified) return std::make_unique<ReLU>();
    if (role == Role::any_sign) return std::make_unique<Tanh>();
    return std::make_unique<ReLU6>();
  }

  OneLayer layer_;
  LearnedQuantization& grid_;
};

}  // namespace qgrad::test

// Layers by name: what a node of a network's config may be (nn/models/network.h).
//
//   struct LeakyReLUConfig { float slope = 0.01f; };               // with fields()
//   const RegisteredLayer<LeakyReLU, LeakyReLUConfig> leaky_relu{"LeakyReLU"};
//   {"name": "act1", "class": "LeakyReLU", "slope": 0.1}
#pragma once

#include <functional>
#include <optional>
#include <type_traits>

#include "core/registry.h"
#include "nn/module.h"

namespace qgrad {

class LayerClass {
 public:
  static constexpr const char* kRole = "layer";
  // The shape of the layer's first input, in our layout, with a batch of one; asked for only where it is needed.
  using InputShape = std::function<Shape()>;
  virtual ~LayerClass() = default;
  // A new layer; settings that its config leaves open follow from the input.
  virtual ModulePtr make(const InputShape& input) const = 0;
};

struct NoSettings {};
inline void fields(Fields&, NoSettings&) {}

// A config may have complete(config, input), which sets from the input what nobody set.
template <class M, HasFields C>
class LayerOf final : public LayerClass {
 public:
  explicit LayerOf(const C& config) : config_(config) {}
  ModulePtr make(const InputShape& input) const override {
    C config = config_;
    if constexpr (requires { complete(config, input); }) complete(config, input);
    if constexpr (std::is_empty_v<C>)
      return std::make_unique<M>();
    else
      return std::make_unique<M>(config);
  }

 private:
  C config_;
};

// `name` is the kind() of the module.
template <class M, HasFields C = NoSettings>
using RegisteredLayer = Registered<LayerClass, LayerOf<M, C>, C>;

// Two settings under one key: "kernel": 3 or "kernel": [3, 5], height first.
void height_and_width(Fields& v, const char* key, int64_t& height, int64_t& width, const Field& field);
// Both, or neither where it is null or absent.
void height_and_width(Fields& v, const char* key, std::optional<int64_t>& height, std::optional<int64_t>& width,
                      const Field& field);

// `size` where it is 0: a number of channels or features that a config leaves open is the last dimension of the input.
void complete_size(int64_t& size, const LayerClass::InputShape& input);

}  // namespace qgrad

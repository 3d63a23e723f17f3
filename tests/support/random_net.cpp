// The blocks of random networks, and what is planted in them.
#include "support/random_net.h"

#include <fmt/format.h>

#include <cmath>
#include <deque>

#include "core/random.h"
#include "nn/layers/activation.h"
#include "nn/layers/conv.h"
#include "nn/layers/eltwise.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "nn/layers/pool.h"
#include "support/values.h"

namespace qgrad::test {
namespace {

// A layer with its batch norm, if it has one, and its activation.
struct Unit {
  Child *layer = nullptr, *norm = nullptr, *activation = nullptr;
};

class RandomNet final : public UnaryModule {
 public:
  explicit RandomNet(uint64_t seed) : random_(seed, "random net"), has_norms_(random_.below(2) == 0) {
    int64_t channels = 4 + 4 * random_.below(2), size = 8;
    blocks_.push_back({.kind = Block::plain, .units = {unit(conv(3, channels, 3), true)}});
    for (uint32_t left = 2 + random_.below(3); left > 0; --left) {
      switch (random_.below(5)) {
        case 0: {  // depthwise, grouped or dilated
          Conv2dConfig config = conv(channels, channels, 3);
          config.options.groups = std::vector<int64_t>{channels, 2, 1}[random_.below(3)];
          if (config.options.groups == 1)
            config.options.dilation_h = config.options.dilation_w = config.options.padding_h =
                config.options.padding_w = 2;
          blocks_.push_back({.kind = Block::plain, .units = {unit(config, true)}});
          break;
        }
        case 1:
          blocks_.push_back(
              {.kind = Block::residual,
               .units = {unit(conv(channels, channels, 3), true), unit(conv(channels, channels, 1), false)},
               .join = add<EltwiseAdd>("add"),
               .activation = activation()});
          break;
        case 2:
          blocks_.push_back({.kind = Block::fork,
                             .units = {unit(conv(channels, 4, 1), true), unit(conv(channels, 4, 3), true)},
                             .join = add<Concat>("concat", 3)});
          channels = 8;
          break;
        case 3:
          if (size > 2) {
            const bool beyond = random_.below(2) == 0;  // over the end of the image
            const Pool2dOptions larger{.kernel_h = 3, .kernel_w = 3, .ceil = true};
            blocks_.push_back({.kind = Block::pool, .join = add<MaxPool2d>("pool", beyond ? larger : Pool2dOptions())});
            size /= 2;
          }
          break;
        default: {
          Conv2dConfig config = conv(channels, channels, 3);
          if (size > 2) config.options.stride_h = config.options.stride_w = 2, size /= 2;
          if (random_.below(2) == 0) {  // all padding on one side, which gives as many positions
            const bool strided = config.options.stride_h == 2;
            config.options.padding_h = config.options.padding_w = strided ? 0 : 2;
            config.options.padding_end_h = config.options.padding_end_w = strided ? 1 : 0;
          }
          blocks_.push_back({.kind = Block::plain, .units = {unit(config, true)}});
        }
      }
    }
    average_ = add<AvgPool2d>("average", size);
    fc_ = add<Linear>("fc", channels, 5);
    for (Parameter* p : all_parameters(*this)) {
      if (p->owner().kind() == "BatchNorm2d") continue;
      const bool is_weight = p->name() == "weight";
      const double inputs = static_cast<double>(p->raw().numel()) / static_cast<double>(p->raw().dim(-1));
      p->set_raw(normal(p->raw().shape(), is_weight ? static_cast<float>(std::sqrt(2 / inputs)) : 0.1f));
    }
    for (Parameter* p : all_parameters(*this))
      if (p->owner().kind() == "BatchNorm2d") {
        Tensor t = normal(p->raw().shape(), 0.3f);
        if (p->name() == "weight")
          for (float& v : t.mutable_data()) v += 1;
        p->set_raw(t);
      }
  }
  std::string_view kind() const override { return "RandomNet"; }

  void plant(Planted what) {
    Unit& u = units_[random_.below(static_cast<uint32_t>(units_.size()))];
    Parameter& weight = parameter_of(**u.layer, "weight");
    const auto channels = static_cast<uint32_t>(weight.raw().dim(-1)), channel = random_.below(channels);
    const auto change = [&](auto&& f) {
      Tensor changed = weight.raw().clone();
      for (size_t i = 0; i < changed.data().size(); ++i) {
        float& w = changed.mutable_data()[i];
        w = f(w, i % channels == channel);
      }
      weight.set_raw(changed);
    };
    switch (what) {
      case Planted::faint_channel: {
        const float strength = std::pow(10.0f, -3.0f - 3.0f * static_cast<float>(random_.below(15)));  // to denormals
        Module& owner = u.norm ? **u.norm : **u.layer;
        parameter_of(owner, "bias").raw().mutable_data()[channel] = 0.4718f;  // no tie of usual grids
        if (u.norm)
          parameter_of(owner, "weight").raw().mutable_data()[channel] = strength;
        else
          change([&](float w, bool chosen) { return chosen ? w * strength : w; });
        return;
      }
      case Planted::zero_layer:
        return change([](float, bool) { return 0.0f; });
      case Planted::zero_channel:
        return change([](float w, bool chosen) { return chosen ? 0.0f : w; });
      case Planted::positive_layer:
        return change([](float w, bool) { return std::fabs(w); });
      case Planted::negative_layer:
        return change([](float w, bool) { return -std::fabs(w); });
      case Planted::equal_weights:
        return change([](float, bool) { return 0.25f; });
      case Planted::huge_layer:
      case Planted::tiny_layer: {
        const float factor = what == Planted::huge_layer ? 1e4f : 1e-4f;
        change([&](float w, bool) { return w * factor; });
        if (Parameter& bias = parameter_of(**u.layer, "bias"); bias.defined())
          for (float& b : bias.raw().mutable_data()) b *= factor;
        return;
      }
      case Planted::constant_bias: {
        Module& owner = u.norm ? **u.norm : **u.layer;
        for (float& b : parameter_of(owner, "bias").raw().mutable_data()) b += 30;
        return;
      }
    }
  }

 protected:
  Tensor forward(const Tensor& image) override {
    Tensor x = image;
    for (const Block& block : blocks_) {
      switch (block.kind) {
        case Block::plain:
          x = run(block.units[0], x);
          break;
        case Block::residual:
          x = (*block.activation)((*block.join)(x, run(block.units[1], run(block.units[0], x))));
          break;
        case Block::fork:
          x = (*block.join)(run(block.units[0], x), run(block.units[1], x));
          break;
        case Block::pool:
          x = (*block.join)(x);
      }
    }
    return (*fc_)(flatten((*average_)(x)));
  }

 private:
  struct Block {
    enum Kind { plain, residual, fork, pool } kind;
    std::vector<Unit> units;
    Child *join = nullptr, *activation = nullptr;
  };

  template <class M, class... A>
  Child* add(const std::string& name, A&&... args) {
    return &children_list_.emplace_back(*this, fmt::format("{}{}", name, children_list_.size()),
                                        std::make_unique<M>(std::forward<A>(args)...));
  }
  Conv2dConfig conv(int64_t in, int64_t out, int64_t kernel) const {
    return square_conv(in, out, kernel, 1, kernel / 2, !has_norms_);
  }
  Child* activation() { return random_.below(4) == 0 ? add<ReLU6>("relu6_") : add<ReLU>("relu"); }
  Unit unit(const Conv2dConfig& config, bool activated) {
    Unit u{.layer = add<Conv2d>("conv", config)};
    if (has_norms_) u.norm = add<BatchNorm2d>("bn", config.out);
    if (activated) u.activation = activation();
    units_.push_back(u);
    return u;
  }
  static Tensor run(const Unit& u, const Tensor& x) {
    Tensor y = (*u.layer)(x);
    if (u.norm) y = (*u.norm)(y);
    return u.activation ? (*u.activation)(y) : y;
  }
  Tensor normal(const Shape& shape, float deviation) {
    Tensor t = Tensor::empty(shape);
    for (float& v : t.mutable_data()) v = deviation * random_.normal();
    return t;
  }
  static Parameter& parameter_of(Module& module, std::string_view name) {
    for (Parameter* p : module.parameters())
      if (p->name() == name) return *p;
    fail("{} has no {}", module.kind(), name);
  }

  RandomStream random_;
  bool has_norms_;
  std::deque<Child> children_list_;
  std::vector<Unit> units_;
  std::vector<Block> blocks_;
  Child *average_ = nullptr, *fc_ = nullptr;
};

}  // namespace

const std::vector<std::pair<std::string, Planted>>& planted_names() {
  static const std::vector<std::pair<std::string, Planted>> names{
      {"faint_channel", Planted::faint_channel},   {"zero_layer", Planted::zero_layer},
      {"zero_channel", Planted::zero_channel},     {"positive_layer", Planted::positive_layer},
      {"negative_layer", Planted::negative_layer}, {"equal_weights", Planted::equal_weights},
      {"huge_layer", Planted::huge_layer},         {"tiny_layer", Planted::tiny_layer},
      {"constant_bias", Planted::constant_bias}};
  return names;
}

std::vector<Planted> all_planted() {
  std::vector<Planted> all;
  for (const auto& [name, planted] : planted_names()) all.push_back(planted);
  return all;
}

ModulePtr random_net(uint64_t seed, std::span<const Planted> planted) {
  auto net = std::make_unique<RandomNet>(seed);
  for (const Planted what : planted) net->plant(what);
  net->set_training(false);
  return net;
}

std::string describe_net(uint64_t seed, std::span<const Planted> planted) {
  std::string text = fmt::format("seed {}:", seed);
  for (const Planted what : planted)
    for (const auto& [name, value] : planted_names())
      if (value == what) text += " " + name;
  return text;
}

}  // namespace qgrad::test

// Layers that put numbers elsewhere. Dimensions are those of our layout, the batch being dimension 0; negative ones
// count from the end.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/ops.h"
#include "nn/layers/layer_class.h"
#include "nn/layers/separable.h"
#include "nn/module.h"

namespace qgrad {

struct ReshapeConfig {
  std::vector<int64_t> shape;  // one may be -1: what is left
};
void fields(Fields& v, ReshapeConfig& c);
class Reshape final : public UnaryModule {
 public:
  explicit Reshape(const ReshapeConfig& config);
  std::string_view kind() const override { return "Reshape"; }
  Effect effect() const override { return {.kind = Effect::Kind::moves}; }
  std::string describe() const override;

 protected:
  Tensor forward(const Tensor& x) override;

 private:
  std::vector<int64_t> shape_;
};

struct TransposeConfig {
  std::vector<int> order;  // dimension i of the result is dimension order[i] of the input
};
void fields(Fields& v, TransposeConfig& c);
class Transpose final : public UnaryModule {
 public:
  explicit Transpose(const TransposeConfig& config) : order_(config.order) {}
  std::string_view kind() const override { return "Transpose"; }
  Effect effect() const override { return {.kind = Effect::Kind::moves}; }
  std::string describe() const override;

 protected:
  Tensor forward(const Tensor& x) override { return transpose(x, order_); }

 private:
  std::vector<int> order_;
};

struct SliceConfig {
  int dim = -1;
  std::optional<int64_t> begin, end;  // as Python's; null: all the way
  int64_t step = 1;
};
void fields(Fields& v, SliceConfig& c);
class Slice final : public UnaryModule {
 public:
  explicit Slice(const SliceConfig& config);
  std::string_view kind() const override { return "Slice"; }
  Effect effect() const override { return {.kind = Effect::Kind::moves}; }
  std::string describe() const override;

 protected:
  Tensor forward(const Tensor& x) override { return slice(x, config_.dim, config_.begin, config_.end, config_.step); }

 private:
  SliceConfig config_;
};

struct PadConfig {
  std::vector<int64_t> before, after;  // of every dimension; negative: cut off
  PadMode mode = PadMode::constant;
  float value = 0;
};
void fields(Fields& v, PadConfig& c);
class Pad final : public UnaryModule {
 public:
  explicit Pad(const PadConfig& config);
  std::string_view kind() const override { return "Pad"; }
  Effect effect() const override;
  std::string describe() const override;

 protected:
  Tensor forward(const Tensor& x) override {
    return pad(x, config_.before, config_.after, config_.mode, config_.value);
  }

 private:
  PadConfig config_;
};

struct GatherConfig {
  int dim = -1;
  std::vector<int64_t> indices;
};
void fields(Fields& v, GatherConfig& c);
class Gather final : public UnaryModule {
 public:
  explicit Gather(const GatherConfig& config) : config_(config) {}
  std::string_view kind() const override { return "Gather"; }
  Effect effect() const override { return {.kind = Effect::Kind::moves}; }
  std::string describe() const override { return fmt::format("{} of dim={}", config_.indices.size(), config_.dim); }

 protected:
  Tensor forward(const Tensor& x) override { return index_select(x, config_.dim, config_.indices); }

 private:
  GatherConfig config_;
};

struct ExpandConfig {
  std::vector<int64_t> shape;  // -1: as it is
};
void fields(Fields& v, ExpandConfig& c);
class Expand final : public UnaryModule {
 public:
  explicit Expand(const ExpandConfig& config) : shape_(config.shape) {}
  std::string_view kind() const override { return "Expand"; }
  Effect effect() const override { return {.kind = Effect::Kind::moves}; }
  std::string describe() const override;

 protected:
  Tensor forward(const Tensor& x) override;

 private:
  std::vector<int64_t> shape_;
};

// Of images. A size, or scales: both where the coordinates go by scales that the sizes only round.
struct ResizeConfig {
  std::optional<std::vector<int64_t>> size;  // [height, width]
  std::optional<std::vector<float>> scale;   // of height and width
  ResizeOptions options;
};
void fields(Fields& v, ResizeConfig& c);
class Resize final : public UnaryModule, public Separable {
 public:
  explicit Resize(const ResizeConfig& config);
  std::string_view kind() const override { return "Resize"; }
  Effect effect() const override;
  std::string describe() const override;
  const Separable* separable() const override { return this; }
  AxisMaps maps(const Shape& images) const override { return resize_maps(images, options_); }

 protected:
  Tensor forward(const Tensor& x) override { return resize(x, options_); }

 private:
  ResizeOptions options_;
};

}  // namespace qgrad

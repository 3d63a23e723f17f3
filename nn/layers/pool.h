// Pooling layers over NHWC images, and padding of their channels.
#pragma once

#include "core/ops.h"
#include "nn/layers/layer_class.h"
#include "nn/layers/separable.h"
#include "nn/module.h"

namespace qgrad {

struct MaxPool2dConfig {
  Pool2dOptions options{.stride_h = 0, .stride_w = 0};  // a stride of 0 is the kernel
};
void fields(Fields& v, MaxPool2dConfig& c);
class MaxPool2d : public UnaryModule {
 public:
  explicit MaxPool2d(const MaxPool2dConfig& config);
  explicit MaxPool2d(const Pool2dOptions& options) : options_(options) {}
  explicit MaxPool2d(int64_t kernel) : MaxPool2d(Pool2dOptions{kernel, kernel, kernel, kernel, 0, 0}) {}
  std::string_view kind() const override { return "MaxPool2d"; }
  Effect effect() const final { return {.kind = Effect::Kind::picks}; }
  std::string describe() const override;
  const Pool2dOptions& options() const { return options_; }
  virtual Pool2dOptions window(const Shape& images) const;  // the simplest for images of this shape

 protected:
  Tensor forward(const Tensor& x) override { return max_pool2d(x, options_); }

 private:
  Pool2dOptions options_;
};

struct GlobalMaxPool2d final : MaxPool2d {  // [N,H,W,C] -> [N,1,1,C]
  GlobalMaxPool2d() : MaxPool2d(1) {}
  std::string_view kind() const override { return "GlobalMaxPool2d"; }
  std::string describe() const override { return ""; }
  Pool2dOptions window(const Shape& images) const override { return {images[1], images[2], 1, 1, 0, 0}; }

 protected:
  Tensor forward(const Tensor& x) override { return global_max_pool2d(x); }
};

struct AvgPool2dConfig {
  Pool2dOptions options{.stride_h = 0, .stride_w = 0};  // the same
};
void fields(Fields& v, AvgPool2dConfig& c);
class AvgPool2d : public UnaryModule, public Separable {
 public:
  explicit AvgPool2d(const AvgPool2dConfig& config);
  explicit AvgPool2d(const Pool2dOptions& options) : options_(options) {}
  explicit AvgPool2d(int64_t kernel) : AvgPool2d(Pool2dOptions{kernel, kernel, kernel, kernel, 0, 0}) {}
  std::string_view kind() const override { return "AvgPool2d"; }
  std::string describe() const override;
  Effect effect() const final { return {.kind = Effect::Kind::averages}; }
  const Separable* separable() const final { return this; }
  virtual Pool2dOptions window(const Shape& images) const { return simplified(options_, images); }
  AxisMaps maps(const Shape& images) const final { return avg_pool2d_maps(images, window(images)); }

 protected:
  Tensor forward(const Tensor& x) override { return avg_pool2d(x, options_); }

 private:
  Pool2dOptions options_;
};

struct GlobalAvgPool2d final : AvgPool2d {  // [N,H,W,C] -> [N,1,1,C]
  GlobalAvgPool2d() : AvgPool2d(1) {}
  std::string_view kind() const override { return "GlobalAvgPool2d"; }
  std::string describe() const override { return ""; }
  Pool2dOptions window(const Shape& images) const override { return {images[1], images[2], 1, 1, 0, 0}; }

 protected:
  Tensor forward(const Tensor& x) override { return global_avg_pool2d(x); }
};

// Channels of zeros before and after those of the input (the shortcut of pre-activation residual nets).
struct PadChannelsConfig {
  int64_t before = 0, after = 0;
};
void fields(Fields& v, PadChannelsConfig& c);
class PadChannels final : public UnaryModule {
 public:
  explicit PadChannels(const PadChannelsConfig& config) : before_(config.before), after_(config.after) {}
  PadChannels(int64_t before, int64_t after) : PadChannels(PadChannelsConfig{before, after}) {}
  std::string_view kind() const override { return "PadChannels"; }
  Effect effect() const override { return {.kind = Effect::Kind::moves}; }
  std::string describe() const override { return fmt::format("before={}, after={}", before_, after_); }

 protected:
  Tensor forward(const Tensor& x) override { return pad(x, /*dim=*/3, before_, after_); }

 private:
  int64_t before_, after_;
};

}  // namespace qgrad

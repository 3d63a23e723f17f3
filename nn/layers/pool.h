// Pooling layers over NHWC images, and padding of their channels.
#pragma once

#include "core/ops.h"
#include "nn/module.h"

namespace qgrad {

class MaxPool2d final : public UnaryModule {
 public:
  explicit MaxPool2d(const Pool2dOptions& options) : options_(options) {}
  explicit MaxPool2d(int64_t kernel) : MaxPool2d({kernel, kernel, kernel, kernel, 0, 0}) {}
  std::string_view kind() const override { return "MaxPool2d"; }
  Effect effect() const override { return {.kind = Effect::Kind::picks}; }
  std::string describe() const override;
  const Pool2dOptions& options() const { return options_; }

 protected:
  Tensor forward(const Tensor& x) override { return max_pool2d(x, options_); }

 private:
  Pool2dOptions options_;
};

class AvgPool2d : public UnaryModule {
 public:
  explicit AvgPool2d(const Pool2dOptions& options) : options_(options) {}
  explicit AvgPool2d(int64_t kernel) : AvgPool2d({kernel, kernel, kernel, kernel, 0, 0}) {}
  std::string_view kind() const override { return "AvgPool2d"; }
  std::string describe() const override;
  Effect effect() const final { return {.kind = Effect::Kind::averages}; }
  virtual Pool2dOptions window(const Shape& /*images*/) const { return options_; }

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
class PadChannels final : public UnaryModule {
 public:
  PadChannels(int64_t before, int64_t after) : before_(before), after_(after) {}
  std::string_view kind() const override { return "PadChannels"; }
  Effect effect() const override { return {.kind = Effect::Kind::moves}; }
  std::string describe() const override { return fmt::format("before={}, after={}", before_, after_); }

 protected:
  Tensor forward(const Tensor& x) override { return pad(x, /*dim=*/3, before_, after_); }

 private:
  int64_t before_, after_;
};

}  // namespace qgrad

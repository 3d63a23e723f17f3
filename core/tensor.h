// Tensor: a cheap handle to dense row-major float32 numbers. Copies of a handle share the numbers.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "core/grid.h"
#include "core/shape.h"

namespace qgrad {

struct Pending;  // core/pending.h

// Images are NHWC, convolution weights HWIO [kh, kw, in/groups, out], linear weights [in, out].
class Tensor {
 public:
  Tensor() = default;                       // undefined: no numbers, no shape
  static Tensor empty(const Shape& shape);  // uninitialised
  static Tensor zeros(const Shape& shape);
  static Tensor full(const Shape& shape, float value);
  static Tensor scalar(float value) { return full(Shape{}, value); }
  static Tensor from(const Shape& shape, std::span<const float> values);  // copies; sizes must agree
  static Tensor waiting(const Shape& shape, std::unique_ptr<Pending> numbers);

  bool defined() const { return impl_ != nullptr; }
  const Shape& shape() const;
  int rank() const { return shape().rank(); }
  int64_t dim(int i) const { return shape()[i]; }
  int64_t numel() const { return shape().numel(); }
  std::span<const float> data() const;
  std::span<float> mutable_data();
  float item() const;        // the only element; throws when there are more
  Pending* pending() const;  // what the numbers wait for; null once they are there

  Tensor clone() const;                       // a copy of the numbers; no gradient, no grid
  Tensor reshaped(const Shape& shape) const;  // shares the numbers; not recorded (the op is ops.h: reshape)
  bool is_same(const Tensor& other) const { return impl_ == other.impl_; }
  // No other handle and no view can see these numbers, so a consumer may overwrite them.
  bool is_unique() const;

  // Gradients. Only leaves (parameters) keep a gradient; it is undefined until a backward pass reaches them.
  bool requires_grad() const;
  void set_requires_grad(bool value);
  Tensor grad() const;
  void set_grad(Tensor grad);  // an undefined tensor clears it

  // With ranks (core/ranks.h): how many examples, this rank's part of a batch, the first dimension is made of; 0: it is
  // none. An op's output is a part where one of its inputs is, unless the op has said otherwise: of a sum over the
  // batch.
  std::optional<int64_t> part() const;  // nothing: nobody has said
  bool is_part() const { return part().value_or(0) > 0; }
  void set_part(int64_t examples);

  // Set by quantized outputs, absent after any other op.
  const std::optional<Grid>& grid() const;
  void set_grid(const Grid& grid);

 private:
  friend class Tape;
  struct Impl;
  float* numbers() const;
  std::shared_ptr<Impl> impl_;
};

}  // namespace qgrad

// Tensor storage and handles.
#include "core/tensor.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/memory.h"
#include "core/parallel.h"
#include "core/tensor_impl.h"

namespace qgrad {

Storage::Storage(size_t n) : data(static_cast<float*>(pool::allocate(n))), bytes(n) {}
Storage::~Storage() { pool::release(data, bytes); }

Tensor Tensor::empty(const Shape& shape) {
  Tensor t;
  t.impl_ = std::make_shared<Impl>();
  t.impl_->shape = shape;
  t.impl_->storage = std::make_shared<Storage>(static_cast<size_t>(shape.numel()) * sizeof(float));
  return t;
}

Tensor Tensor::zeros(const Shape& shape) { return full(shape, 0.0f); }

Tensor Tensor::full(const Shape& shape, float value) {
  Tensor t = empty(shape);
  std::ranges::fill(t.mutable_data(), value);
  return t;
}

Tensor Tensor::from(const Shape& shape, std::span<const float> values) {
  check(static_cast<int64_t>(values.size()) == shape.numel(), "tensor: shape {} needs {} values, got {}", shape,
        shape.numel(), values.size());
  Tensor t = empty(shape);
  std::ranges::copy(values, t.mutable_data().begin());
  return t;
}

Tensor Tensor::waiting(const Shape& shape, std::unique_ptr<Pending> numbers) {
  Tensor t;
  t.impl_ = std::make_shared<Impl>();
  t.impl_->shape = shape;
  t.impl_->pending = std::move(numbers);
  for (const Tensor& read : t.pending()->reads()) {
    read.numbers();
    auto& readers = read.impl_->storage->readers;
    std::erase_if(readers, [](const auto& reader) { return reader.expired(); });
    readers.push_back(t.impl_);
  }
  return t;
}

Pending* Tensor::pending() const { return defined() ? impl_->pending.get() : nullptr; }

float* Tensor::numbers() const {
  if (impl_->pending) {
    check(!inside_parallel_for(), "numbers of shape {} wait to be computed; ask for them before splitting work",
          shape());
    std::unique_ptr<Pending> pending = std::move(impl_->pending);  // does not wait while it computes
    try {
      impl_->storage = pending->compute().impl_->storage;
    } catch (...) {
      impl_->pending = std::move(pending);
      throw;
    }
  }
  return impl_->storage->data;
}

const Shape& Tensor::shape() const {
  check(defined(), "an undefined tensor has no shape");
  return impl_->shape;
}

std::span<const float> Tensor::data() const {
  const auto count = static_cast<size_t>(numel());  // throws for an undefined tensor
  return {numbers(), count};
}
std::span<float> Tensor::mutable_data() {
  const auto count = static_cast<size_t>(numel());
  float* start = numbers();
  auto& readers = impl_->storage->readers;
  if (!readers.empty())  // which is only looked at elsewhere, by many threads at once
    for (const auto& waiting : std::exchange(readers, {})) {
      Tensor reader;
      reader.impl_ = std::static_pointer_cast<Impl>(waiting.lock());
      if (reader.pending()) reader.numbers();
    }
  return {start, count};
}

float Tensor::item() const {
  check(numel() == 1, "item: expected a tensor with one element, got shape {}", shape());
  return data()[0];
}

Tensor Tensor::clone() const { return from(shape(), data()); }

Tensor Tensor::reshaped(const Shape& shape) const {
  check(shape.numel() == numel(), "reshape: {} has {} elements, {} has {}", this->shape(), numel(), shape,
        shape.numel());
  numbers();
  Tensor t;
  t.impl_ = std::make_shared<Impl>();
  t.impl_->shape = shape;
  t.impl_->storage = impl_->storage;
  return t;
}

bool Tensor::is_unique() const {
  return defined() && impl_.use_count() == 1 && (!impl_->storage || impl_->storage.use_count() == 1);
}

bool Tensor::requires_grad() const { return defined() && impl_->requires_grad; }
void Tensor::set_requires_grad(bool value) {
  check(defined(), "an undefined tensor cannot require a gradient");
  impl_->requires_grad = value;
  impl_->recorded_on = 0;  // a leaf from now on
}
Tensor Tensor::grad() const { return defined() ? impl_->grad : Tensor(); }

void Tensor::set_grad(Tensor grad) {
  if (grad.defined())
    check(grad.shape() == shape(), "gradient of shape {} for a tensor of shape {}", grad.shape(), shape());
  check(defined(), "an undefined tensor has no gradient");
  impl_->grad = std::move(grad);
}

std::optional<int64_t> Tensor::part() const { return defined() ? impl_->part : std::nullopt; }
void Tensor::set_part(int64_t examples) {
  check(defined(), "an undefined tensor is no part of a batch");
  impl_->part = examples;
}

const std::optional<Grid>& Tensor::grid() const {
  check(defined(), "an undefined tensor has no grid");
  return impl_->grid;
}
void Tensor::set_grid(const Grid& grid) {
  check(defined(), "an undefined tensor has no grid");
  impl_->grid = grid;
}

}  // namespace qgrad

// What a Tensor handle points to. Only tensor.cpp and tape.cpp look inside.
#pragma once

#include <vector>

#include "core/pending.h"

namespace qgrad {

// A pool block, given back when the last tensor that views it goes.
struct Storage {
  explicit Storage(size_t bytes);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  float* data;
  size_t bytes;
  std::vector<std::weak_ptr<void>> readers;  // Tensor::Impl of tensors that wait, and read this when they are computed
};

struct Tensor::Impl {
  Shape shape;
  std::shared_ptr<Storage> storage;  // null while the numbers wait
  std::unique_ptr<Pending> pending;
  bool requires_grad = false;
  std::optional<int64_t> part;  // examples of a batch; nothing: the inputs of the op that made it decide
  std::optional<Grid> grid;
  Tensor grad;
  uint64_t recorded_on = 0;  // the tape that recorded this tensor as an output; 0: a leaf
  // The tape this tensor was last seen on, and its number there.
  uint64_t tape = 0;
  uint32_t slot = 0;
};

}  // namespace qgrad

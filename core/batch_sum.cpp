// Where chunks begin, and adding them up.
#include "core/batch_sum.h"

#include <memory>

#include "core/divide_up.h"
#include "core/error.h"
#include "core/kernels/table.h"
#include "core/memory.h"
#include "core/pending.h"

namespace qgrad {
namespace {

template <class T>
void add_chunks(T* total, const T* partial, int64_t chunks, int64_t width) {
  parallel_for(width, kElementwiseGrain, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = 0; chunk < chunks; ++chunk)
      for (int64_t i = begin; i < end; ++i) total[i] += partial[chunk * width + i];
  });
}

// Adds all but the first chunk, and on a rank behind others that one too, to what is there.
template <class T>
void add_own(const Ranks& group, T* total, const T* partial, int64_t chunks, int64_t width) {
  if (group.is_first()) std::copy_n(partial, width, total);
  add_chunks(total, group.is_first() ? partial + width : partial, chunks - group.is_first(), width);
}

// A sum that goes around.
struct PendingSum final : Pending {
  Tensor partial, total;
  Ranks::Round round;

  PendingSum(Ranks& group, Tensor own, const Shape& shape)
      : partial(std::move(own)),
        total(Tensor::empty(shape)),
        round(group, std::as_writable_bytes(total.mutable_data()), [this, &group] {
          add_own(group, total.mutable_data().data(), partial.data().data(), partial.dim(0), total.numel());
          partial = Tensor();
        }) {}
  Tensor compute() override {
    round.finish();
    return total;
  }
  std::vector<Tensor> reads() const override { return {}; }
};

}  // namespace

int64_t most_partial_sums(int64_t width) {
  constexpr int64_t kMostNumbers = 1 << 22;
  int64_t most = kSlices;
  while (most > 1 && most * width > kMostNumbers) most /= 2;
  return most;
}

int64_t all_rows(int64_t rows, bool part) {
  return part && ranks() ? BatchChunks::rows_of_slice(rows, part) * kSlices : rows;
}

void check_not_over_batch(const char* op, const Tensor& x, int dim) {
  check(!ranks() || !x.is_part() || dim != 0, "{}: over the examples of a batch it can not be trained on several ranks",
        op);
}

int64_t BatchChunks::rows_of_slice(int64_t rows, bool part) {
  if (!part || !ranks()) return std::max<int64_t>(1, divide_up(rows, kSlices));
  const auto [first, last] = ranks()->slices();
  check(rows % (last - first) == 0, "a part of a batch has {} rows, which do not divide into {} slices", rows,
        last - first);
  return std::max<int64_t>(1, rows / (last - first));
}

BatchChunks::BatchChunks(int64_t rows, int64_t slice, bool part, int64_t width, int64_t grain)
    : rows_(rows),
      slice_(slice),
      all_rows_(part && ranks() ? slice * kSlices : rows),
      first_(part && ranks() ? ranks()->slices().first : 0) {
  const int64_t mine = std::max<int64_t>(1, divide_up(rows, slice)), all = divide_up(all_rows_, slice),
                most = most_partial_sums(width);
  if (most < all) {
    slices_ = divide_up(all, most);
    grain_ = slice;
    count_ = (first_ + mine - 1) / slices_ - first_ / slices_ + 1;
    longest_ = slices_ * slice;
    return;
  }
  grain_ = std::clamp<int64_t>(grain, 1, slice);
  pieces_ = divide_up(slice, grain_);
  const int64_t last = rows - (mine - 1) * slice;  // rows of the last slice
  count_ = (mine - 1) * pieces_ + std::max<int64_t>(1, divide_up(last, grain_));
  longest_ = grain_;
}

std::pair<int64_t, int64_t> BatchChunks::rows(int64_t chunk) const {
  if (slices_ > 1) {
    const int64_t first = (first_ / slices_ + chunk) * slices_;  // in all slices
    return {std::max<int64_t>(0, first - first_) * slice_, std::min(rows_, (first + slices_ - first_) * slice_)};
  }
  const int64_t begin = chunk / pieces_ * slice_, first = begin + chunk % pieces_ * grain_;
  return {first, std::min({rows_, begin + slice_, first + grain_})};
}

void from_first(std::span<float> numbers) {
  if (ranks()) ranks()->from_first(std::as_writable_bytes(numbers));
}

void fold(bool part, double* partial, int64_t chunks, int64_t width) {
  Ranks* group = part ? ranks() : nullptr;
  if (!group) return add_chunks(partial, partial + width, chunks - 1, width);
  Scratch scratch;
  double* total = scratch.take<double>(static_cast<size_t>(width));
  group->in_turn(std::as_writable_bytes(std::span(total, static_cast<size_t>(width))),
                 [&] { add_own(*group, total, partial, chunks, width); });
  std::copy_n(total, width, partial);
}

Tensor folded(bool part, Tensor partial, const Shape& shape) {
  if (part && ranks()) return Tensor::waiting(shape, std::make_unique<PendingSum>(*ranks(), std::move(partial), shape));
  const int64_t chunks = partial.dim(0), width = shape.numel();
  float* sums = partial.mutable_data().data();
  add_chunks(sums, sums + width, chunks - 1, width);
  return chunks == 1 ? partial.reshaped(shape) : Tensor::from(shape, partial.data().first(static_cast<size_t>(width)));
}

}  // namespace qgrad

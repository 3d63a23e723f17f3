// Data-parallel training: ranks, each with its part of every batch. What is added up over a batch is added up over the
// ranks, in the order that one process has, so that any number of ranks gives the same bytes (core/batch_sum.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>

namespace qgrad {

// A batch is summed in this many slices of equal size; a rank has some of them.
inline constexpr int64_t kSlices = 16;

// How the ranks of one training talk to each other. All of them run the same ops in the same order.
class Ranks {
 public:
  Ranks(int rank, int count);  // throws where there are more ranks than slices
  virtual ~Ranks() = default;
  int rank() const { return rank_; }
  int count() const { return count_; }
  bool is_first() const { return rank_ == 0; }
  bool is_last() const { return rank_ + 1 == count_; }

  // The slices of this rank: from `first` on, up to `second`.
  std::pair<int64_t, int64_t> slices() const { return {first_slice(rank_), first_slice(rank_ + 1)}; }
  // The examples of this rank in a batch. Throws where the slices would not have equal sizes.
  std::pair<int64_t, int64_t> examples(int64_t batch) const;

  // In order between each two ranks. What is sent may change when send() has returned.
  virtual void send(int to, std::span<const std::byte> bytes) = 0;
  virtual void receive(int from, std::span<std::byte> bytes) = 0;

  // One rank after the other: add(bytes) gets what the ranks before this one have made of `bytes`, the first rank what
  // is there, and adds its own. Then all have what the last one made.
  void in_turn(std::span<std::byte> bytes, const std::function<void()>& add);
  // All get the bytes of the first rank.
  void from_first(std::span<std::byte> bytes);

 private:
  int64_t first_slice(int rank) const { return rank * kSlices / count_; }

  int rank_, count_;
};

// Those of this thread while it trains with others; null: it is alone.
Ranks* ranks();

// While alive, this thread is one of these ranks.
class TrainingWith {
 public:
  explicit TrainingWith(Ranks* ranks);
  ~TrainingWith();
  TrainingWith(const TrainingWith&) = delete;
  TrainingWith& operator=(const TrainingWith&) = delete;

 private:
  Ranks* previous_;
};

}  // namespace qgrad

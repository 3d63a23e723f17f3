// Which slices are whose, and sums in turn.
#include "core/ranks.h"

#include "core/error.h"

namespace qgrad {
namespace {

thread_local Ranks* current = nullptr;

}  // namespace

Ranks::Ranks(int rank, int count) : rank_(rank), count_(count) {
  check(count >= 1 && count <= kSlices && rank >= 0 && rank < count,
        "ranks: expected 1 to {} of them, got rank {} of {}", kSlices, rank, count);
}

std::pair<int64_t, int64_t> Ranks::examples(int64_t batch) const {
  check(batch % kSlices == 0, "training on {} ranks: expected a batch_size that is a multiple of {}, got {}", count_,
        kSlices, batch);
  const auto [first, last] = slices();
  return {batch / kSlices * first, batch / kSlices * last};
}

void Ranks::in_turn(std::span<std::byte> bytes, const std::function<void()>& add) {
  if (!is_first()) receive(rank_ - 1, bytes);
  add();
  if (!is_last()) {
    send(rank_ + 1, bytes);
    receive(rank_ + 1, bytes);
  }
  if (!is_first()) send(rank_ - 1, bytes);
}

void Ranks::from_first(std::span<std::byte> bytes) {
  if (!is_first()) receive(rank_ - 1, bytes);
  if (!is_last()) send(rank_ + 1, bytes);
}

Ranks* ranks() { return current; }

TrainingWith::TrainingWith(Ranks* ranks) : previous_(current) { current = ranks; }
TrainingWith::~TrainingWith() { current = previous_; }

}  // namespace qgrad

// Which slices are whose, and sums in turn.
#include "core/ranks.h"

#include <chrono>

#include "core/error.h"

namespace qgrad {
namespace {

using Clock = std::chrono::steady_clock;

thread_local Ranks* current = nullptr;

}  // namespace

Ranks::Ranks(int rank, int count) : rank_(rank), count_(count) {
  check(count >= 1 && count <= kSlices && rank >= 0 && rank < count,
        "ranks: expected 1 to {} of them, got rank {} of {}", kSlices, rank, count);
}

std::pair<int64_t, int64_t> Ranks::examples(int64_t batch) const {
  check(batch % kSlices == 0, "training on {} ranks: expected a batch_size that is a multiple of {}, got {}", count_,
        kSlices, batch);
  // What an op does with one example may be what it does with a number that all share.
  const int64_t fewest = batch / kSlices * (kSlices / count_);
  check(count_ == 1 || fewest >= 2, "training on {} ranks: expected a batch_size that gives each 2 examples, got {}",
        count_, batch);
  const auto [first, last] = slices();
  return {batch / kSlices * first, batch / kSlices * last};
}

void Ranks::pass_on(int to, int64_t round, std::span<const std::byte> bytes) {
  send(to, round, bytes);
  traffic_.bytes += std::ssize(bytes);
  ++traffic_.messages;
}

void Ranks::advance() {
  for (auto round = open_.begin(); round != open_.end();) {
    const auto next = std::next(round);
    (*round)->advance();
    round = next;
  }
}

// Meanwhile other rounds get on, for which others may wait.
void Ranks::wait_until(const std::function<bool()>& done) {
  const auto start = Clock::now();
  while (!done()) advance();
  traffic_.seconds += std::chrono::duration<double>(Clock::now() - start).count();
}

void Ranks::in_turn(std::span<std::byte> bytes, const std::function<void()>& add) { Round(*this, bytes, add).finish(); }

void Ranks::from_first(std::span<std::byte> bytes) {
  advance();
  const int64_t round = rounds_++;
  if (!is_first()) wait_until([&] { return receive(rank_ - 1, round, bytes); });
  if (!is_last()) pass_on(rank_ + 1, round, bytes);
}

Ranks::Round::Round(Ranks& ranks, std::span<std::byte> bytes, std::function<void()> add)
    : ranks_(ranks),
      number_(ranks.rounds_++),
      bytes_(bytes),
      add_(std::move(add)),
      waits_(Waits::for_those_before),
      place_(ranks.open_.insert(ranks.open_.end(), this)) {
  ranks.advance();
}

Ranks::Round::~Round() {
  if (waits_ != Waits::no_more) ranks_.open_.erase(place_);
}

bool Ranks::Round::advance() {
  const int before = ranks_.rank() - 1, after = ranks_.rank() + 1;
  if (waits_ == Waits::for_those_before) {
    if (!ranks_.is_first() && !ranks_.receive(before, number_, bytes_)) return false;
    add_();
    if (!ranks_.is_last()) ranks_.pass_on(after, number_, bytes_);
    waits_ = Waits::for_the_end;
  }
  if (waits_ == Waits::for_the_end) {
    if (!ranks_.is_last() && !ranks_.receive(after, number_, bytes_)) return false;
    if (!ranks_.is_first()) ranks_.pass_on(before, number_, bytes_);
    waits_ = Waits::no_more;
    ranks_.open_.erase(place_);
  }
  return true;
}

void Ranks::Round::finish() {
  ranks_.wait_until([&] { return advance(); });
}

Ranks* ranks() { return current; }

TrainingWith::TrainingWith(Ranks* ranks) : previous_(current) { current = ranks; }
TrainingWith::~TrainingWith() { current = previous_; }

}  // namespace qgrad

// Data-parallel training: ranks, each with its part of every batch. What is added up over a batch is added up over the
// ranks, in the order that one process has, so that any number of ranks gives the same bytes (core/batch_sum.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
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
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;
  int rank() const { return rank_; }
  int count() const { return count_; }
  bool is_first() const { return rank_ == 0; }
  bool is_last() const { return rank_ + 1 == count_; }

  // The slices of this rank: from `first` on, up to `second`.
  std::pair<int64_t, int64_t> slices() const { return {first_slice(rank_), first_slice(rank_ + 1)}; }
  // The examples of this rank in a batch. Throws where the slices would not have equal sizes.
  std::pair<int64_t, int64_t> examples(int64_t batch) const;

  // One rank after the other: add() gets in `bytes` what the ranks before this one have made of it, the first rank what
  // is there, and adds its own. Then all have what the last one made.
  void in_turn(std::span<std::byte> bytes, const std::function<void()>& add);
  // All get the bytes of the first rank.
  void from_first(std::span<std::byte> bytes);

  // The same as in_turn(), while this rank goes on with other work: begun here, and at its end when finish() returns.
  // It gets on whenever the ranks have something to say to each other. All ranks begin and finish in the same order.
  class Round {
   public:
    Round(Ranks& ranks, std::span<std::byte> bytes, std::function<void()> add);
    ~Round();
    Round(const Round&) = delete;
    Round& operator=(const Round&) = delete;
    void finish();

   private:
    friend class Ranks;
    bool advance();  // whether it is at its end

    Ranks& ranks_;
    int64_t number_;
    std::span<std::byte> bytes_;
    std::function<void()> add_;
    enum class Waits { for_those_before, for_the_end, no_more } waits_;
    std::list<Round*>::iterator place_;
  };

  // What this rank has sent so far, and how long it did nothing but send and wait.
  struct Traffic {
    int64_t messages = 0, bytes = 0;
    double seconds = 0;
  };
  const Traffic& traffic() const { return traffic_; }

 protected:
  // Messages of one round arrive in order; what is sent may change when send() has returned, which does not wait for
  // anybody. receive() says whether there was one.
  virtual void send(int to, int64_t round, std::span<const std::byte> bytes) = 0;
  virtual bool receive(int from, int64_t round, std::span<std::byte> bytes) = 0;

 private:
  int64_t first_slice(int rank) const { return rank * kSlices / count_; }
  void pass_on(int to, int64_t round, std::span<const std::byte> bytes);
  void wait_until(const std::function<bool()>& done);
  void advance();

  int rank_, count_;
  int64_t rounds_ = 0;
  std::list<Round*> open_;
  Traffic traffic_;
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

// How long something takes.
#pragma once

#include <chrono>

namespace qgrad {

class Stopwatch {
 public:
  // Since it was made; `earlier` seconds included.
  explicit Stopwatch(double earlier = 0) : earlier_(earlier) {}
  double seconds() const { return earlier_ + std::chrono::duration<double>(Clock::now() - start_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  double earlier_;
  Clock::time_point start_ = Clock::now();
};

}  // namespace qgrad

// The live progress line on a terminal; plain lines where stderr is a file or a pipe.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace qgrad {

// One task of `total` items (images). On a terminal the line is redrawn at most ten times a second and replaced by the
// final one; elsewhere a line is written every `quiet_seconds` and at the end.
class Progress {
 public:
  Progress(std::string label, int64_t total);
  // `details` is a short text like "loss 0.412  top1 85.3"; the rate and the time left are added.
  void update(int64_t done, const std::string& details);
  void finish(const std::string& details);  // the task's last line stays on the screen

 private:
  std::string line(const std::string& details) const;
  double seconds() const;

  std::string label_;
  int64_t total_, done_ = 0;
  bool terminal_;
  std::chrono::steady_clock::time_point start_, last_;
};

// A line on stderr that does not mix with a live progress line.
void note(const std::string& text);

std::string format_duration(double seconds);  // "12 s", "3 min 05 s", "2 h 10 min"

}  // namespace qgrad

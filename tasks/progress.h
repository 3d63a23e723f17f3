// The live progress line on a terminal; plain lines where stderr is a file or a pipe.
#pragma once

#include <cstdint>
#include <string>

#include "tasks/stopwatch.h"

namespace qgrad {

// One task of `total` images, or of another unit. On a terminal the line is redrawn at most ten times a second, and
// wiped out when the task is over; elsewhere a line is written every 20 seconds.
class Progress {
 public:
  Progress(std::string label, int64_t total, std::string unit = "images");
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  // `details` is a short text like "loss 0.412  top1 85.3"; the rate and the time left are added.
  void update(int64_t done, const std::string& details);

 private:
  std::string line(const std::string& details) const;

  std::string label_, unit_;
  int64_t total_, done_ = 0;
  bool terminal_, drawn_ = false;
  Stopwatch stopwatch_;
  double shown_ = 0;  // when, in seconds
};

// A line on stderr that does not mix with a live progress line.
void note(const std::string& text);

// With escape sequences where stderr is a terminal and the variable NO_COLOR is not set (https://no-color.org).
std::string in_red(const std::string& text);

// Whether anything is written: one of several ranks speaks for all.
void set_quiet(bool quiet);

std::string format_duration(double seconds);  // "12 s", "3 min 05 s", "2 h 10 min"

}  // namespace qgrad

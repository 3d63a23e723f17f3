// Drawing progress.
#include "tasks/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace qgrad {
namespace {

constexpr double kRedrawSeconds = 0.1, kQuietSeconds = 20;

bool stderr_is_terminal() { return ::isatty(STDERR_FILENO) == 1; }

std::atomic<bool> is_quiet{false};

// What can not be written is dropped: results do not depend on who watches.
void write(const std::string& text) {
  if (is_quiet) return;
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

Progress::Progress(std::string label, int64_t total, std::string unit)
    : label_(std::move(label)), unit_(std::move(unit)), total_(total), terminal_(stderr_is_terminal()) {}

std::string Progress::line(const std::string& details) const {
  const double elapsed = stopwatch_.seconds(), rate = elapsed > 0 ? static_cast<double>(done_) / elapsed : 0;
  std::string text = fmt::format("{}  {}", label_, details);
  if (rate > 0) text += fmt::format("  {:.{}f} {}/s", rate, rate < 10 ? 1 : 0, unit_);
  if (rate > 0 && done_ < total_)
    text += fmt::format("  {} left", format_duration(static_cast<double>(total_ - done_) / rate));
  return text;
}

void Progress::update(int64_t done, const std::string& details) {
  done_ = done;
  const double now = stopwatch_.seconds();
  if (now - shown_ < (terminal_ ? kRedrawSeconds : kQuietSeconds)) return;
  shown_ = now;
  drawn_ = terminal_;
  const double percent = 100.0 * static_cast<double>(done) / static_cast<double>(total_);
  write(terminal_ ? fmt::format("\r\033[K{} {:3.0f} %", line(details), percent) : line(details) + "\n");
}

Progress::~Progress() {
  if (drawn_) write("\r\033[K");
}

std::string in_red(const std::string& text) {
  const char* no_color = std::getenv("NO_COLOR");
  return stderr_is_terminal() && (!no_color || !*no_color) ? "\033[31m" + text + "\033[0m" : text;
}

void note(const std::string& text) { write((stderr_is_terminal() ? "\r\033[K" : "") + text + "\n"); }

void set_quiet(bool quiet) { is_quiet = quiet; }

std::string format_duration(double seconds) {
  const auto s = static_cast<int64_t>(std::llround(seconds));
  if (s < 60) return seconds < 10 ? fmt::format("{:.1f} s", seconds) : fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{} min {:02} s", s / 60, s % 60);
  return fmt::format("{} h {:02} min", s / 3600, s % 3600 / 60);
}

}  // namespace qgrad

// Handlers that note a signal and step aside for the next one.
#include "tasks/stop_signals.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <string_view>

namespace qgrad {
namespace {

std::atomic<int> received_signal{0};
static_assert(std::atomic<int>::is_always_lock_free);

// Calls only what a handler may.
void note_signal(int signal) {
  constexpr std::string_view kSaid = "\nqgrad: stops after this step; again: at once\n";
  const int before = errno;
  if (::isatty(STDERR_FILENO)) [[maybe_unused]]
    const ssize_t written = ::write(STDERR_FILENO, kSaid.data(), kSaid.size());
  received_signal = signal;
  for (const int next : {SIGINT, SIGTERM}) std::signal(next, SIG_DFL);
  errno = before;
}

}  // namespace

StopSignals::StopSignals() {
  received_signal = 0;
  struct sigaction action {};
  action.sa_handler = note_signal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, nullptr, &before_int_);
  sigaction(SIGTERM, nullptr, &before_term_);
  // What the caller ignores stays ignored: `nohup`, and jobs that a shell runs in the background.
  if (before_int_.sa_handler != SIG_IGN) sigaction(SIGINT, &action, nullptr);
  if (before_term_.sa_handler != SIG_IGN) sigaction(SIGTERM, &action, nullptr);
}

StopSignals::~StopSignals() {
  sigaction(SIGINT, &before_int_, nullptr);
  sigaction(SIGTERM, &before_term_, nullptr);
  received_signal = 0;
}

int StopSignals::received() { return received_signal; }

}  // namespace qgrad

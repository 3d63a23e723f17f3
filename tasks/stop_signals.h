// SIGINT (Ctrl-C) and SIGTERM as a wish to stop where nothing is lost.
#pragma once

#include <csignal>
#include <stdexcept>
#include <string>

namespace qgrad {

// While it lives, the first such signal is a wish that a training asks for after every step; a second one ends the
// process as it always does. One at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  static int received();  // the signal; 0: none, or there are no StopSignals

 private:
  struct sigaction before_int_ {
  }, before_term_{};
};

// A run that stopped as it was asked to, with all that it needs to go on: no Error, for nothing is wrong.
class Stopped : public std::runtime_error {
 public:
  // `where`: "after step 12 of epoch 3". `folder`: where it goes on from.
  Stopped(const std::string& where, std::string folder, int signal)
      : std::runtime_error("stopped " + where), folder_(std::move(folder)), signal_(signal) {}
  const std::string& folder() const { return folder_; }
  int exit_status() const { return 128 + signal_; }  // as a shell has it

 private:
  std::string folder_;
  int signal_;
};

}  // namespace qgrad

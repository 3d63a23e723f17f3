// Threads that wait for work, as many of those asked for as the system gives; parallel_for's (core/parallel.h) too.
#pragma once

#include <exception>
#include <thread>
#include <vector>

namespace qgrad {

// Starts parallel_for's threads now. How many there are, with the calling one: from now on num_threads(), which is less
// than what was asked for where the system gives no more.
int start_pool();

// Never throws with a thread running: what runs in them may use an object that is being made.
template <class F>
std::vector<std::thread> start_threads(int count, F body) {
  std::vector<std::thread> threads;
  threads.reserve(static_cast<size_t>(count));
  try {
    while (std::ssize(threads) < count) threads.emplace_back(body);
  } catch (const std::exception&) {  // no more threads, or no memory for one: callers see how many there are
  }
  return threads;
}

}  // namespace qgrad

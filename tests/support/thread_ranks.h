// Ranks that are threads of one process, for tests of training on several.
#pragma once

#include <condition_variable>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <queue>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/ranks.h"

namespace qgrad::test {

// What is under way between threads; closed when one of them fails, so that no other waits for it.
class Mail {
 public:
  void send(int from, int to, std::span<const std::byte> bytes) {
    const std::lock_guard lock(mutex_);
    boxes_[{from, to}].push({bytes.begin(), bytes.end()});
    arrived_.notify_all();
  }
  void receive(int from, int to, std::span<std::byte> bytes) {
    std::unique_lock lock(mutex_);
    auto& box = boxes_[{from, to}];
    arrived_.wait(lock, [&] { return closed_ || !box.empty(); });
    check(!box.empty(), "another rank has failed");
    check(box.front().size() == bytes.size(), "rank {} sent {} bytes, rank {} expects {}", from, box.front().size(), to,
          bytes.size());
    std::ranges::copy(box.front(), bytes.begin());
    box.pop();
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    arrived_.notify_all();
  }
  bool is_empty() const {
    return std::ranges::all_of(boxes_, [](const auto& box) { return box.second.empty(); });
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::map<std::pair<int, int>, std::queue<std::vector<std::byte>>> boxes_;
  bool closed_ = false;
};

class ThreadRanks final : public Ranks {
 public:
  ThreadRanks(int rank, int count, Mail& mail) : Ranks(rank, count), mail_(mail) {}
  void send(int to, std::span<const std::byte> bytes) override { mail_.send(rank(), to, bytes); }
  void receive(int from, std::span<std::byte> bytes) override { mail_.receive(from, rank(), bytes); }

 private:
  Mail& mail_;
};

// Runs body(rank) on each of `count` ranks at once; throws what the first that failed threw.
inline void on_ranks(int count, const std::function<void(int rank)>& body) {
  Mail mail;
  std::mutex mutex;
  std::exception_ptr error;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < count; ++rank)
    threads.emplace_back([&, rank] {
      ThreadRanks ranks(rank, count, mail);
      const TrainingWith others(&ranks);
      try {
        body(rank);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!error) error = std::current_exception();
        mail.close();
      }
    });
  for (std::thread& thread : threads) thread.join();
  if (error) std::rethrow_exception(error);
  check(mail.is_empty(), "a message was sent that nobody has received");
}

}  // namespace qgrad::test

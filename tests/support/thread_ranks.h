// Ranks that are threads of one process, for tests of training on several.
#pragma once

#include <algorithm>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <queue>
#include <thread>
#include <tuple>
#include <vector>

#include "core/error.h"
#include "core/ranks.h"

namespace qgrad::test {

// What is under way between threads; closed when one of them fails, so that no other waits for it.
class Mail {
 public:
  void send(int from, int to, int64_t round, std::span<const std::byte> bytes) {
    const std::lock_guard lock(mutex_);
    boxes_[{from, to, round}].push({bytes.begin(), bytes.end()});
  }
  bool receive(int from, int to, int64_t round, std::span<std::byte> bytes) {
    const std::lock_guard lock(mutex_);
    check(!closed_, "another rank has failed");
    const auto box = boxes_.find({from, to, round});
    if (box == boxes_.end()) return false;
    const std::vector<std::byte>& message = box->second.front();
    check(message.size() == bytes.size(), "rank {} sent {} bytes, rank {} expects {}", from, message.size(), to,
          bytes.size());
    std::ranges::copy(message, bytes.begin());
    box->second.pop();
    if (box->second.empty()) boxes_.erase(box);
    return true;
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  bool is_empty() const { return boxes_.empty(); }

 private:
  std::mutex mutex_;
  std::map<std::tuple<int, int, int64_t>, std::queue<std::vector<std::byte>>> boxes_;  // from, to, round
  bool closed_ = false;
};

class ThreadRanks final : public Ranks {
 public:
  ThreadRanks(int rank, int count, Mail& mail) : Ranks(rank, count), mail_(mail) {}

 private:
  void send(int to, int64_t round, std::span<const std::byte> bytes) override { mail_.send(rank(), to, round, bytes); }
  bool receive(int from, int64_t round, std::span<std::byte> bytes) override {
    if (mail_.receive(from, rank(), round, bytes)) return true;
    std::this_thread::yield();
    return false;
  }

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

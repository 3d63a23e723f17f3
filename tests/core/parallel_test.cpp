// parallel_for: coverage, exceptions, nesting, several callers.
#include "core/parallel.h"

#include <atomic>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "core/threads.h"

#include "support/catch.h"
#include "support/errors.h"
#include "support/scarce_threads.h"
#include "support/threads.h"

using namespace qgrad;

TEST_CASE("parallel_for covers every index once in chunks that depend on the grain alone") {
  const test::Threads threads(GENERATE(1, 2, 3, 8));
  const int64_t n = GENERATE(0, 1, 7, 64, 1000), grain = GENERATE(1, 3, 64, 5000);
  std::vector<std::atomic<int>> seen(static_cast<size_t>(n));
  std::atomic<bool> aligned = true;
  parallel_for(n, grain, [&](int64_t begin, int64_t end) {
    if (begin % grain != 0 || end != std::min(n, begin + grain)) aligned = false;
    for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
  });
  CHECK(aligned);
  for (const auto& count : seen) REQUIRE(count == 1);
}

TEST_CASE("an exception in a chunk reaches the caller and the pool stays usable") {
  const test::Threads threads(GENERATE(1, 2, 3));
  for (int round = 0; round < 20; ++round) {
    CHECK_THROWS_WITH(parallel_for(1000, 1,
                                   [](int64_t begin, int64_t) {
                                     if (begin == 500) throw std::runtime_error("chunk 500");
                                   }),
                      "chunk 500");
    std::atomic<int64_t> total = 0;
    parallel_for(100, 1, [&](int64_t begin, int64_t) { total += begin; });
    CHECK(total == 4950);
  }
}

TEST_CASE("a nested parallel_for runs on the thread that called it") {
  const test::Threads threads(3);
  std::atomic<int> elsewhere = 0;
  std::atomic<int64_t> total = 0;
  parallel_for(16, 1, [&](int64_t, int64_t) {
    const auto here = std::this_thread::get_id();
    parallel_for(100, 1, [&](int64_t begin, int64_t) {
      elsewhere += std::this_thread::get_id() != here;
      total += begin;
    });
  });
  CHECK(elsewhere == 0);
  CHECK(total == 16 * 4950);
}

TEST_CASE("two threads may call parallel_for at once") {
  const test::Threads threads(2);
  std::vector<std::thread> callers;
  std::vector<int64_t> totals(4);
  for (size_t caller = 0; caller < totals.size(); ++caller)
    callers.emplace_back([&totals, caller] {
      for (int round = 0; round < 200; ++round) {
        std::atomic<int64_t> total = 0;
        parallel_for(50, 1, [&](int64_t begin, int64_t) { total += begin; });
        totals[caller] += total;
      }
    });
  for (std::thread& t : callers) t.join();
  for (const int64_t total : totals) CHECK(total == 200 * 1225);
}

TEST_CASE("more than one thread works when asked to") {
  const test::Threads threads(2);
  std::set<std::thread::id> ids;
  std::mutex mutex;
  std::atomic<int> arrived = 0;
  // The first chunk waits for a second thread to take one.
  parallel_for(2, 1, [&](int64_t, int64_t) {
    ++arrived;
    while (arrived < 2) std::this_thread::yield();
    std::lock_guard lock(mutex);
    ids.insert(std::this_thread::get_id());
  });
  CHECK(ids.size() == 2);
}

TEST_CASE("impossible numbers of threads are refused") {
  CHECK(test::error_of([] { set_num_threads(0); }) == "number of threads: expected 1 to 256, got 0");
  CHECK(test::error_of([] { set_num_threads(257); }) == "number of threads: expected 1 to 256, got 257");
}

TEST_CASE("where the system gives fewer threads than were asked for, those there are do the work") {
  const size_t most = GENERATE(0, 1, 3);
  const test::Threads threads(16);
  {
    const test::ScarceThreads scarce(most);
    if (!scarce.holds()) {
      WARN("skipped: no limit of memory holds here");
      return;
    }
    std::atomic<int64_t> total = 0;
    parallel_for(1000, 1, [&](int64_t begin, int64_t) { total += begin; });
    CHECK(total == 999 * 500);
    CHECK(num_threads() >= 1);
    CHECK(num_threads() <= static_cast<int>(most) + 1);
    CHECK(start_pool() == num_threads());
  }
  CHECK(num_threads() < 16);  // until more are asked for
  set_num_threads(4);
  CHECK(start_pool() == 4);
}

// A small persistent pool. Workers spin briefly for the next job and then block, so that an idle pool costs nothing and
// another program on the same cores does not slow this one down out of proportion.
#include "core/parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/divide_up.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/threads.h"

namespace qgrad {
namespace {

constexpr int kSpins = 4000;  // some 50 us: longer than the gap between two kernels of a training step

// Between two looks at a variable that another thread will write.
inline void wait_a_moment() {
#if defined(QGRAD_X86_64)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

struct Job {
  int64_t n, grain;
  void* context;
  detail::ChunkBody body;
  std::atomic<int64_t> next_chunk{0};
  std::exception_ptr error;
  std::mutex error_mutex;

  void work() {
    const int64_t chunks = divide_up(n, grain);
    for (int64_t chunk; (chunk = next_chunk.fetch_add(1, std::memory_order_relaxed)) < chunks;) {
      try {
        body(context, chunk * grain, std::min(n, (chunk + 1) * grain));
      } catch (...) {
        std::lock_guard lock(error_mutex);
        if (!error) error = std::current_exception();
        next_chunk.store(chunks, std::memory_order_relaxed);
      }
    }
  }
};

thread_local bool inside = false;

class ThreadPool {
 public:
  explicit ThreadPool(int workers) : threads_(start_threads(workers, [this] { worker(); })) {
    for (int ready; (ready = ready_.load()) < static_cast<int>(threads_.size());) ready_.wait(ready);
  }

  ~ThreadPool() {
    stopping_ = true;
    offer(nullptr);
    for (std::thread& t : threads_) t.join();
  }

  int threads() const { return static_cast<int>(threads_.size()) + 1; }

  // The caller works as well, and afterwards waits only for workers that took part: one that the system has not
  // scheduled yet, because another program holds its core, finds the job closed and costs nothing.
  void run(Job& job) {
    offer(&job);
    job.work();
    job_ = nullptr;
    for (int spin = 0; spin < kSpins && working_ != 0; ++spin) wait_a_moment();
    if (working_ == 0) return;
    std::unique_lock lock(mutex_);
    caller_sleeps_ = true;
    done_.wait(lock, [&] { return working_ == 0; });
    caller_sleeps_ = false;
  }

 private:
  // Who is about to sleep says so before it looks for the last time; who changes what it waits for looks afterwards
  // whether anyone sleeps. Both are in the one order of these atomics, so no one is forgotten, and as long as nobody
  // sleeps there is no lock.
  void offer(Job* job) {
    job_ = job;
    ++generation_;
    if (sleeping_ == 0) return;
    std::lock_guard lock(mutex_);
    wake_.notify_all();
  }

  void wait_for_next(uint64_t seen) {
    for (int spin = 0; spin < kSpins; ++spin) {
      if (generation_ != seen) return;
      wait_a_moment();
    }
    std::unique_lock lock(mutex_);
    ++sleeping_;
    wake_.wait(lock, [&] { return generation_ != seen; });
    --sleeping_;
  }

  void worker() {
    inside = true;
    reserve_scratch();
    ready_.fetch_add(1);
    ready_.notify_one();
    for (uint64_t seen = 0; !stopping_;) {
      wait_for_next(seen);
      seen = generation_;
      ++working_;  // before it looks: run() closes the job first, and then looks who works
      if (Job* job = job_) job->work();
      if (--working_ > 0 || !caller_sleeps_) continue;
      std::lock_guard lock(mutex_);
      done_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::atomic<Job*> job_ = nullptr;  // null: closed
  std::atomic<uint64_t> generation_ = 0;
  std::atomic<int> ready_ = 0;    // workers that have their memory
  std::atomic<int> working_ = 0;  // workers that may be busy with the job
  std::atomic<int> sleeping_ = 0;
  std::atomic<bool> caller_sleeps_ = false, stopping_ = false;
  std::vector<std::thread> threads_;  // last, for they use all the others
};

struct PoolHolder {
  std::mutex mutex;  // one parallel_for at a time; a second caller runs its loop alone
  std::atomic<int> wanted{std::max(1, static_cast<int>(std::thread::hardware_concurrency()))};
  std::unique_ptr<ThreadPool> pool;

  // Under the mutex.
  void start() {
    if (pool && pool->threads() == wanted) return;
    pool.reset();  // so that its threads make room for the new ones
    pool = std::make_unique<ThreadPool>(wanted - 1);
    wanted = pool->threads();
  }
};

PoolHolder& holder() {
  static PoolHolder instance;
  return instance;
}

}  // namespace

bool inside_parallel_for() { return inside; }

int num_threads() { return holder().wanted; }

void set_num_threads(int n) {
  check(n >= 1 && n <= 256, "number of threads: expected 1 to 256, got {}", n);
  check(!inside, "number of threads: it cannot change inside a parallel_for");
  std::lock_guard lock(holder().mutex);
  holder().wanted = n;
}

int start_pool() {
  check(!inside, "number of threads: it cannot change inside a parallel_for");
  std::lock_guard lock(holder().mutex);
  holder().start();
  return holder().wanted;
}

void detail::parallel_for(int64_t n, int64_t grain, void* context, ChunkBody body) {
  if (n <= 0) return;
  Job job{n, std::max<int64_t>(grain, 1), context, body, {}, {}, {}};
  PoolHolder& h = holder();
  std::unique_lock lock(h.mutex, std::defer_lock);
  const bool alone = n <= job.grain || inside || h.wanted == 1 || !lock.try_lock();
  if (alone) {
    job.work();
  } else {
    h.start();
    inside = true;
    h.pool->run(job);
    inside = false;
  }
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace qgrad

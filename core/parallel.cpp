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
    const int64_t chunks = (n + grain - 1) / grain;
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
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    for (std::thread& t : threads_) t.join();
  }

  int threads() const { return static_cast<int>(threads_.size()) + 1; }

  // The caller works as well, and afterwards waits only for workers that took part: one that the system has not
  // scheduled yet, because another program holds its core, finds the job closed and costs nothing.
  void run(Job& job) {
    {
      std::lock_guard lock(mutex_);
      job_ = &job;
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    job.work();
    {
      std::lock_guard lock(mutex_);
      job_ = nullptr;
    }
    for (int spin = 0; spin < kSpins && working_.load(std::memory_order_acquire) != 0; ++spin) wait_a_moment();
    if (working_.load(std::memory_order_acquire) == 0) return;
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return working_.load(std::memory_order_acquire) == 0; });
  }

 private:
  void worker() {
    inside = true;
    reserve_scratch();
    ready_.fetch_add(1);
    ready_.notify_one();
    for (uint64_t seen = 0;;) {
      for (int spin = 0; spin < kSpins && generation_.load(std::memory_order_acquire) == seen; ++spin) wait_a_moment();
      Job* job;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return generation_.load(std::memory_order_acquire) != seen; });
        seen = generation_.load(std::memory_order_relaxed);
        if (stopping_) return;
        job = job_;
        if (job) working_.fetch_add(1, std::memory_order_relaxed);
      }
      if (!job) continue;
      job->work();
      if (working_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        std::lock_guard lock(mutex_);
        done_.notify_one();
      }
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::atomic<uint64_t> generation_{0};
  std::atomic<int> ready_{0};    // workers that have their memory
  std::atomic<int> working_{0};  // workers busy with the job; grows only while job_ is set, under the mutex
  Job* job_ = nullptr;
  bool stopping_ = false;
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

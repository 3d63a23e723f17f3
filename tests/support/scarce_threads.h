// While it lives, the system gives a few threads and no more: their stacks do not fit the memory allowed.
#pragma once

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

namespace qgrad::test {

class ScarceThreads {
 public:
  explicit ScarceThreads(size_t most) {
    ::getrlimit(RLIMIT_AS, &before_);
    ::pthread_getattr_default_np(&attributes_);
    pthread_attr_t large = attributes_;
    ::pthread_attr_setstacksize(&large, kStack);
    ::pthread_setattr_default_np(&large);
    size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    rlimit limit = before_;
    limit.rlim_cur = pages * static_cast<size_t>(::getpagesize()) + most * kStack + kStack / 2;
    ::setrlimit(RLIMIT_AS, &limit);
    rlimit now{};
    ::getrlimit(RLIMIT_AS, &now);
    holds_ = now.rlim_cur == limit.rlim_cur;
  }
  ~ScarceThreads() {
    ::setrlimit(RLIMIT_AS, &before_);
    ::pthread_setattr_default_np(&attributes_);
    ::pthread_attr_destroy(&attributes_);
  }
  ScarceThreads(const ScarceThreads&) = delete;
  ScarceThreads& operator=(const ScarceThreads&) = delete;

  bool holds() const { return holds_; }  // an emulator may take the limit and ignore it

 private:
  static constexpr size_t kStack = size_t{512} << 20;  // more than all else that a test asks for
  rlimit before_{};
  pthread_attr_t attributes_{};
  bool holds_ = false;
};

}  // namespace qgrad::test

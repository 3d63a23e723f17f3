// While it lives, work is shared out over so many threads.
#pragma once

#include "core/parallel.h"

namespace qgrad::test {

class Threads {
 public:
  explicit Threads(int count) { set_num_threads(count); }
  ~Threads() { set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_ = num_threads();
};

}  // namespace qgrad::test

// Every kernel on given numbers: tests compare the rows of the table by these cases, `qgrad bench kernels` times them.
//
// The cases of a family lie in its folder (cases.cpp). A test finds kernels that are in none.
#pragma once

#include <functional>
#include <string>

#include "core/kernels/table.h"

namespace qgrad {

// An image, and constants. The caller owns the numbers.
struct KernelNumbers {
  size_t height, width, channels;
  const float *a, *b, *c;        // [height, width, channels], of any kind
  const float* tame;             // the same, finite and not far from 1
  const uint8_t* mask;           // [height, width, channels] bits; bytes that are cut off are not there
  const float* of_channels;      // [channels], of any kind
  const float *positive, *also;  // [channels], above 0
  float x, low, high, scale, zero_point;

  size_t rows() const { return height * width; }
  size_t size() const { return rows() * channels; }
};

class KernelCases {
 public:
  virtual ~KernelCases() = default;
  virtual bool family(const char* /*name*/) { return true; }  // to which the next cases belong; whether they are wanted
  // A kernel that gives `count` numbers.
  template <class T>
  void add(const std::string& kernel, size_t count, const std::function<void(T*)>& run) {
    visit(kernel, count, sizeof(T), [&run](void* y) { run(static_cast<T*>(y)); });
  }

 protected:
  virtual void visit(const std::string& kernel, size_t count, size_t bytes_each,
                     const std::function<void(void*)>& run) = 0;
};

#define QGRAD_CASES(Type, name) void add_cases(const Type##Kernels& kernels, const KernelNumbers& v, KernelCases& to);
QGRAD_KERNEL_FAMILIES(QGRAD_CASES)
#undef QGRAD_CASES

inline void add_all_cases(const Kernels& row, const KernelNumbers& numbers, KernelCases& to) {
#define QGRAD_CASES(Type, name) \
  if (to.family(#name)) add_cases(row.name, numbers, to);
  QGRAD_KERNEL_FAMILIES(QGRAD_CASES)
#undef QGRAD_CASES
}

}  // namespace qgrad

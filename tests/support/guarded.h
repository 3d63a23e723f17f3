// Buffers that end (or begin) at a page nobody may touch: a kernel that reads or writes one element too far crashes.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

namespace qgrad::test {

// end: the last element touches the forbidden page, so the alignment is whatever the length makes it.
// begin: the first element follows the forbidden page, aligned to a page. one_past_begin: the same, one element later,
// so that vector loads are unaligned.
enum class Guard { end, begin, one_past_begin };

template <class T>
class Guarded {
 public:
  explicit Guarded(size_t n, Guard guard = Guard::end) : size_(n) {
    const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    const size_t inside = ((n + 1) * sizeof(T) + page - 1) / page * page;
    bytes_ = inside + 2 * page;
    map_ = ::mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map_ == MAP_FAILED) throw std::runtime_error("guarded buffer: mmap failed");
    char* first = static_cast<char*>(map_) + page;
    if (::mprotect(first, inside, PROT_READ | PROT_WRITE) != 0)
      throw std::runtime_error("guarded buffer: mprotect failed");
    data_ = reinterpret_cast<T*>(guard == Guard::end ? first + inside - n * sizeof(T) : first) +
            (guard == Guard::one_past_begin);
  }
  explicit Guarded(std::span<const T> values, Guard guard = Guard::end) : Guarded(values.size(), guard) {
    std::ranges::copy(values, data_);
  }
  Guarded(Guarded&& other) noexcept
      : map_(std::exchange(other.map_, MAP_FAILED)), bytes_(other.bytes_), data_(other.data_), size_(other.size_) {}
  Guarded& operator=(Guarded&&) = delete;
  ~Guarded() {
    if (map_ != MAP_FAILED) ::munmap(map_, bytes_);
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  std::span<const T> span() const { return {data_, size_}; }

 private:
  void* map_ = MAP_FAILED;
  size_t bytes_ = 0;
  T* data_ = nullptr;
  size_t size_ = 0;
};

template <class T>
Guarded<T> guarded(const std::vector<T>& values, Guard guard = Guard::end) {
  return Guarded<T>(std::span<const T>(values), guard);
}

// Lengths around every vector width and unroll factor in use.
inline std::vector<size_t> edge_sizes() {
  std::vector<size_t> sizes;
  for (size_t n = 0; n <= 33; ++n) sizes.push_back(n);
  for (const size_t n : {63, 64, 65, 127, 128, 129, 1000}) sizes.push_back(n);
  return sizes;
}

}  // namespace qgrad::test

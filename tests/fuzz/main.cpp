// What libFuzzer calls.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

#include "core/error.h"
#include "core/memory.h"
#include "core/parallel.h"
#include "tests/fuzz/fuzz.h"

namespace qgrad::fuzz {

std::filesystem::path file_of(std::string_view bytes) {
  static const int file = ::memfd_create("fuzz", 0);
  const auto size = static_cast<off_t>(bytes.size());
  check(::ftruncate(file, size) == 0 && ::pwrite(file, bytes.data(), bytes.size(), 0) == size, "no file in memory: {}",
        std::strerror(errno));
  return "/proc/self/fd/" + std::to_string(file);
}

}  // namespace qgrad::fuzz

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  qgrad::set_num_threads(1);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    qgrad::fuzz::one_input({reinterpret_cast<const char*>(data), size});
  } catch (const qgrad::Error&) {
  }
  qgrad::pool::trim();
  return 0;
}

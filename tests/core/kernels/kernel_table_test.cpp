// The table has no holes: a kernel that a row forgot would be called through a null pointer. And every kernel is in a
// case.
#include "core/kernels/table.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>
#include <type_traits>

#include "core/kernels/cases.h"
#include "support/catch.h"

namespace kernel_table_test {

using namespace qgrad;

namespace {

// Of a family, which has pointers to functions and nothing else.
template <class Family>
void check_filled(const Family& family, const char* isa, const char* name) {
  static_assert(std::is_trivially_copyable_v<Family> && sizeof(Family) % sizeof(void*) == 0);
  std::array<const void*, sizeof(Family) / sizeof(void*)> kernels;
  std::memcpy(kernels.data(), &family, sizeof(Family));
  for (size_t i = 0; i < kernels.size(); ++i) {
    INFO(isa << ": kernel " << i << " of " << name);
    CHECK(kernels[i] != nullptr);
  }
}

// Runs cases and gives up what comes of them.
struct Running final : KernelCases {
  void visit(const std::string&, size_t count, size_t bytes_each, const std::function<void(void*)>& run) override {
    std::vector<double> y(count * bytes_each / sizeof(double) + 1);
    run(y.data());
  }
};

constexpr int kCrashed = 42;

// Whether the cases of a family crash without its kernel i, in a process of their own.
template <class Family>
bool cases_call(Family family, size_t i, const KernelNumbers& numbers) {
  const void* none = nullptr;
  std::memcpy(reinterpret_cast<char*>(&family) + i * sizeof(none), &none, sizeof(none));
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    std::signal(SIGSEGV, [](int) { ::_exit(kCrashed); });
    try {
      Running running;
      add_cases(family, numbers, running);
    } catch (...) {
    }
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == kCrashed;
}

}  // namespace

TEST_CASE("every kernel is in a case, by which its rows are compared and timed") {
  const std::vector<float> image(6 * 5 * 16, 1.5f), channels(16, 2.0f);
  const std::vector<uint8_t> mask(image.size() / 8, 0xa5);
  const float *x = image.data(), *c = channels.data();
  const KernelNumbers numbers{6, 5, 16, x, x, x, x, mask.data(), c, c, c, 1, -1, 1, 1, 0};
#define QGRAD_CHECK(Type, name)                                        \
  for (size_t i = 0; i < sizeof(Type##Kernels) / sizeof(void*); ++i) { \
    INFO("kernel " << i << " of " << #name);                           \
    CHECK(cases_call(available_kernels().front()->name, i, numbers));  \
  }
  QGRAD_KERNEL_FAMILIES(QGRAD_CHECK)
#undef QGRAD_CHECK
}

TEST_CASE("every row has every kernel") {
  for (const Kernels* row : available_kernels()) {
#define QGRAD_CHECK(Type, name) check_filled(row->name, row->isa, #name);
    QGRAD_KERNEL_FAMILIES(QGRAD_CHECK)
#undef QGRAD_CHECK
  }
}

}  // namespace kernel_table_test

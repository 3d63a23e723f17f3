// The table has no holes: a kernel that a row forgot would be called through a null pointer.
#include "core/kernels/table.h"

#include <array>
#include <cstring>
#include <type_traits>

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

}  // namespace

TEST_CASE("every row has every kernel") {
  for (const Kernels* row : available_kernels()) {
#define QGRAD_CHECK(Type, name) check_filled(row->name, row->isa, #name);
    QGRAD_KERNEL_FAMILIES(QGRAD_CHECK)
#undef QGRAD_CHECK
  }
}

}  // namespace kernel_table_test

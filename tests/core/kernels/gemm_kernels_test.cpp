// Every matrix product kernel against the scalar one, at the edges of buffers and tiles.
#include <vector>

#include "core/kernels/table.h"
#include "core/random.h"
#include "support/catch.h"
#include "support/guarded.h"
#include "support/random_cases.h"
#include "support/values.h"

namespace gemm_kernels_test {

using namespace qgrad;
using namespace qgrad::test;

namespace {

std::vector<float> numbers(int64_t n, uint64_t seed) { return normal_values(static_cast<size_t>(n), seed); }

struct Size {
  int64_t rows, inner, columns;
};

std::vector<Size> sizes() {
  std::vector<Size> all;
  for (int64_t n = 1; n <= 33; ++n) all.push_back({7, 5, n}), all.push_back({n, 3, 17});
  for (const int64_t inner : {0, 1, 255, 256, 257, 600}) all.push_back({13, inner, 10});
  all.push_back({64, 64, 64});
  RandomStream random(1, "sizes of products");
  for (uint64_t left = random_cases(50); left > 0; --left)
    all.push_back({1 + random.below(40), random.below(300), 1 + random.below(70)});
  return all;
}

std::vector<float> multiply(const GemmKernels& gemm, const Size& s, bool with_bias) {
  const auto a = guarded(numbers(s.rows * s.inner, 1)), bias = guarded(numbers(s.columns, 3));
  Guarded<float> panels(static_cast<size_t>(gemm_packed_floats(s.inner, s.columns)));
  gemm_pack(s.inner, s.columns, numbers(s.inner * s.columns, 2).data(), s.columns, 1, panels.data());
  Guarded<float> c(static_cast<size_t>(s.rows * s.columns));
  gemm.multiply({.rows = s.rows,
                 .inner = s.inner,
                 .columns = s.columns,
                 .a = a.data(),
                 .panels = panels.data(),
                 .bias = with_bias ? bias.data() : nullptr,
                 .c = c.data()});
  return {c.span().begin(), c.span().end()};
}

std::vector<float> multiply_transposed(const GemmGradientKernels& gemm, const Size& s, int64_t first) {
  const auto a = guarded(numbers(s.inner * (first + s.rows), 1)), b = guarded(numbers(s.inner * s.columns, 2));
  Guarded<float> c(static_cast<size_t>(s.rows * s.columns));
  gemm.multiply_transposed({.first = first,
                            .rows = s.rows,
                            .inner = s.inner,
                            .columns = s.columns,
                            .a_columns = first + s.rows,
                            .a = a.data(),
                            .b = b.data(),
                            .c = c.data()});
  return {c.span().begin(), c.span().end()};
}

}  // namespace

TEST_CASE("matrix products give the same bits on every instruction set") {
  const Kernels& scalar = *available_kernels().front();
  for (const Kernels* row : available_kernels())
    for (const Size& s : sizes()) {
      CAPTURE(row->isa, s.rows, s.inner, s.columns);
      for (const bool bias : {false, true})
        REQUIRE(bits(multiply(row->gemm, s, bias)) == bits(multiply(scalar.gemm, s, bias)));
      for (const int64_t first : {0, 5})
        REQUIRE(bits(multiply_transposed(row->gemm_gradient, s, first)) ==
                bits(multiply_transposed(scalar.gemm_gradient, s, first)));
    }
}

TEST_CASE("column sums give the same bits on every instruction set") {
  const GemmGradientKernels& scalar = available_kernels().front()->gemm_gradient;
  for (const Kernels* row : available_kernels())
    for (const size_t columns : edge_sizes()) {
      CAPTURE(row->isa, columns);
      const auto x = guarded(normal_values(7 * columns, 1));
      auto sum = guarded(normal_values(columns, 2)), expected = guarded(normal_values(columns, 2));
      row->gemm_gradient.add_column_sums(7, static_cast<int64_t>(columns), x.data(), sum.data());
      scalar.add_column_sums(7, static_cast<int64_t>(columns), x.data(), expected.data());
      REQUIRE(bits(sum.span()) == bits(expected.span()));
    }
}

}  // namespace gemm_kernels_test

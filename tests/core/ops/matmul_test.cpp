// matmul and linear against their definition, and their gradients.

#include "core/error.h"
#include "core/ops.h"
#include "core/parallel.h"
#include "core/random.h"
#include "support/catch.h"
#include "support/gradcheck.h"
#include "support/random_cases.h"

using namespace qgrad;
using namespace qgrad::test;

namespace {

// [M,K] x [K,N] for each of the leading dimensions.
std::vector<float> product(const Tensor& a, const Tensor& b) {
  const int64_t m = a.dim(-2), k = a.dim(-1), n = b.dim(-1), batch = a.numel() / (m * k);
  std::vector<float> c(static_cast<size_t>(batch * m * n));
  for (int64_t i = 0; i < batch * m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t l = 0; l < k; ++l)
        sum += double{a.data()[static_cast<size_t>(i * k + l)]} *
               double{b.data()[static_cast<size_t>((i / m * k + l) * n + j)]};
      c[static_cast<size_t>(i * n + j)] = static_cast<float>(sum);
    }
  return c;
}

}  // namespace

TEST_CASE("matmul equals its definition exactly on integers") {
  for (const int64_t m : {1, 6, 7, 100})
    for (const int64_t k : {1, 31, 300})
      for (const int64_t n : {1, 10, 16, 33}) {
        CAPTURE(m, k, n);
        const Tensor a = integer_tensor({m, k}, 1), b = integer_tensor({k, n}, 2);
        CHECK(values(matmul(a, b)) == product(a, b));
      }
  RandomStream random(1, "sizes of matrices");
  for (uint64_t left = random_cases(50); left > 0; --left) {
    const int64_t m = 1 + random.below(50), k = 1 + random.below(600), n = 1 + random.below(70);
    CAPTURE(m, k, n);
    const Tensor a = integer_tensor({m, k}, left), b = integer_tensor({k, n}, left + 1);
    CHECK(values(matmul(a, b)) == product(a, b));
  }
  const Tensor a = integer_tensor({2, 3, 5, 4}, 1), b = integer_tensor({2, 3, 4, 7}, 2);
  CHECK(matmul(a, b).shape() == Shape{2, 3, 5, 7});
  CHECK(values(matmul(a, b)) == product(a, b));
}

TEST_CASE("linear adds its bias to every row") {
  const Tensor x = integer_tensor({2, 3, 64}, 1), weight = integer_tensor({64, 10}, 2), bias = integer_tensor({10}, 3);
  std::vector<float> expected = product(x.reshaped({6, 64}), weight);
  CHECK(values(linear(x, weight, {})) == expected);
  for (size_t i = 0; i < expected.size(); ++i) expected[i] += bias.data()[i % 10];
  const Tensor y = linear(x, weight, bias);
  CHECK(y.shape() == Shape{2, 3, 10});
  CHECK(values(y) == expected);
}

TEST_CASE("gradients of matmul and linear") {
  const auto product_of = [](Inputs x) { return matmul(x[0], x[1]); };
  CHECK(gradcheck(product_of, {normal_tensor({5, 4}, 1), normal_tensor({4, 7}, 2)}) == "");
  CHECK(gradcheck(product_of, {normal_tensor({1, 17}, 1), normal_tensor({17, 18}, 2)}) == "");
  CHECK(gradcheck(product_of, {normal_tensor({3, 2, 4, 5}, 1), normal_tensor({3, 2, 5, 2}, 2)}) == "");
  CHECK(gradcheck([](Inputs x) { return linear(x[0], x[1], x[2]); },
                  {normal_tensor({7, 9}, 1), normal_tensor({9, 19}, 2), normal_tensor({19}, 3)}) == "");
  CHECK(gradcheck([](Inputs x) { return linear(x[0], x[1], {}); },
                  {normal_tensor({2, 3, 8}, 1), normal_tensor({8, 5}, 2)}) == "");
}

TEST_CASE("linear and its gradients have the same bits on any number of threads") {
  const auto run = [] {
    std::vector<Tensor> leaves{normal_tensor({500, 120}, 1), normal_tensor({120, 70}, 2), normal_tensor({70}, 3)};
    for (Tensor& leaf : leaves) leaf.set_requires_grad(true);
    Tape tape;
    const Tape::Recording recording(tape);
    const Tensor y = linear(leaves[0], leaves[1], leaves[2]);
    tape.backward(
        record("probe", Tensor::scalar(0), {y}, [y](Tensor, Grads& dx) { dx.add(0, normal_tensor(y.shape(), 4)); }));
    return std::vector{bits(y), bits(leaves[0].grad()), bits(leaves[1].grad()), bits(leaves[2].grad())};
  };
  const int before = num_threads();
  set_num_threads(1);
  const auto expected = run();
  for (const int threads : {2, 3}) {
    set_num_threads(threads);
    CHECK(run() == expected);
  }
  set_num_threads(before);
}

TEST_CASE("leading dimensions of matrices broadcast as NumPy's") {
  const auto [a, b] = GENERATE(table<Shape, Shape>({{{4, 2, 3}, {3, 5}},
                                                    {{2, 3}, {4, 3, 5}},
                                                    {{2, 4, 2, 3}, {4, 3, 5}},
                                                    {{2, 1, 2, 3}, {1, 4, 3, 5}},
                                                    {{1, 2, 3}, {2, 4, 3, 5}},
                                                    {{4, 2, 3}, {1, 3, 5}},
                                                    {{2, 3}, {1, 1, 3, 5}}}));
  CAPTURE(to_string(a), to_string(b));
  const Tensor x = integer_tensor(a, 1), y = integer_tensor(b, 2), product = matmul(x, y);
  const Shape of_a(a.dims().first(static_cast<size_t>(a.rank() - 2))),
      of_b(b.dims().first(static_cast<size_t>(b.rank() - 2)));
  const Shape leading = broadcast(of_a, of_b);
  REQUIRE(product.numel() == leading.numel() * 2 * 5);
  REQUIRE(product.rank() == leading.rank() + 2);
  // Which matrix of an operand belongs to one of the product.
  const auto matrix_of = [&](const Shape& own, int64_t batch) {
    int64_t at = 0, step = 1;
    for (int i = 1; i <= leading.rank(); ++i) {
      if (i <= own.rank()) at += own[-i] == 1 ? 0 : batch % leading[-i] * step;
      if (i <= own.rank()) step *= own[-i];
      batch /= leading[-i];
    }
    return at;
  };
  for (int64_t batch = 0; batch < leading.numel(); ++batch) {
    const auto from_a = x.data().subspan(static_cast<size_t>(matrix_of(of_a, batch) * 6)),
               from_b = y.data().subspan(static_cast<size_t>(matrix_of(of_b, batch) * 15));
    for (size_t row = 0; row < 2; ++row)
      for (size_t column = 0; column < 5; ++column) {
        float sum = 0;
        for (size_t k = 0; k < 3; ++k) sum += from_a[row * 3 + k] * from_b[k * 5 + column];
        REQUIRE(product.data()[(static_cast<size_t>(batch) * 2 + row) * 5 + column] == sum);
      }
  }
  CHECK(gradcheck([](Inputs i) { return matmul(i[0], i[1]); }, {normal_tensor(a, 1), normal_tensor(b, 2)}) == "");
}

TEST_CASE("matmul and linear refuse shapes that do not fit, naming both") {
  const auto message = [](auto&& f) -> std::string {
    try {
      f();
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  const auto zeros = [](const Shape& shape) { return Tensor::zeros(shape); };
  CHECK(message([&] {
          matmul(zeros({2, 3}), zeros({4, 5}));
        }) == "matmul: [2,3] times [4,5]: expected the second to be [..,3,N]");
  CHECK(message([&] {
          matmul(zeros({2, 2, 3}), zeros({3, 3, 5}));
        }) == "matmul: [2,2,3] times [3,3,5]: their leading dimensions do not broadcast");
  CHECK_THROWS_AS(matmul(zeros({3}), zeros({3, 5})), Error);
  CHECK(message([&] {
          linear(zeros({2, 3}), zeros({4, 5}), {});
        }) == "linear: weight [4,5] wants 4 input features, input has 3 ([2,3])");
  CHECK(message([&] {
          linear(zeros({2, 4}), zeros({4, 5}), zeros({4}));
        }) == "linear: weight [4,5] wants a bias [5], got [4]");
}

TEST_CASE("batches of matrices that wait to be computed are multiplied on any number of threads") {
  const auto run = [] {
    Tensor x = normal_tensor({3, 4, 8}, 1);
    x.set_requires_grad(true);
    const Tensor other = normal_tensor({3, 8, 5}, 2);
    Tape tape;
    Tensor loss;
    {
      const Tape::Recording recording(tape);
      loss = sum(matmul(batch_norm_train(x, {}, {}, 1e-5f).y, other));
    }
    tape.backward(loss);
    return std::vector{bits(loss), bits(x.grad())};
  };
  const int before = num_threads();
  set_num_threads(1);
  const auto expected = run();
  set_num_threads(2);
  CHECK(run() == expected);
  set_num_threads(before);
}

// Passes over memory that wait for the next op: the same bits as without, and nothing computed that nobody reads.
#include "core/ops/fused.h"

#include "core/ops.h"
#include "core/parallel.h"
#include "core/tape.h"
#include "quant/train/fake_quant.h"
#include "support/catch.h"
#include "support/values.h"

using namespace qgrad;
using namespace qgrad::test;

namespace {

enum class Read { when_needed, at_once };

// A residual block's end, with everything between its convolutions; the bits of all results and gradients.
std::vector<std::vector<uint32_t>> residual_block(Read read, bool quantize, bool two_branches,
                                                  Tensor (*cut)(const Tensor&), const Tensor& upstream) {
  const Shape shape = upstream.shape();
  Tensor x = normal_tensor(shape, 1), shortcut = normal_tensor(shape, 2), gamma = uniform_tensor({shape[-1]}, 3, -2, 2),
         beta = normal_tensor({shape[-1]}, 4);
  for (Tensor* leaf : {&x, &shortcut, &gamma, &beta}) leaf->set_requires_grad(true);
  // Asking for the numbers leaves nothing to wait for, so that every op makes its own pass.
  const auto seen = [&](Tensor t) {
    if (read == Read::at_once) t.data();
    return t;
  };
  FakeLinearQuantization first({.bits = 4}), second({.bits = 4, .mode = LinearQuantMode::asymmetric_unsigned});
  Tape tape;
  Tensor inner, y, loss;
  {
    const Tape::Recording recording(tape);
    inner = seen(cut(seen(batch_norm_train(mul_scalar(x, 2), gamma, beta, 1e-5f).y)));
    if (quantize) inner = seen(first(inner));
    const Tensor branch = seen(batch_norm_train(inner, gamma, beta, 1e-5f).y);
    const Tensor other =
        two_branches ? seen(batch_norm_train(mul_scalar(shortcut, 3), gamma, beta, 1e-5f).y) : mul_scalar(shortcut, 1);
    y = seen(cut(seen(add(other, branch))));
    if (quantize) y = seen(second(y));
    loss = sum(mul(add(y, inner), upstream));
  }
  tape.backward(loss);
  std::vector<std::vector<uint32_t>> all{bits(inner), bits(y), bits(loss), bits(first.tracked_max()),
                                         bits(second.tracked_max())};
  for (const Tensor* leaf : {&x, &shortcut, &gamma, &beta}) all.push_back(bits(leaf->grad()));
  return all;
}

}  // namespace

TEST_CASE("ops that wait for each other give the bits of ops that do not") {
  const bool quantize = GENERATE(false, true), two_branches = GENERATE(false, true);
  const auto cut = GENERATE(&relu, &relu6);
  const Tensor upstream = normal_tensor(GENERATE(Shape{3, 7, 5, 16}, Shape{9, 24}, Shape{40, 33, 32}), 5);
  const auto plain = residual_block(Read::at_once, quantize, two_branches, cut, upstream);
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    CHECK(residual_block(Read::when_needed, quantize, two_branches, cut, upstream) == plain);
  }
  set_num_threads(2);
}

TEST_CASE("a batch norm's result waits only where a tape records and channels come in eights") {
  Tensor eight = normal_tensor({4, 8}, 1), seven = normal_tensor({4, 7}, 1);
  CHECK_FALSE(batch_norm_train(eight, {}, {}, 1e-5f).y.pending());
  eight.set_requires_grad(true);
  seven.set_requires_grad(true);
  Tape tape;
  const Tape::Recording recording(tape);
  const Tensor y = batch_norm_train(eight, {}, {}, 1e-5f).y;
  REQUIRE(y.pending());
  CHECK(waiting_as<PendingNormalized>(relu(y))->uncut);
  CHECK(y.pending());
  y.data();
  CHECK_FALSE(y.pending());
  CHECK_FALSE(relu(y).pending());
  CHECK_FALSE(batch_norm_train(seven, {}, {}, 1e-5f).y.pending());
}

TEST_CASE("numbers that wait can not be asked for where work is already split") {
  Tensor x = normal_tensor({4, 8}, 1);
  x.set_requires_grad(true);
  Tape tape;
  const Tape::Recording recording(tape);
  const Tensor y = batch_norm_train(x, {}, {}, 1e-5f).y;
  CHECK_THROWS_WITH(parallel_for(64, 1, [&](int64_t, int64_t) { y.data(); }),
                    Contains("ask for them before splitting work"));
}

TEST_CASE("a gradient that waits reaches the weight of a convolution whose input wants none") {
  const Tensor images = normal_tensor({16, 9, 9, 3}, 1), branch = normal_tensor({16, 9, 9, 8}, 2);
  const auto gradient = [&](Read read) {
    Tensor weight = normal_tensor({3, 3, 3, 8}, 3), gamma = uniform_tensor({8}, 4, 1, 2);
    for (Tensor* leaf : {&weight, &gamma}) leaf->set_requires_grad(true);
    Tape tape;
    Tensor loss;
    {
      const Tape::Recording recording(tape);
      const Tensor normalized = batch_norm_train(branch, gamma, {}, 1e-5f).y;
      if (read == Read::at_once) normalized.data();
      loss = sum(relu(add(conv2d(images, weight, {}, {.padding_h = 1, .padding_w = 1}), normalized)));
    }
    tape.backward(loss);
    return bits(weight.grad());
  };
  CHECK(gradient(Read::when_needed) == gradient(Read::at_once));
}

TEST_CASE("a relu's gradient is masked once, and combined with fake quantization's") {
  const Tensor dy = Tensor::from({8}, std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8});
  const auto mask = [](uint8_t byte) {
    auto m = std::make_shared<BitMask>(8);
    *m->data() = byte;
    return m;
  };
  const Tensor both = masked(masked(dy.clone(), mask(0b11110000)), mask(0b10101010));
  CHECK(std::vector<float>(both.data().begin(), both.data().end()) == std::vector<float>{0, 0, 0, 0, 0, 6, 0, 8});
}

TEST_CASE("a waiting tensor is added to itself, and to what it is made of") {
  const auto sums = [](Read read) {
    Tensor x = normal_tensor({6, 8}, 1);
    x.set_requires_grad(true);
    Tape tape;
    const Tape::Recording recording(tape);
    const Tensor y = batch_norm_train(x, {}, {}, 1e-5f).y;
    const Tensor z = batch_norm_train(y, {}, {}, 1e-5f).y;
    if (read == Read::at_once) z.data();
    return std::vector{bits(add(y, y)), bits(add(z, y)), bits(add(y, z))};
  };
  CHECK(sums(Read::when_needed) == sums(Read::at_once));
  Tensor x = normal_tensor({6, 8}, 1);
  x.set_requires_grad(true);
  Tape tape;
  const Tape::Recording recording(tape);
  const Tensor y = batch_norm_train(x, {}, {}, 1e-5f).y;
  CHECK(bits(add(y, y)) == bits(mul_scalar(y, 2)));
}

TEST_CASE("numbers that wait do not change when what they are made of is written") {
  const auto results = [](Read read) {
    Tensor x = normal_tensor({6, 8}, 1), branch = normal_tensor({6, 8}, 2), mean = normal_tensor({8}, 3),
           variance = Tensor::full({8}, 2), gamma = uniform_tensor({8}, 4, 1, 2);
    gamma.set_requires_grad(true);
    Tape tape;
    const Tape::Recording recording(tape);
    BatchNormResult trained = batch_norm_train(x, gamma, {}, 1e-5f);
    const Tensor evaluated = batch_norm_eval(x, gamma, {}, mean, variance, 1e-5f);
    const Tensor of_waiting = batch_norm_eval(trained.y, gamma, {}, mean, variance, 1e-5f);
    const std::vector<Tensor> all{trained.y, evaluated, of_waiting, relu(add(trained.y, branch)), relu6(evaluated)};
    if (read == Read::at_once)
      for (const Tensor& y : all) y.data();
    Tensor view = x.reshaped({48});  // of the same numbers
    for (Tensor* t : {&view, &branch, &mean, &variance, &gamma, &trained.statistics.mean, &trained.y})
      for (float& value : t->mutable_data()) value = 100;
    std::vector<std::vector<uint32_t>> numbers;
    for (const Tensor& y : all) numbers.push_back(bits(y));
    return numbers;
  };
  CHECK(results(Read::when_needed) == results(Read::at_once));
}

// Ops on several ranks, each with its part of a batch: the bits of one rank with all of it.
#include "core/ranks.h"

#include <array>
#include <functional>
#include <optional>
#include <string>

#include "core/ops.h"
#include "core/tape.h"
#include "nn/distillation.h"
#include "nn/layers/per_example.h"
#include "quant/train/clipped_activation.h"
#include "quant/train/fake_quant.h"
#include "quant/train/lsq.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/thread_ranks.h"
#include "support/values.h"

using namespace qgrad;
using namespace qgrad::test;

namespace {

using Tensors = std::vector<Tensor>;

struct OpCase {
  std::string name;
  std::vector<Shape> batches;     // of an example: the shape without its first dimension
  std::vector<Shape> parameters;  // the same on all ranks
  std::function<Tensor(const Tensors& x, const Tensors& p)> run;
};

Shape with_examples(int64_t count, const Shape& example) {
  std::vector<int64_t> dims{count};
  dims.insert(dims.end(), example.dims().begin(), example.dims().end());
  return Shape(dims);
}

std::vector<int32_t> labels_of(const Tensor& x, int classes) {
  std::vector<int32_t> labels;
  const auto width = x.shape().numel_from(1);
  for (int64_t i = 0; i < x.dim(0); ++i)
    labels.push_back(static_cast<int32_t>(std::abs(x.data()[static_cast<size_t>(i * width)]) * 100) % classes);
  return labels;
}

Tensor small_ids(const Tensor& x) {
  Tensor ids = Tensor::empty({x.dim(0)});
  const auto width = x.shape().numel_from(1);
  for (int64_t i = 0; i < x.dim(0); ++i)
    ids.mutable_data()[static_cast<size_t>(i)] =
        std::floor(std::min(std::abs(x.data()[static_cast<size_t>(i * width)]), 1.9f) * 3);
  ids.set_part(x.part().value_or(0));
  return ids;
}

std::vector<OpCase> cases_of_ranks() {
  const Shape image{6, 5, 8}, row{7};
  std::vector<OpCase> all{
      {"conv2d",
       {image},
       {{3, 3, 8, 5}, {5}},
       [](auto& x, auto& p) { return conv2d(x[0], p[0], p[1], {.padding_h = 1}); }},
      {"conv2d by Winograd's method",
       {{8, 7, 16}},
       {{3, 3, 16, 20}, {20}},
       [](auto& x, auto& p) { return conv2d(x[0], p[0], p[1], {.padding_h = 1, .padding_w = 1}); }},
      {"conv2d by Winograd's method, many channels",
       {{5, 5, 90}},
       {{3, 3, 90, 130}},
       [](auto& x, auto& p) { return conv2d(x[0], p[0], {}, {.padding_h = 1, .padding_w = 1}); }},
      {"conv2d, strides and groups",
       {image},
       {{3, 3, 4, 6}},
       [](auto& x, auto& p) { return conv2d(x[0], p[0], {}, {.stride_h = 2, .stride_w = 2, .groups = 2}); }},
      {"conv2d, depthwise",
       {image},
       {{3, 3, 1, 8}, {8}},
       [](auto& x, auto& p) { return conv2d(x[0], p[0], p[1], {.groups = 8}); }},
      {"conv2d, many channels",
       {{3, 3, 70}},
       {{3, 3, 70, 130}},
       [](auto& x, auto& p) { return conv2d(x[0], p[0], {}, {.padding_h = 1, .padding_w = 1}); }},
      {"conv_transpose2d",
       {image},
       {{2, 2, 8, 3}, {3}},
       [](auto& x, auto& p) { return conv_transpose2d(x[0], p[0], p[1], ConvTranspose2dOptions{{.stride_h = 2}}); }},
      {"linear", {row}, {{7, 9}, {9}}, [](auto& x, auto& p) { return linear(x[0], p[0], p[1]); }},
      {"linear of positions", {{4, 7}}, {{7, 9}, {9}}, [](auto& x, auto& p) { return linear(x[0], p[0], p[1]); }},
      {"matmul", {{4, 7}}, {{7, 9}}, [](auto& x, auto& p) { return matmul(x[0], p[0]); }},
      {"matmul of each example", {{4, 7}, {7, 3}}, {}, [](auto& x, auto&) { return matmul(x[0], x[1]); }},
      {"batch_norm_train",
       {image},
       {{8}, {8}},
       [](auto& x, auto& p) { return batch_norm_train(x[0], p[0], p[1], 1e-5f).y; }},
      {"batch_norm_train, relu, add",
       {{5, 5, 16}, {5, 5, 16}},
       {{16}, {16}},
       [](auto& x, auto& p) { return relu(add(x[1], batch_norm_train(x[0], p[0], p[1], 1e-5f).y)); }},
      {"batch_norm_eval",
       {image},
       {{8}, {8}},
       [](auto& x, auto& p) {
         return batch_norm_eval(x[0], p[0], p[1], Tensor::full({8}, 0.1f), Tensor::full({8}, 2), 1e-5f);
       }},
      {"group_norm", {image}, {{8}, {8}}, [](auto& x, auto& p) { return group_norm(x[0], 4, p[0], p[1], 1e-5f); }},
      {"layer_norm", {{3, 7}}, {{7}, {7}}, [](auto& x, auto& p) { return layer_norm(x[0], {7}, p[0], p[1], 1e-5f); }},
      {"embedding", {row}, {{6, 5}}, [](auto& x, auto& p) { return embedding(small_ids(x[0]), p[0]); }},
      {"per_example",
       {row},
       {},
       [](auto& x, auto&) {
         PerExample value({.shape = {7}});
         return add(value(x[0]), x[0]);
       }},
      {"expand",
       {{3, 4}},
       {{4}},
       [](auto& x, auto& p) {
         return mul(x[0], expand(p[0], {1, 3, 4}));
       }},
      {"sum, mean", {image}, {}, [](auto& x, auto&) { return add(sum(x[0]), mean(square(x[0]))); }},
      {"sum over examples", {image}, {}, [](auto& x, auto&) { return sum(x[0], 0, true); }},
      {"mean over examples", {row}, {}, [](auto& x, auto&) { return mul(x[0], mean(x[0], 0, false)); }},
      {"mean over positions",
       {image},
       {},
       [](auto& x, auto&) {
         constexpr int kPositions[] = {1, 2};
         return mean(x[0], kPositions, false);
       }},
      {"mean over examples and positions",
       {image},
       {},
       [](auto& x, auto&) {
         constexpr int kAllButChannels[] = {0, 1, 2};
         return sub(x[0], mean(x[0], kAllButChannels, true));
       }},
      {"dot, squared_distance",
       {row, row},
       {},
       [](auto& x, auto&) { return add(dot(x[0], x[1]), squared_distance(x[0], x[1])); }},
      {"softmax_cross_entropy",
       {row},
       {{7, 10}},
       [](auto& x, auto& p) { return softmax_cross_entropy(linear(x[0], p[0], {}), labels_of(x[0], 10), 0.1f); }},
      {"distillation_loss",
       {row, row},
       {{7, 10}},
       [](auto& x, auto& p) { return distillation_loss(linear(x[0], p[0], {}), linear(x[1], p[0], {}), 4); }},
      {"FakeLinearQuantization",
       {image},
       {{8}},
       [](auto& x, auto& p) { return FakeLinearQuantization({.bits = 3})(mul(x[0], p[0])); }},
      {"FakeLinearQuantization of what waits",
       {{5, 5, 16}},
       {{16}, {16}},
       [](auto& x, auto& p) {
         return FakeLinearQuantization({.bits = 3})(relu(batch_norm_train(x[0], p[0], p[1], 1e-5f).y));
       }},
      {"LSQQuantization",
       {image},
       {{8}},
       [](auto& x, auto& p) {
         LSQQuantization lsq(3, Role::any_sign, {});
         return lsq(mul(x[0], p[0]));
       }},
      {"LSQQuantization with an offset",
       {image},
       {{8}},
       [](auto& x, auto& p) {
         LSQQuantization lsq(3, Role::any_sign, {.start = LSQStart::lsq_plus, .learn_offset = true});
         return lsq(mul(x[0], p[0]));
       }},
      {"LearnedClippedLinearQuantization",
       {image},
       {{8}},
       [](auto& x, auto& p) { return LearnedClippedLinearQuantization(3, {1.5f}, false)(mul(x[0], p[0])); }},
  };
  using TwoOperands = Tensor (*)(const Tensor&, const Tensor&);
  for (const auto& [name, op] : {std::pair<const char*, TwoOperands>("add", add),
                                 {"sub", sub},
                                 {"mul", mul},
                                 {"div", div},
                                 {"prelu", prelu},
                                 {"maximum", maximum},
                                 {"minimum", minimum}})
    for (const Shape& parameter : {Shape{8}, Shape{1}, Shape{1, 1, 5, 1}, Shape{6, 5, 8}, Shape{}})
      all.push_back({name, {image}, {parameter}, [op = op](auto& x, auto& p) { return op(x[0], p[0]); }});
  return all;
}

// The rows [first, last) of x.
Tensor rows_of(const Tensor& x, int64_t first, int64_t last) {
  const auto width = static_cast<size_t>(x.shape().numel_from(1));
  Shape shape = x.shape();
  shape.set(0, last - first);
  return Tensor::from(shape,
                      x.data().subspan(static_cast<size_t>(first) * width, static_cast<size_t>(last - first) * width));
}

struct Results {
  float loss;
  Tensors inputs, parameters;  // gradients
};

// Of the examples of the ranks() of this thread.
Results run_part(const OpCase& c, int64_t batch) {
  const auto [first, last] = ranks() ? ranks()->examples(batch) : std::pair<int64_t, int64_t>(0, batch);
  Tensors x, p;
  for (size_t i = 0; i < c.batches.size(); ++i) {
    x.push_back(rows_of(normal_tensor(with_examples(batch, c.batches[i]), i), first, last));
    if (ranks()) x.back().set_part(last - first);
    x.back().set_requires_grad(true);
  }
  for (size_t i = 0; i < c.parameters.size(); ++i) {
    p.push_back(uniform_tensor(c.parameters[i], 100 + i, 0.5f, 1.5f));
    p.back().set_requires_grad(true);
  }
  Tape tape;
  Tensor loss;
  {
    const Tape::Recording recording(tape);
    const Tensor y = c.run(x, p);
    if (ranks() ? y.is_part() : y.rank() > 0 && y.dim(0) == batch) {
      Shape whole = y.shape();
      whole.set(0, batch);
      Tensor weights = rows_of(normal_tensor(whole, 7), first, last);
      if (ranks()) weights.set_part(last - first);
      loss = sum(mul(y, weights));
    } else {
      loss = sum(mul(y, normal_tensor(y.shape(), 8)));
    }
  }
  tape.backward(loss);
  Results results{loss.item(), {}, {}};
  for (const Tensor& t : x) results.inputs.push_back(t.grad());
  for (const Tensor& t : p) results.parameters.push_back(t.grad());
  return results;
}

}  // namespace

TEST_CASE("an op on several ranks gives the bits of one: its outputs, and the gradients of inputs and parameters") {
  const std::vector<OpCase> all = cases_of_ranks();
  for (const OpCase& c : all)
    for (const int64_t batch : {32, 48}) {
      const Results whole = run_part(c, batch);
      for (const int count : {1, 2, 3, 5, 16}) {
        INFO(c.name << ", " << batch << " examples on " << count << " ranks");
        std::vector<Results> parts(static_cast<size_t>(count));
        on_ranks(count, [&](int rank) { parts[static_cast<size_t>(rank)] = run_part(c, batch); });
        std::vector<std::vector<uint32_t>> inputs(c.batches.size());
        for (const Results& part : parts) {
          CHECK(part.loss == whole.loss);
          for (size_t i = 0; i < whole.parameters.size(); ++i)
            CHECK((bits(part.parameters[i]) == bits(whole.parameters[i])));
          for (size_t i = 0; i < inputs.size(); ++i)
            if (part.inputs[i].defined()) {
              const auto more = bits(part.inputs[i]);
              inputs[i].insert(inputs[i].end(), more.begin(), more.end());
            }
        }
        for (size_t i = 0; i < inputs.size(); ++i)
          CHECK((inputs[i] == (whole.inputs[i].defined() ? bits(whole.inputs[i]) : std::vector<uint32_t>{})));
      }
    }
}

TEST_CASE("what can not be computed on parts of a batch is refused on several ranks") {
  const auto refused = [](const std::function<Tensor(const Tensor& x)>& run) {
    return error_of([&] {
      on_ranks(2, [&](int) {
        Tensor x = normal_tensor({8, 3, 4}, 1);
        x.set_part(8);
        run(x);
      });
    });
  };
  static constexpr int kExchanged[] = {1, 0, 2};
  CHECK_THAT(refused([](const Tensor& x) { return max(x); }), Contains("several ranks"));
  CHECK_THAT(refused([](const Tensor& x) { return min(x, {}, false); }), Contains("several ranks"));
  CHECK_THAT(refused([](const Tensor& x) { return slice(x, 0, 0, 1); }),
             Contains("slice") && Contains("several ranks"));
  CHECK_THAT(refused([](const Tensor& x) { return transpose(x, kExchanged); }), Contains("transpose"));
  CHECK_THAT(refused([](const Tensor& x) { return pad(x, 0, 1, 1, 0); }), Contains("pad"));
  CHECK_THAT(refused([](const Tensor& x) { return reshape(x, {1, 96}); }), Contains("not made of 8 examples"));
  CHECK_THAT(refused([](const Tensor& x) { return reshape(x, {12, 8}); }), Contains("reshape"));
  CHECK_THAT(refused([](const Tensor& x) { return concat({{x, x}}, 0); }), Contains("concat"));
  std::array<std::optional<int64_t>, 3> parts;
  on_ranks(2, [&](int rank) {
    Tensor x = normal_tensor({8, 3, 4}, 1);
    x.set_part(8);
    const std::array<std::optional<int64_t>, 3> seen{slice(x, 1, 0, 1).part(), reshape(x, {24, 4}).part(),
                                                     sum(x).part()};
    if (rank == 0) parts = seen;
  });
  CHECK(parts == std::array<std::optional<int64_t>, 3>{8, 8, 0});

  const auto trained = [](const Shape& parameter) {
    return error_of([&] {
      on_ranks(2, [&](int) {
        Tensor x = normal_tensor({8, 3, 4}, 1), p = normal_tensor(parameter, 2);
        x.set_part(8);
        p.set_requires_grad(true);
        Tape tape;
        Tensor loss;
        {
          const Tape::Recording recording(tape);
          loss = sum(record("own_op", square(x), {x, p}, [](Tensor dy, Grads& dx) {
            if (dx.needs(1)) dx.add(1, dy);
          }));
        }
        tape.backward(loss);
      });
    });
  };
  CHECK_THAT(trained({8, 3, 4}), Contains("own_op: can not be trained on several ranks"));
}

TEST_CASE("ranks have whole slices of a batch, which must divide into them") {
  Mail mail;
  CHECK(ThreadRanks(0, 3, mail).examples(48) == std::pair<int64_t, int64_t>(0, 15));
  CHECK(ThreadRanks(1, 3, mail).examples(48) == std::pair<int64_t, int64_t>(15, 30));
  CHECK(ThreadRanks(2, 3, mail).examples(48) == std::pair<int64_t, int64_t>(30, 48));
  CHECK_THAT(error_of([&] { ThreadRanks(0, 2, mail).examples(100); }),
             Contains("a batch_size that is a multiple of 16, got 100"));
  CHECK_THAT(error_of([&] { ThreadRanks(0, 16, mail).examples(16); }), Contains("gives each 2 examples, got 16"));
  CHECK_THAT(error_of([&] { ThreadRanks(0, 17, mail); }), Contains("expected 1 to 16"));
}

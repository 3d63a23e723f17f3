// Recording and walking the tape.
#include "core/tape.h"

#include "core/memory.h"
#include "core/ops.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/values.h"

using namespace qgrad;
using namespace qgrad::test;

namespace {

Tensor leaf(std::vector<float> v) {
  Tensor t = Tensor::from({static_cast<int64_t>(v.size())}, v);
  t.set_requires_grad(true);
  return t;
}

// Records f and walks back from its result.
template <class F>
void differentiate(Tape& tape, F&& f) {
  Tensor loss;
  {
    const Tape::Recording recording(tape);
    loss = f();
  }
  tape.backward(loss);
}

}  // namespace

TEST_CASE("a tensor used several times gets the sum of its gradients") {
  const Tensor x = leaf({1, 2, 3});
  Tape tape;
  differentiate(tape, [&] {
    const Tensor twice = add(x, x);                       // 2
    const Tensor squares = mul(x, x);                     // 2x
    return sum(add(add(twice, squares), mul(twice, x)));  // 4x
  });
  CHECK(values(x.grad()) == std::vector<float>{8, 14, 20});
}

TEST_CASE("gradients add up over backward passes until they are cleared") {
  Tensor x = leaf({1, 2});
  Tape tape;
  for (int pass = 0; pass < 3; ++pass) differentiate(tape, [&] { return sum(square(x)); });
  CHECK(values(x.grad()) == std::vector<float>{6, 12});
  x.set_grad(Tensor());
  differentiate(tape, [&] { return sum(square(x)); });
  CHECK(values(x.grad()) == std::vector<float>{2, 4});
}

TEST_CASE("leaves never share their gradient's numbers") {
  const Tensor a = leaf({1, 2}), b = leaf({3, 4});
  Tape tape;
  differentiate(tape, [&] { return sum(add(a, b)); });
  Tensor grad = a.grad();
  grad.mutable_data()[0] = 100;
  CHECK(values(b.grad()) == std::vector<float>{1, 1});
}

TEST_CASE("in-place backward does not disturb a gradient that somebody else needs") {
  const Tensor x = leaf({-1, 2, 3});
  Tape tape;
  differentiate(tape, [&] {
    const Tensor y = mul_scalar(x, 2);
    // add hands the same dy to both: relu may not zero what neg still reads.
    return sum(mul(add(relu(y), neg(y)), Tensor::from({3}, std::vector<float>{1, 10, 100})));
  });
  CHECK(values(x.grad()) == std::vector<float>{-2, 0, 0});
}

TEST_CASE("nothing is recorded without a tape, while paused, or when nothing requires a gradient") {
  const Tensor x = leaf({1}), constant = Tensor::scalar(2);
  relu(x);
  Tape tape;
  const Tape::Recording recording(tape);
  relu(constant);
  CHECK(tape.nodes().empty());
  {
    const Tape::Paused paused;
    CHECK(!relu(x).requires_grad());
    CHECK(tape.nodes().empty());
  }
  CHECK(relu(x).requires_grad());
  CHECK(tape.nodes().size() == 1);
}

TEST_CASE("a tape that traces records every op with its scope and inputs, and keeps no closures") {
  const Tensor x = Tensor::zeros({1, 2, 2, 3});
  const int first = 0, second = 0;
  Tape tape(Tape::Mode::trace);
  {
    const Tape::Recording recording(tape);
    const Tape::Scope outer(&first);
    const Tensor y = relu(x);
    {
      const Tape::Scope inner(&second);
      add(y, x);
    }
    flatten(y);
  }
  const auto nodes = tape.nodes();
  REQUIRE(nodes.size() == 3);
  CHECK(nodes[0].op == "relu");
  CHECK(nodes[1].op == "add");
  CHECK(nodes[2].op == "flatten");
  CHECK(tape.inputs(nodes[1])[0] == nodes[0].output);
  CHECK(tape.inputs(nodes[1])[1] == tape.inputs(nodes[0])[0]);
  CHECK(tape.scopes()[nodes[0].scope].owner == &first);
  CHECK(tape.scopes()[nodes[1].scope].owner == &second);
  CHECK(tape.scopes()[nodes[1].scope].parent == nodes[0].scope);
  CHECK(nodes[2].scope == nodes[0].scope);
  CHECK(!nodes[0].backward);
  CHECK(error_of([&] { tape.backward(Tensor::scalar(1)); }) == "backward: this tape only traces");
}

TEST_CASE("backward refuses losses it cannot walk from") {
  const Tensor x = leaf({1, 2});
  Tape tape;
  Tensor loss, many;
  {
    const Tape::Recording recording(tape);
    many = square(x);
    loss = sum(many);
  }
  const std::string unknown =
      "backward: the loss was not recorded on this tape, or depends on nothing that requires a gradient";
  CHECK(error_of([&] { tape.backward(many); }) == "backward: the loss must have one element, got shape [2]");
  CHECK(error_of([&] { tape.backward(Tensor::scalar(1)); }) == unknown);
  tape.backward(loss);
  CHECK(error_of([&] { tape.backward(loss); }) == unknown);
}

TEST_CASE("an output of an earlier recording is a constant in the next") {
  const Tensor x = leaf({3});
  Tape tape;
  Tensor remembered;
  differentiate(tape, [&] { return sum(remembered = square(x)); });
  const Tensor y = leaf({2});
  differentiate(tape, [&] { return sum(mul(remembered, y)); });
  CHECK(values(x.grad()) == std::vector<float>{6});
  CHECK(values(y.grad()) == std::vector<float>{9});
  CHECK(!remembered.grad().defined());
  const Tape::Recording recording(tape);
  relu(remembered);
  CHECK(tape.nodes().empty());
}

TEST_CASE("a closure that throws leaves the tape ready for the next recording") {
  const Tensor x = leaf({1});
  Tape tape;
  const auto failing = [&] {
    return record("failing", Tensor::scalar(1), {x}, [](Tensor, Grads&) { fail("no gradient today"); });
  };
  CHECK(error_of([&] { differentiate(tape, failing); }) == "no gradient today");
  CHECK(tape.nodes().empty());
  differentiate(tape, [&] { return sum(square(x)); });
  CHECK(values(x.grad()) == std::vector<float>{2});
}

TEST_CASE("closures are freed as backward walks, and with them what they saved") {
  const Tensor x = Tensor::full({1 << 16}, 0.5f);
  Tensor w = leaf({1});
  Tape tape;
  const size_t before = pool::stats().bytes_in_use;
  differentiate(tape, [&] {
    Tensor y = mul(x, w);
    for (int i = 0; i < 8; ++i) y = qgrad::tanh(y);
    CHECK(pool::stats().bytes_in_use >= before + 8 * (size_t{4} << 16));
    return sum(y);
  });
  CHECK(pool::stats().bytes_in_use < before + (size_t{4} << 16));
}

TEST_CASE("undefined inputs are allowed and need no gradient") {
  const Tensor x = leaf({1}), none;
  Tape tape;
  bool needed = true;
  differentiate(tape, [&] {
    return record("pair", Tensor::scalar(1), {x, none}, [&needed](Tensor dy, Grads& dx) {
      needed = dx.needs(1);
      dx.add(0, dy.reshaped({1}));
      dx.add(1, dy);
    });
  });
  CHECK(!needed);
  CHECK(values(x.grad()) == std::vector<float>{1});
}

TEST_CASE("two gradients of different shapes for one tensor are an error") {
  const Tensor x = leaf({1, 2});
  Tape tape;
  const auto wrong = [&] {
    const Tensor y = square(x);
    const Tensor z = record("wrong", Tensor::scalar(0), {y}, [](Tensor, Grads& dx) { dx.add(0, Tensor::zeros({3})); });
    return add(sum(y), z);
  };
  CHECK(error_of([&] { differentiate(tape, wrong); }) == "backward: gradients of shapes [2] and [3] for one tensor");
}

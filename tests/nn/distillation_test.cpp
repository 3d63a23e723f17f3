// The distillation loss against its formula, and the teacher's mode.
#include "nn/distillation.h"

#include <cmath>

#include "core/tape.h"
#include "nn/container.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/gradcheck.h"
#include "support/values.h"

using namespace qgrad;

TEST_CASE("the distillation loss is the mean divergence of tempered probabilities, times the temperature squared") {
  const float temperature = GENERATE(1.0f, 4.0f);
  const Tensor student = test::normal_tensor({3, 5}, 1, 2), teacher = test::normal_tensor({3, 5}, 2, 2);
  const auto probabilities = [&](const Tensor& logits, size_t row) {
    std::vector<double> p;
    double total = 0;
    for (size_t c = 0; c < 5; ++c) total += p.emplace_back(std::exp(double{logits.data()[row * 5 + c]} / temperature));
    for (double& value : p) value /= total;
    return p;
  };
  double expected = 0;
  for (size_t row = 0; row < 3; ++row) {
    const std::vector<double> p = probabilities(teacher, row), q = probabilities(student, row);
    for (size_t c = 0; c < 5; ++c) expected += p[c] * std::log(p[c] / q[c]);
  }
  expected *= temperature * temperature / 3;
  CHECK(distillation_loss(student, teacher, temperature).item() == Approx(expected).epsilon(1e-5));
  CHECK(test::gradcheck([&](test::Inputs in) { return distillation_loss(in[0], teacher, temperature); }, {student}) ==
        "");
}

TEST_CASE("a student that agrees with its teacher has no distillation loss") {
  const Tensor logits = test::normal_tensor({4, 10}, 1, 3);
  CHECK(distillation_loss(logits, logits, 2).item() == Approx(0).margin(1e-5));
}

TEST_CASE("a teacher of other classes is refused") {
  CHECK(test::error_of([] {
          distillation_loss(Tensor::zeros({2, 10}), Tensor::zeros({2, 7}), 1);
        }) == "distillation: the teacher gives [2,7], the student [2,10]");
}

TEST_CASE("a teacher is in evaluation mode while the student trains, and nothing of it is recorded") {
  auto net = std::make_unique<Sequential>();
  net->add("fc", std::make_unique<Linear>(4, 3));
  net->add("bn", std::make_unique<BatchNorm1d>(BatchNormConfig{.features = 3}));
  auto& fc = dynamic_cast<Linear&>(*find_module(*net, "fc"));
  auto& norm = dynamic_cast<BatchNorm&>(*find_module(*net, "bn"));
  fc.weight.set_raw(test::normal_tensor({4, 3}, 1));
  norm.running_mean.set(test::normal_tensor({3}, 2));
  const Teacher teacher(std::move(net));
  const Tensor x = test::normal_tensor({5, 4}, 3);

  Linear student(4, 3);
  Tape tape;
  const Tape::Recording recording(tape);
  const Tensor target = teacher({&x, 1});
  tape.backward(distillation_loss(student(x), target, 2));
  CHECK_FALSE(norm.training());
  CHECK(test::bits(norm.running_mean()) == test::bits(test::normal_tensor({3}, 2)));
  const Tensor first = slice(x, 0, 0, 1);
  CHECK(test::bits(teacher({&first, 1})) == test::bits(slice(target, 0, 0, 1)));  // no batch statistics
  CHECK(student.weight.raw().grad().defined());
  CHECK_FALSE(fc.weight.raw().grad().defined());
}

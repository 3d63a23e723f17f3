// Thresholds that are learned: levels and gradients against formulas, and where they start.
#include <array>
#include <cmath>

#include "core/tape.h"
#include "quant/train/learned.h"
#include "quant/train/lsq.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/golden.h"
#include "support/values.h"
#include "support/weighted_sum.h"

using namespace qgrad;

namespace n2uq_test {
namespace {

// Of one example, so that N is the number of its features.
const Tensor kNumbers = test::normal_tensor({1, 3000}, 7, 0.8f);

struct Thresholds {
  double step, offset;
  std::vector<double> intervals;

  double level_of(double x) const {
    double begin = offset, level = 0;
    for (const double a : intervals) {
      if (x > begin + a / 2) level += step;
      begin += a;
    }
    return level;
  }
  // The line whose derivatives stand for those of the levels.
  double line_at(double x) const {
    double begin = offset, y = 0;
    for (const double a : intervals) {
      y += step * std::clamp((x - begin) / a, 0.0, 1.0);
      begin += a;
    }
    return y;
  }
};

test::Learned made_of(const Thresholds& t, Role role) {
  test::Learned made("N2UQQuantizer", static_cast<int>(std::lround(std::log2(t.intervals.size() + 1))), role);
  made.set("step", static_cast<float>(t.step));
  made.set("offset", static_cast<float>(t.offset));
  made.set("intervals", std::vector<float>(t.intervals.begin(), t.intervals.end()));
  return made;
}

}  // namespace

TEST_CASE("N2UQ counts thresholds, and its gradients are those of the line through the middles") {
  const Thresholds t = GENERATE(Thresholds{0.5, 0, {0.25, 0.5, 0.125}}, Thresholds{0.3, 0.2, {0.1, 0.6, 0.3}},
                                Thresholds{0.2, 0.05, {0.3, 0.1, 0.2, 0.4, 0.15, 0.25, 0.5}});
  test::Learned quantize = made_of(t, Role::rectified);
  const double g = 1 / std::sqrt(3000.0 * static_cast<double>(t.intervals.size()));
  Tensor x = kNumbers.clone();
  const Tensor dy = test::normal_tensor(x.shape(), 8);
  x.set_requires_grad(true);
  Tape tape;
  Tensor y;
  {
    const Tape::Recording recording(tape);
    y = (*quantize)(x);
    tape.backward(test::weighted_sum(y, dy));
  }
  const auto line_sum = [&](const Thresholds& at) {
    double sum = 0;
    for (size_t i = 0; i < x.data().size(); ++i) sum += at.line_at(x.data()[i]) * dy.data()[i];
    return sum;
  };
  const double h = 1e-7;
  const auto derivative = [&](auto&& changed) {
    Thresholds more = t, less = t;
    changed(more) += h;
    changed(less) -= h;
    return (line_sum(more) - line_sum(less)) / (2 * h);
  };
  double of_step = 0;
  for (size_t i = 0; i < x.data().size(); ++i) {
    const double number = x.data()[i];
    REQUIRE(y.data()[i] == Approx(t.level_of(number)));
    const double slope = (t.line_at(number + h) - t.line_at(number - h)) / (2 * h);
    REQUIRE(x.grad().data()[i] == Approx(slope * dy.data()[i]).epsilon(1e-4).margin(1e-6));
    of_step += t.level_of(number) / t.step * dy.data()[i];
  }
  CHECK(quantize["step"].grad().item() == Approx(g * of_step).epsilon(1e-4));
  CHECK(quantize["offset"].grad().item() ==
        Approx(g * derivative([](Thresholds& at) -> double& { return at.offset; })).epsilon(1e-3));
  for (size_t i = 0; i < t.intervals.size(); ++i) {
    INFO("interval " << i);
    CHECK(quantize["intervals"].grad().data()[i] ==
          Approx(g * derivative([i](Thresholds& at) -> double& { return at.intervals[i]; })).epsilon(1e-3));
  }
  REQUIRE(y.grid());
  CHECK(y.grid()->scale == Approx(1 / t.step));
  CHECK(y.grid()->qmax == static_cast<float>(t.intervals.size()));
}

TEST_CASE("N2UQ starts as LSQ's grid of the least squared error, and is one while a schedule asks for other bits") {
  const int bits = GENERATE(2, 3, 4);
  test::Learned quantize("N2UQQuantizer", bits, Role::rectified);
  quantize->forget_range();
  const auto check_even = [&](int asked) {
    INFO(asked << " bits asked");
    LSQQuantization even(asked, Role::rectified, {.start = LSQStart::mse});
    CHECK(golden::difference((*quantize)(kNumbers), even(kNumbers)) == "");
  };
  check_even(bits);
  quantize->set_bits(6);
  check_even(6);
  quantize->set_bits(bits);
  check_even(bits);
}

TEST_CASE("levels are what numbers become, by their thresholds") {
  const Thresholds t{0.5, 0.1, {0.25, 0.5, 0.125}};
  test::Learned quantize = made_of(t, Role::positive);
  const Levels levels = quantize->levels();
  REQUIRE(levels.values.size() == 4);
  REQUIRE(levels.thresholds.size() == 3);
  for (size_t i = 0; i < 3; ++i) {
    const float at = levels.thresholds[i], above = std::nextafter(at, 9.0f);
    const Tensor y = (*quantize)(Tensor::from({1, 2}, std::array{at, above}));
    CHECK(test::values(y) == std::vector<float>{levels.values[i], levels.values[i + 1]});
  }
}

TEST_CASE("thresholds are of at most 4 bits and of numbers without sign, and others are LSQ's") {
  CHECK(test::Learned("N2UQQuantizer", 4, Role::positive)->kind() == "N2UQQuantization");
  CHECK(test::Learned("N2UQQuantizer", 5, Role::positive)->kind() == "LSQQuantization");
  CHECK(test::Learned("N2UQQuantizer", 3, Role::any_sign)->kind() == "LSQQuantization");
}

}  // namespace n2uq_test

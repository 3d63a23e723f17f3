// Learned grids by themselves: gradients against the papers' formulas, and where they start.
#include "quant/train/learned_grid.h"

#include <cmath>
#include <functional>
#include <numbers>

#include "core/ops.h"
#include "core/parallel.h"
#include "core/tape.h"
#include "quant/train/learned.h"
#include "quant/train/lsq.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/golden.h"
#include "support/values.h"
#include "support/weighted_sum.h"

using namespace qgrad;
using namespace qgrad::golden;

namespace {

// y, dL/dx and dL/dparameter for L = sum(y * dy).
struct Result {
  Tensor y, dx;
  std::vector<float> parameters;
};
Result run(LearnedQuantization& module, Tensor x, const Tensor& dy) {
  x.set_requires_grad(true);
  x.set_grad({});
  for (Parameter* p : all_parameters(module)) p->raw().set_grad({});
  Tape tape;
  Result result;
  {
    const Tape::Recording recording(tape);
    result.y = module(x);
    tape.backward(test::weighted_sum(result.y, dy));
  }
  result.dx = x.grad();
  for (const Parameter* p : all_parameters(module))
    result.parameters.push_back(p->raw().grad().defined() ? p->raw().grad().item() : 0);
  return result;
}

void set(Parameter& p, float value) { p.set_raw(Tensor::full({1}, value)); }

// Counts an evaluation as started, so that run() leaves the parameters alone.
template <class M, class... A>
std::unique_ptr<M> started(int bits, A... arguments) {
  auto module = std::make_unique<M>(bits, arguments...);
  module->started_for_bits.set(Tensor::full({1}, static_cast<float>(bits)));
  return module;
}

// The papers' y(x), dy/dx and dy/dparameters for one number.
struct Point {
  double y = 0, dx = 0;
  std::vector<double> parameters;
};
void check_formula(LearnedQuantization& module, const Tensor& x, const std::function<Point(double)>& formula) {
  const Tensor dy = test::normal_tensor(x.shape(), 21);
  const Result ours = run(module, x.clone(), dy);
  std::vector<double> expected(ours.parameters.size(), 0);
  for (size_t i = 0; i < x.data().size(); ++i) {
    const Point point = formula(x.data()[i]);
    INFO("x = " << x.data()[i]);
    REQUIRE(ours.y.data()[i] == Approx(point.y).epsilon(1e-5).margin(1e-6));
    REQUIRE(ours.dx.data()[i] == static_cast<float>(point.dx) * dy.data()[i]);
    for (size_t p = 0; p < expected.size(); ++p) expected[p] += point.parameters.at(p) * dy.data()[i];
  }
  for (size_t p = 0; p < expected.size(); ++p)
    CHECK(ours.parameters[p] == Approx(expected[p]).epsilon(1e-4).margin(1e-5));
}

Tensor spread(float scale) { return test::normal_tensor({5, 200}, 11, scale); }

}  // namespace

TEST_CASE("LSQ's gradients are equations 2 and 3 of its paper") {
  const auto [bits, site] = GENERATE(table<int, Role>({{2, Role::weights},
                                                       {4, Role::weights},
                                                       {2, Role::positive},
                                                       {1, Role::rectified},
                                                       {4, Role::rectified},
                                                       {3, Role::any_sign}}));
  const bool is_signed = site == Role::weights || site == Role::any_sign;
  const double qn = is_signed ? std::exp2(bits - 1) : 0, qp = is_signed ? qn - 1 : std::exp2(bits) - 1, s = 0.3;
  const auto lsq = started<LSQQuantization>(bits, site);
  set(lsq->step, 0.3f);
  const double count = site == Role::weights ? 1000 : 200, g = 1 / std::sqrt(count * qp);
  check_formula(*lsq, spread(1.5f), [&](double x) -> Point {
    const double v = x / s;
    if (v <= -qn) return {-qn * s, 0, {-qn * g}};
    if (v >= qp) return {qp * s, 0, {qp * g}};
    return {std::nearbyint(v) * s, 1, {(std::nearbyint(v) - v) * g}};
  });
}

TEST_CASE("LSQ's step gradient is the derivative of the straight-through form") {
  const bool midrise = GENERATE(false, true);
  const auto lsq = started<LSQQuantization>(3, Role::weights, LSQOptions{.midrise = midrise});
  const double s = 0.4, h = 1e-6, half = midrise ? 0.5 : 0;
  set(lsq->step, 0.4f);
  const Tensor x = spread(1);
  const Result ours = run(*lsq, x.clone(), Tensor::full(x.shape(), 1));
  // y = s (clamp(x / s) + r), where r, the rounding, is held.
  double numeric = 0;
  for (const float v : x.data()) {
    const auto clamped = [&](double step) { return std::clamp(v / step, -4 + half, 3 + half); };
    const double r = std::nearbyint(clamped(s) - half) + half - clamped(s);
    numeric += ((s + h) * (clamped(s + h) + r) - (s - h) * (clamped(s - h) + r)) / (2 * h);
  }
  CHECK(ours.parameters[0] == Approx(numeric / std::sqrt(1000.0 * 3)).epsilon(1e-3));
}

TEST_CASE("mid-rise weights of LSQ have the same levels above zero as below, and none at zero") {
  const auto lsq = started<LSQQuantization>(2, Role::weights, LSQOptions{.midrise = true});
  const double s = 0.5, g = 1 / std::sqrt(1000.0);
  set(lsq->step, 0.5f);
  check_formula(*lsq, spread(1), [&](double x) -> Point {
    const double v = x / s, level = std::clamp(std::nearbyint(v - 0.5) + 0.5, -1.5, 1.5);
    const bool between = std::fabs(v) < 1.5;
    return {level * s, between ? 1.0 : 0.0, {(between ? level - v : level) * g}};
  });
  const LSQStart start = GENERATE(LSQStart::lsq, LSQStart::lsq_plus, LSQStart::mse);
  LSQQuantization of_weights(2, Role::weights, {.start = start, .midrise = true}),
      with_zero(2, Role::weights, {.start = start});
  const auto error = [](LSQQuantization& q) {
    const Tensor x = spread(0.7f);
    q.start_from(x);
    return mean(square(sub(run(q, x.clone(), Tensor::full(x.shape(), 1)).y, x))).item();
  };
  CHECK(error(of_weights) < error(with_zero));
  LSQQuantization of_biases(8, Role::bias, {.per_channel = true, .midrise = true});
  of_biases.start_from(spread(1));
  CHECK(of_biases.step.raw().numel() == 1);
  CHECK(run(of_biases, Tensor::zeros({4}), Tensor::zeros({4})).y.data()[0] == 0);
  LSQQuantization of_activations(2, Role::rectified, {.midrise = true});
  of_activations.start_from(spread(1));
  CHECK(run(of_activations, Tensor::zeros({4}), Tensor::zeros({4})).y.data()[0] == 0);
}

TEST_CASE("LSQ+'s gradients are equations 6 and 7 of its paper") {
  const auto lsq = started<LSQQuantization>(3, Role::any_sign, LSQOptions{LSQStart::lsq_plus, true});
  const double s = 0.25, beta = -0.3, n = -4, p = 3, g = 1 / std::sqrt(200.0 * p);
  set(lsq->step, 0.25f);
  set(lsq->offset, -0.3f);
  check_formula(*lsq, spread(1), [&](double x) -> Point {
    const double v = (x - static_cast<double>(static_cast<float>(beta))) / s;
    if (v <= n) return {n * s + beta, 0, {n * g, g}};
    if (v >= p) return {p * s + beta, 0, {p * g, g}};
    return {std::nearbyint(v) * s + beta, 1, {(std::nearbyint(v) - v) * g, 0}};
  });
}

TEST_CASE("TQT's gradients are equations 7 and 8 of its paper") {
  const auto [bits, site] =
      GENERATE(table<int, Role>({{3, Role::weights}, {4, Role::any_sign}, {2, Role::positive}, {4, Role::positive}}));
  const bool is_signed = site != Role::positive;
  test::Learned tqt("TQTQuantizer", bits, site, {{"normalize_gradients", false}});
  tqt.set("log2_threshold", 0.3f);  // rounded up to 1
  const double n = is_signed ? -std::exp2(bits - 1) : 0, p = is_signed ? -n - 1 : std::exp2(bits) - 1;
  const double s = is_signed ? std::exp2(1 - (bits - 1)) : std::exp2(1 - bits);
  check_formula(*tqt, spread(1.5f), [&](double x) -> Point {
    const double v = x / s, q = std::nearbyint(v), factor = s * std::numbers::ln2;
    if (q < n) return {n * s, 0, {factor * n}};
    if (q > p) return {p * s, 0, {factor * p}};
    return {q * s, 1, {factor * (q - v)}};
  });
}

TEST_CASE("the ends of TQT's gradient lie where rounding leaves the integers, ties included") {
  test::Learned tqt("TQTQuantizer", 2, Role::any_sign, {{"normalize_gradients", false}});
  tqt.set("log2_threshold", 1);  // step 1, integers -2 to 1
  const float values[] = {-2.75f, -2.5f, -2.25f, 1.25f, 1.5f, 1.75f};
  const Tensor ones = Tensor::full({1, 6}, 1);
  const Result ours = run(*tqt, Tensor::from({1, 6}, values), ones);
  const float expected[] = {0, 1, 1, 1, 0, 0};  // -2.5 rounds to -2, 1.5 to 2
  CHECK(difference(ours.dx, Tensor::from({1, 6}, expected)) == "");
}

TEST_CASE("TQT's normalized gradients are those of its appendix") {
  test::Learned raw("TQTQuantizer", 3, Role::weights, {{"normalize_gradients", false}}),
      normed("TQTQuantizer", 3, Role::weights);
  double square = 0;
  for (int step = 1; step <= 3; ++step) {
    const Tensor x = test::normal_tensor({50}, static_cast<uint64_t>(step)), dy = test::normal_tensor({50}, 40);
    const double g = run(*raw, x.clone(), dy).parameters[0];
    square = 0.999 * square + 0.001 * g * g;
    const double expected = std::tanh(g / std::sqrt(square / (1 - std::pow(0.999, step))));
    CHECK(run(*normed, x.clone(), dy).parameters[0] == Approx(expected).epsilon(1e-4));
  }
}

// Levels of APoT for numbers without sign, with a clip of 1.
std::vector<float> additive_powers_of_two(int bits) {
  test::Learned apot("APoTQuantizer", bits, Role::positive);
  apot.set("alpha", 1);
  return apot->levels().values;
}

TEST_CASE("additive powers of two are the levels of the paper's authors") {
  const auto over = [](std::vector<float> numerators, float denominator) {
    for (float& n : numerators) n /= denominator;
    return numerators;
  };
  CHECK(additive_powers_of_two(1) == over({0, 1}, 1));
  CHECK(additive_powers_of_two(2) == over({0, 1, 2, 4}, 4));
  CHECK(additive_powers_of_two(3) == over({0, 1, 2, 3, 4, 6, 8, 10}, 10));
  CHECK(additive_powers_of_two(4) == over({0, 1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, 32, 33, 36, 48}, 48));
  for (int bits = 1; bits <= 8; ++bits) {
    const std::vector<float> levels = additive_powers_of_two(bits);
    CHECK(levels.size() == size_t{1} << bits);
    CHECK(std::ranges::adjacent_find(levels, std::greater_equal<>()) == levels.end());
    CHECK(levels.front() == 0);
    CHECK(levels.back() == 1);
  }
}

TEST_CASE("APoT's gradients are equation 8 of its paper") {
  const Role site = GENERATE(Role::weights, Role::positive, Role::rectified, Role::any_sign);
  const int bits = site == Role::weights || site == Role::rectified ? 4 : 3;
  const bool is_signed = site == Role::weights || site == Role::any_sign;
  test::Learned apot("APoTQuantizer", bits, site, {{"normalize_weights", false}});
  apot.set("alpha", 1.2f);
  const std::vector<float> levels = additive_powers_of_two(is_signed ? bits - 1 : bits);
  const double alpha = 1.2f, low = is_signed ? -1 : 0;
  check_formula(*apot, spread(1), [&](double x) -> Point {
    const double v = std::clamp(x / alpha, low, 1.0);
    double q = 0;
    for (const double level : levels)
      for (const double signed_level : {level, is_signed ? -level : level})
        if (std::fabs(signed_level - v) < std::fabs(q - v)) q = signed_level;
    const bool inside = x > low * alpha && x < alpha;
    return {alpha * q, inside || site == Role::weights ? 1.0 : 0.0, {inside ? q - v : v}};
  });
}

TEST_CASE("APoT normalizes weights, and gives them their scale back") {
  test::Learned normalizing("APoTQuantizer", 4, Role::weights),
      plain("APoTQuantizer", 4, Role::weights, {{"normalize_weights", false}});
  normalizing.set("alpha", 2);
  plain.set("alpha", 2);
  const Tensor w = test::normal_tensor({400}, 5, 0.05f);
  const double average = mean(w).item();
  const double deviation = std::sqrt(mean(square(add_scalar(w, -static_cast<float>(average)))).item() * 400 / 399);
  const Tensor unit = mul_scalar(add_scalar(w, -static_cast<float>(average)), static_cast<float>(1 / deviation));
  const Tensor dy = test::normal_tensor({400}, 6);
  const Result ours = run(*normalizing, w.clone(), dy), theirs = run(*plain, unit, dy);
  CHECK(difference(ours.y, mul_scalar(theirs.y, static_cast<float>(deviation)), {1e-4, 1e-6}) == "");
  CHECK(difference(ours.dx, dy) == "");
  CHECK(ours.parameters[0] == Approx(theirs.parameters[0] * deviation).epsilon(1e-3));
}

TEST_CASE("in the place of a ReLU a learned grid is the ReLU and what would come behind it") {
  const char* quantizer = GENERATE("LSQQuantizer", "TQTQuantizer", "APoTQuantizer");
  INFO(quantizer);
  const Json config = quantizer == std::string("TQTQuantizer") ? Json{{"normalize_gradients", false}} : Json::object();
  test::Learned fused(quantizer, 3, Role::rectified, config), behind(quantizer, 3, Role::positive, config);
  for (test::Learned* made : {&fused, &behind}) (*made)->forget_range();
  const Tensor x = spread(1), dy = test::normal_tensor(x.shape(), 4);
  const Result ours = run(*fused, x.clone(), dy);
  Tensor leaf = x.clone();
  leaf.set_requires_grad(true);
  Tape tape;
  const Tape::Recording recording(tape);
  const Tensor y = (*behind)(relu(leaf));
  tape.backward(test::weighted_sum(y, dy));
  CHECK(difference(ours.y, y, kExact) == "");
  CHECK(difference(ours.dx, leaf.grad(), kExact) == "");
  CHECK(ours.parameters[0] == Approx(behind->parameters()[0]->raw().grad().item()).epsilon(1e-4));
}

TEST_CASE("sums for a learned grid have the same bits on any number of threads") {
  const Tensor x = test::normal_tensor({7, 20011}, 1), dy = test::normal_tensor({7, 20011}, 2);
  const auto gradient = [&](int threads) {
    const int before = num_threads();
    set_num_threads(threads);
    LSQQuantization lsq(4, Role::rectified);
    const float g = run(lsq, x.clone(), dy).parameters[0];
    set_num_threads(before);
    return g;
  };
  CHECK(gradient(1) == gradient(2));
  CHECK(gradient(1) == gradient(3));
}

TEST_CASE("LSQ starts from twice the mean magnitude over the root of the largest integer") {
  const Tensor x = spread(0.7f);
  LSQQuantization weights(4, Role::weights), activations(4, Role::rectified);
  weights.start_from(x);
  activations.start_from(x);
  CHECK(weights.step.raw().item() == Approx(2 * mean(abs(x)).item() / std::sqrt(7.0)));
  CHECK(activations.step.raw().item() == Approx(2 * mean(relu(x)).item() / std::sqrt(15.0)));
}

TEST_CASE("LSQ+ starts weights at three deviations and activations where the error is small") {
  const Tensor x = add_scalar(spread(0.5f), 2);
  LSQQuantization weights(4, Role::weights, {LSQStart::lsq_plus, true}),
      activations(4, Role::any_sign, {LSQStart::lsq_plus, true});
  weights.start_from(x);
  const double average = mean(x).item();
  const double deviation = std::sqrt(mean(square(add_scalar(x, -static_cast<float>(average)))).item());
  CHECK(weights.step.raw().item() == Approx((average + 3 * deviation) / 8).epsilon(1e-4));
  CHECK_FALSE(weights.offset.defined());
  const Result ours = run(activations, x.clone(), Tensor::full(x.shape(), 1));
  // 16 levels over six deviations: a uniform rounding error.
  CHECK(std::sqrt(mean(square(sub(ours.y, x))).item()) < 1.3 * 6 * deviation / 15 / std::sqrt(12.0));
}

TEST_CASE("LSQ can start where the squared error is small") {
  const Tensor x = spread(0.7f);
  for (const Role site : {Role::weights, Role::rectified}) {
    LSQQuantization own(2, site, {LSQStart::lsq}), nearest(2, site, {LSQStart::mse});
    const Tensor target = site == Role::weights ? x : relu(x);
    const auto error = [&](LSQQuantization& lsq) {
      lsq.start_from(x);
      return mean(square(sub(run(lsq, x.clone(), Tensor::full(x.shape(), 1)).y, target))).item();
    };
    CHECK(error(nearest) < error(own));
  }
}

TEST_CASE("LSQ with a step for each channel is LSQ of every channel by itself") {
  const LSQStart start = GENERATE(LSQStart::lsq, LSQStart::lsq_plus, LSQStart::mse);
  const bool midrise = GENERATE(false, true);
  constexpr int64_t kRows = 40, kChannels = 3;
  Tensor x = test::normal_tensor({5, 2, 4, kChannels}, 1);
  for (int64_t i = 0; i < x.numel(); ++i)
    x.mutable_data()[static_cast<size_t>(i)] *= static_cast<float>(1 + i % kChannels);
  const Tensor dy = test::normal_tensor(x.shape(), 2);
  LSQQuantization whole(3, Role::weights, {.start = start, .per_channel = true, .midrise = midrise});
  whole.start_from(x);
  REQUIRE(whole.step.raw().shape() == Shape{kChannels});
  x.set_requires_grad(true);
  Tape tape;
  Tensor y;
  {
    const Tape::Recording recording(tape);
    y = whole(x);
    tape.backward(test::weighted_sum(y, dy));
  }
  for (int64_t c = 0; c < kChannels; ++c) {
    const auto column = [&](const Tensor& t) {
      std::vector<float> values;
      for (int64_t row = 0; row < kRows; ++row) values.push_back(t.data()[static_cast<size_t>(row * kChannels + c)]);
      return Tensor::from({kRows}, values);
    };
    LSQQuantization one(3, Role::weights, {.start = start, .midrise = midrise});
    one.start_from(column(x));
    CHECK(one.step.raw().item() == whole.step.raw().data()[static_cast<size_t>(c)]);
    const Result alone = run(one, column(x), column(dy));
    CHECK(difference(column(y), alone.y, kExact) == "");
    CHECK(difference(column(x.grad()), alone.dx, kExact) == "");
    CHECK(whole.step.raw().grad().data()[static_cast<size_t>(c)] == Approx(alone.parameters[0]).epsilon(1e-4));
  }
}

TEST_CASE("a frozen grid keeps its step, and hands gradients on") {
  LSQQuantization lsq(4, Role::rectified);
  const Tensor x = spread(1), dy = test::normal_tensor(x.shape(), 9);
  const Result before = run(lsq, x.clone(), dy);
  lsq.set_frozen(true);
  const Result frozen = run(lsq, x.clone(), dy);
  CHECK(before.parameters[0] != 0);
  CHECK(frozen.parameters[0] == 0);
  CHECK(difference(frozen.dx, before.dx, kExact) == "");
}

TEST_CASE("other bits start a grid anew, no bits leave the values alone") {
  LSQQuantization lsq(4, Role::rectified);
  const Tensor x = spread(1);
  lsq(x);
  lsq.set_bits(8);
  const Tensor y = lsq(x);
  CHECK(lsq.step.raw().item() == Approx(2 * mean(relu(x)).item() / std::sqrt(255.0)));
  CHECK(y.grid()->qmax == 255);
  lsq.set_bits(std::nullopt);
  CHECK(difference(lsq(x), relu(x), kExact) == "");
}

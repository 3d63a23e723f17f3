// Elementwise kernels: the formulas, the accuracy of the functions, and the same bits on every instruction set.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/kernels/table.h"
#include "support/catch.h"
#include "support/guarded.h"
#include "support/values.h"

using namespace qgrad;
using namespace qgrad::test;

namespace {

const float kInfinity = std::numeric_limits<float>::infinity();

struct NamedBinary {
  const char* name;
  BinaryKernels ElementwiseKernels::*kernels;
  float (*formula)(float, float);
};
const NamedBinary kBinaries[] = {
    {"add", &ElementwiseKernels::add, [](float a, float b) { return a + b; }},
    {"sub", &ElementwiseKernels::sub, [](float a, float b) { return a - b; }},
    {"mul", &ElementwiseKernels::mul, [](float a, float b) { return a * b; }},
    {"div", &ElementwiseKernels::div, [](float a, float b) { return a / b; }},
    {"max", &ElementwiseKernels::max, [](float a, float b) { return a > b ? a : b; }},
    {"min", &ElementwiseKernels::min, [](float a, float b) { return a < b ? a : b; }},
    {"equal", &ElementwiseKernels::equal, [](float a, float b) { return a == b ? 1.0f : 0.0f; }},
    {"share_of_larger", &ElementwiseKernels::share_of_larger, [](float a, float b) { return a > b ? 1.0f : 0.0f; }},
    {"leaky", &ElementwiseKernels::leaky, [](float a, float b) { return a > 0 ? a : a * b; }},
    {"leaky_by_x", &ElementwiseKernels::leaky_by_x, [](float a, float b) { return a > 0 ? 1.0f : b; }},
};

struct NamedUnary {
  const char* name;
  ElementwiseKernels::Unary ElementwiseKernels::*kernel;
  double (*formula)(double);
  double ulps;  // how far from the true value the result may be
  float low, high;
};
const NamedUnary kUnaries[] = {
    {"neg", &ElementwiseKernels::neg, [](double x) { return -x; }, 0, -9, 9},
    {"abs", &ElementwiseKernels::abs, [](double x) { return std::fabs(x); }, 0, -9, 9},
    {"square", &ElementwiseKernels::square, [](double x) { return x * x; }, 0.5, -9, 9},
    {"sqrt", &ElementwiseKernels::sqrt, [](double x) { return std::sqrt(x); }, 0.5, 0, 9},
    {"relu", &ElementwiseKernels::relu, [](double x) { return std::max(x, 0.0); }, 0, -9, 9},
    {"relu6", &ElementwiseKernels::relu6, [](double x) { return std::min(std::max(x, 0.0), 6.0); }, 0, -9, 9},
    {"exp", &ElementwiseKernels::exp, [](double x) { return std::exp(x); }, 2, -104, 88.7f},
    {"log", &ElementwiseKernels::log, [](double x) { return std::log(x); }, 2, 1e-38f, 20},
    {"sigmoid", &ElementwiseKernels::sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }, 2.5, -87, 30},
    {"tanh", &ElementwiseKernels::tanh, [](double x) { return std::tanh(x); }, 2, -10, 10},
};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double normal(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }
double gelu_tanh(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
}

struct NamedFunction {
  const char* name;
  FunctionKernels ElementwiseKernels::*kernels;
  float a, b;
  double (*formula)(double);
  double tolerance, floor;  // largest error, relative to a result and to numbers of this magnitude
  float low, high;
};
const NamedFunction kFunctions[] = {
    {"erf", &ElementwiseKernels::erf, 0, 0, [](double x) { return std::erf(x); }, 1.5e-7, 0, -6, 6},
    {"elu", &ElementwiseKernels::elu, 1.5f, 0, [](double x) { return x > 0 ? x : 1.5 * std::expm1(x); }, 3e-7, 0, -20,
     9},
    {"hard_sigmoid", &ElementwiseKernels::hard_sigmoid, 0.25f, 0.5f,
     [](double x) { return std::clamp(0.25 * x + 0.5, 0.0, 1.0); }, 1e-7, 0.1, -4, 4},
    {"hard_swish", &ElementwiseKernels::hard_swish, 0, 0,
     [](double x) { return x * std::clamp(x / 6 + 0.5, 0.0, 1.0); }, 2e-7, 0.5, -5, 5},
    {"silu", &ElementwiseKernels::silu, 0, 0, [](double x) { return x * sigmoid(x); }, 4e-7, 0, -80, 30},
    {"softplus", &ElementwiseKernels::softplus, 0, 0,
     [](double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }, 4e-7, 0, -80, 30},
    {"gelu", &ElementwiseKernels::gelu, 0, 0, [](double x) { return x * normal(x); }, 2e-7, 1, -9, 9},
    {"gelu_tanh", &ElementwiseKernels::gelu_tanh, 0, 0, gelu_tanh, 4e-7, 1, -9, 9},
};

// The distance in units of the last place of a float near the true value.
double ulps_between(float value, double truth) {
  const float rounded = static_cast<float>(truth);
  if (value == rounded) return std::fabs(double{value} - truth) == 0 ? 0 : 0.5;
  const double unit = std::max(double{std::nextafter(std::fabs(rounded), kInfinity)} - std::fabs(double{rounded}),
                               double{std::numeric_limits<float>::denorm_min()});
  return std::fabs(double{value} - truth) / unit;
}

std::vector<float> mapped(ElementwiseKernels::Unary kernel, const std::vector<float>& x) {
  std::vector<float> y(x.size());
  kernel(x.data(), y.data(), x.size());
  return y;
}

}  // namespace

TEST_CASE("two-operand kernels follow their formula in every layout") {
  for (const Kernels* isa : available_kernels())
    for (const NamedBinary& op : kBinaries)
      for (const size_t n : edge_sizes())
        for (const Guard guard : {Guard::end, Guard::one_past_begin}) {
          const BinaryKernels& kernels = isa->elementwise.*op.kernels;
          const auto a = guarded(normal_values(n, 1), guard), b = guarded(normal_values(n, 2), guard);
          std::vector<float> pairs(n), right(n), left(n);
          for (size_t i = 0; i < n; ++i) {
            pairs[i] = op.formula(a.data()[i], b.data()[i]);
            right[i] = op.formula(a.data()[i], 1.7f);
            left[i] = op.formula(1.7f, b.data()[i]);
          }
          INFO(isa->isa << " " << op.name << ", n = " << n);
          Guarded<float> y(n, guard);
          kernels.same(a.data(), b.data(), y.data(), n);
          REQUIRE(bits(y.span()) == bits(pairs));
          kernels.scalar_right(a.data(), 1.7f, y.data(), n);
          REQUIRE(bits(y.span()) == bits(right));
          kernels.scalar_left(1.7f, b.data(), y.data(), n);
          REQUIRE(bits(y.span()) == bits(left));
          auto in_place = guarded(normal_values(n, 1), guard);
          kernels.same(in_place.data(), b.data(), in_place.data(), n);
          REQUIRE(bits(in_place.span()) == bits(pairs));
          auto over_b = guarded(normal_values(n, 2), guard);
          kernels.same(a.data(), over_b.data(), over_b.data(), n);
          REQUIRE(bits(over_b.span()) == bits(pairs));
        }
}

TEST_CASE("a row broadcasts over all rows") {
  for (const Kernels* isa : available_kernels())
    for (const NamedBinary& op : kBinaries)
      for (const size_t columns : edge_sizes())
        for (const size_t rows : {0, 1, 3}) {
          auto a = guarded(normal_values(rows * columns, 1));
          const auto b = guarded(normal_values(columns, 2));
          std::vector<float> expected(a.size());
          for (size_t i = 0; i < a.size(); ++i) expected[i] = op.formula(a.data()[i], b.data()[i % columns]);
          (isa->elementwise.*op.kernels).row_right(a.data(), b.data(), a.data(), rows, columns);
          INFO(isa->isa << " " << op.name << ", " << rows << " x " << columns);
          REQUIRE(bits(a.span()) == bits(expected));
        }
}

TEST_CASE("one-operand kernels are as accurate as they say") {
  for (const Kernels* isa : available_kernels())
    for (const NamedUnary& op : kUnaries) {
      std::vector<float> x = uniform_values(20000, 1, op.low, op.high);
      for (const float v : uniform_values(2000, 2, -1e-3f, 1e-3f))
        if (v >= op.low) x.push_back(v);
      const std::vector<float> y = mapped(isa->elementwise.*op.kernel, x);
      double worst = 0;
      for (size_t i = 0; i < x.size(); ++i) worst = std::max(worst, ulps_between(y[i], op.formula(x[i])));
      INFO(isa->isa << " " << op.name << ": " << worst << " units in the last place");
      CHECK(worst <= op.ulps);
    }
}

TEST_CASE("one-operand kernels give the same bits on every instruction set, in place and at any address") {
  for (const Kernels* isa : available_kernels())
    for (const NamedUnary& op : kUnaries)
      for (const size_t n : edge_sizes())
        for (const Guard guard : {Guard::end, Guard::begin, Guard::one_past_begin}) {
          const std::vector<float> x = uniform_values(n, 1, op.low, op.high);
          const std::vector<float> expected = mapped(available_kernels()[0]->elementwise.*op.kernel, x);
          auto in_place = guarded(x, guard);
          Guarded<float> apart(n, guard);
          (isa->elementwise.*op.kernel)(in_place.data(), apart.data(), n);
          (isa->elementwise.*op.kernel)(in_place.data(), in_place.data(), n);
          INFO(isa->isa << " " << op.name << ", n = " << n);
          REQUIRE(bits(apart.span()) == bits(expected));
          REQUIRE(bits(in_place.span()) == bits(expected));
        }
}

TEST_CASE("multiples are added on every instruction set") {
  for (const Kernels* isa : available_kernels())
    for (const size_t n : edge_sizes()) {
      const auto x = guarded(normal_values(n, 1));
      auto y = guarded(normal_values(n, 2));
      std::vector<float> expected(y.span().begin(), y.span().end());
      for (size_t i = 0; i < n; ++i) expected[i] += 1.7f * x.data()[i];
      isa->elementwise.add_scaled(x.data(), 1.7f, y.data(), n);
      INFO(isa->isa << ", n = " << n);
      REQUIRE(bits(y.span()) == bits(expected));
    }
}

TEST_CASE("functions and their derivatives are as accurate as they say, with the same bits on every instruction set") {
  for (const NamedFunction& f : kFunctions) {
    std::vector<float> x = uniform_values(10000, 1, f.low, f.high);
    for (const float v : uniform_values(1000, 2, -1e-3f, 1e-3f)) x.push_back(v);
    const std::vector<float> dy = normal_values(x.size(), 3);
    std::vector<std::vector<uint32_t>> first;
    for (const Kernels* isa : available_kernels()) {
      const FunctionKernels& kernels = isa->elementwise.*f.kernels;
      std::vector<float> y(x.size()), dx(x.size());
      kernels.forward(x.data(), y.data(), x.size(), f.a, f.b);
      kernels.backward(x.data(), dy.data(), dx.data(), x.size(), f.a, f.b);
      double worst = 0, worst_slope = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        const double truth = f.formula(x[i]), step = 1e-5;
        worst = std::max(worst, std::fabs(double{y[i]} - truth) / std::max(std::fabs(truth), f.floor));
        const double slope = (f.formula(x[i] + step) - f.formula(x[i] - step)) / (2 * step);
        const double bend = f.formula(x[i] + step) + f.formula(x[i] - step) - 2 * truth;
        if (std::fabs(bend) < 4 * step * step)  // else there is a kink
          worst_slope = std::max(worst_slope, std::fabs(double{dx[i]} - double{dy[i]} * slope));
      }
      INFO(isa->isa << " " << f.name << ": " << worst << ", derivative " << worst_slope);
      CHECK(worst <= f.tolerance);
      CHECK(worst_slope <= 1e-5);
      if (first.empty()) first = {bits(y), bits(dx)};
      CHECK(bits(y) == first[0]);
      CHECK(bits(dx) == first[1]);
      std::vector<float> over_x = x, over_dy = dy;
      kernels.forward(over_x.data(), over_x.data(), x.size(), f.a, f.b);
      kernels.backward(x.data(), over_dy.data(), over_dy.data(), x.size(), f.a, f.b);
      CHECK(bits(over_x) == first[0]);
      CHECK(bits(over_dy) == first[1]);
    }
  }
}

TEST_CASE("powers are as accurate as they say, and answer as C's pow at the ends of their domain") {
  const float nan = std::nanf("");
  std::vector<float> bases = uniform_values(5000, 1, 0.0f, 9.0f), exponents = uniform_values(5000, 2, -12.0f, 12.0f);
  for (size_t i = 0; i < 1000; ++i) {
    bases.push_back(-bases[i]);
    exponents.push_back(std::nearbyint(exponents[i]));
  }
  for (const float base :
       {0.0f, -0.0f, 1.0f, -1.0f, 2.0f, -2.0f, 0.5f, 1e-42f, -1e-42f, 3e38f, kInfinity, -kInfinity, nan})
    for (const float exponent :
         {0.0f, -0.0f, 1.0f, -1.0f, 2.0f, -2.0f, 3.0f, -3.0f, 0.5f, -0.5f, 1e9f, 16777215.0f, kInfinity, -kInfinity}) {
      bases.push_back(base);
      exponents.push_back(exponent);
    }
  std::vector<float> first;
  for (const Kernels* isa : available_kernels()) {
    std::vector<float> y(bases.size());
    isa->elementwise.pow.same(bases.data(), exponents.data(), y.data(), y.size());
    for (size_t i = 0; i < y.size(); ++i) {
      const auto truth = std::pow(double{bases[i]}, double{exponents[i]});
      INFO(isa->isa << ": " << bases[i] << " to the " << exponents[i] << " is " << truth << ", got " << y[i]);
      if (std::isnan(truth))
        REQUIRE(std::isnan(y[i]));
      else if (std::isinf(static_cast<float>(truth)) || truth == 0)
        REQUIRE(bits(std::vector{y[i]}) == bits(std::vector{static_cast<float>(truth)}));
      else
        REQUIRE(ulps_between(y[i], truth) <= 0.501);
    }
    if (first.empty()) first = y;
    CHECK(bits(y) == bits(first));
  }
}

TEST_CASE("functions answer at the ends of their domains as libm does") {
  const float nan = std::nanf("");
  for (const Kernels* isa : available_kernels()) {
    const ElementwiseKernels& k = isa->elementwise;
    // Long enough that vector code runs, too.
    const auto at = [](ElementwiseKernels::Unary f, float x) { return mapped(f, std::vector<float>(19, x)); };
    const auto same = [&](ElementwiseKernels::Unary f, float x, float y) {
      return bits(at(f, x)) == bits(std::vector<float>(19, y));
    };
    INFO(isa->isa);
    CHECK(same(k.exp, kInfinity, kInfinity));
    CHECK(same(k.exp, 89.5f, kInfinity));
    CHECK(same(k.exp, -kInfinity, 0.0f));
    CHECK(same(k.exp, -105.0f, 0.0f));
    CHECK(same(k.exp, 0.0f, 1.0f));
    CHECK(same(k.log, 0.0f, -kInfinity));
    CHECK(same(k.log, -0.0f, -kInfinity));
    CHECK(same(k.log, kInfinity, kInfinity));
    CHECK(same(k.log, 1.0f, 0.0f));
    CHECK(std::isnan(at(k.log, -1.0f)[0]));
    CHECK(at(k.log, 1e-42f)[0] == Approx(std::log(double{1e-42f})).epsilon(1e-6));
    CHECK(same(k.sigmoid, kInfinity, 1.0f));
    CHECK(same(k.sigmoid, -kInfinity, 0.0f));
    CHECK(same(k.sigmoid, 0.0f, 0.5f));
    CHECK(same(k.tanh, kInfinity, 1.0f));
    CHECK(same(k.tanh, -kInfinity, -1.0f));
    CHECK(same(k.tanh, -0.0f, -0.0f));
    for (const auto f : {k.neg, k.abs, k.square, k.sqrt, k.relu, k.relu6, k.exp, k.log, k.sigmoid, k.tanh})
      CHECK((std::isnan(at(f, nan)[0]) && std::isnan(at(f, nan)[18])));
  }
}

TEST_CASE("backward kernels follow their formulas, also over dy") {
  struct Row {
    const char* name;
    ElementwiseKernels::Backward ElementwiseKernels::*kernel;
    float (*formula)(float saved, float dy);
  };
  const Row rows[] = {
      {"abs", &ElementwiseKernels::abs_backward, [](float x, float dy) { return x > 0   ? dy
                                                                                : x < 0 ? -dy
                                                                                        : 0; }},
      {"square", &ElementwiseKernels::square_backward, [](float x, float dy) { return 2.0f * x * dy; }},
      {"sqrt", &ElementwiseKernels::sqrt_backward, [](float y, float dy) { return dy / (2.0f * y); }},
      {"relu", &ElementwiseKernels::relu_backward, [](float y, float dy) { return y > 0 ? dy : 0; }},
      {"relu6", &ElementwiseKernels::relu6_backward, [](float y, float dy) { return y > 0 && y < 6 ? dy : 0; }},
      {"sigmoid", &ElementwiseKernels::sigmoid_backward, [](float y, float dy) { return dy * (y * (1.0f - y)); }},
      {"tanh", &ElementwiseKernels::tanh_backward, [](float y, float dy) { return dy * (1.0f - y * y); }},
  };
  for (const Kernels* isa : available_kernels())
    for (const Row& row : rows)
      for (const size_t n : edge_sizes()) {
        std::vector<float> saved = normal_values(n, 1, 5.0f);
        for (size_t i = 0; i < n; i += 5) saved[i] = i % 2 ? 0.0f : 6.0f;
        const std::vector<float> dy = normal_values(n, 2);
        std::vector<float> expected(n);
        for (size_t i = 0; i < n; ++i) expected[i] = row.formula(saved[i], dy[i]);
        for (const Guard guard : {Guard::end, Guard::one_past_begin}) {
          const auto from = guarded(saved, guard);
          auto gradient = guarded(dy, guard);
          (isa->elementwise.*row.kernel)(from.data(), gradient.data(), gradient.data(), n);
          INFO(isa->isa << " " << row.name << ", n = " << n);
          bool same = true;  // by value: the sign of a zero, and which NaN it is, do not matter
          for (size_t i = 0; i < n; ++i)
            same = same &&
                   (gradient.data()[i] == expected[i] || (std::isnan(gradient.data()[i]) && std::isnan(expected[i])));
          REQUIRE(same);
        }
      }
}

TEST_CASE("clamp follows its formula, in place too") {
  for (const Kernels* isa : available_kernels())
    for (const size_t n : edge_sizes()) {
      const std::vector<float> x = normal_values(n, 1);
      std::vector<float> clamped(n);
      for (size_t i = 0; i < n; ++i) clamped[i] = std::min(std::max(x[i], -0.5f), 0.25f);
      auto in_place = guarded(x);
      isa->elementwise.clamp(in_place.data(), in_place.data(), n, -0.5f, 0.25f);
      INFO(isa->isa << ", n = " << n);
      REQUIRE(bits(in_place.span()) == bits(clamped));
    }
}

TEST_CASE("scaled differences follow their formula, in place too") {
  for (const Kernels* isa : available_kernels())
    for (const size_t n : edge_sizes()) {
      const std::vector<float> a = normal_values(n, 1), b = normal_values(n, 2);
      std::vector<float> expected(n);
      for (size_t i = 0; i < n; ++i) {
        const float difference = a[i] - b[i];
        expected[i] = -1.7f * difference;
      }
      auto in_place = guarded(b);
      isa->elementwise.scaled_difference(a.data(), in_place.data(), -1.7f, in_place.data(), n);
      INFO(isa->isa << ", n = " << n);
      REQUIRE(bits(in_place.span()) == bits(expected));
    }
}

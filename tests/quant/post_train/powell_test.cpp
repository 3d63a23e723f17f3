// Minimisation without gradients, on functions whose minima are known.
#include "quant/post_train/powell.h"

#include <cmath>

#include "support/catch.h"

using namespace qgrad;

namespace {

const auto kNobody = [](const PowellResult&) {};

PowellResult minimum_of(const std::function<double(std::span<const double>)>& f, std::vector<double> start) {
  const std::vector<double> steps(start.size(), 0.5);
  return minimize_powell(
      f, std::move(start), steps,
      {.max_iterations = 100, .tolerance = 1e-12, .line = {.tolerance = 1e-6, .max_evaluations = 100}}, kNobody);
}

}  // namespace

TEST_CASE("a line search finds the minimum on either side, near and far") {
  for (const double at : {-300.0, -0.7, 0.001, 0.3, 5.0, 1000.0}) {
    INFO(at);
    const auto parabola = [at](double x) { return 3 + (x - at) * (x - at); };
    CHECK(minimize_on_line(parabola, parabola(0), 1, {.tolerance = 1e-6, .max_evaluations = 100}).x ==
          Approx(at).margin(1e-5));
    const auto valley = [at](double x) { return std::fabs(x - at) + 0.01 * (x - at) * (x - at); };
    CHECK(minimize_on_line(valley, valley(0), 1, {.tolerance = 1e-6, .max_evaluations = 200}).x ==
          Approx(at).margin(1e-4));
  }
}

TEST_CASE("a line search is never worse than where it began, and keeps to its evaluations") {
  int calls = 0;
  const auto steps = [&](double x) {
    ++calls;
    return std::floor(7 * std::fabs(x)) + (x != 0);
  };
  const LineMinimum found = minimize_on_line(steps, 0, 1, {.tolerance = 1e-6, .max_evaluations = 12});
  CHECK(found.x == 0);
  CHECK(found.value == 0);
  CHECK(found.evaluations == calls);
  CHECK(calls <= 14);  // a bracket may take two more
}

TEST_CASE("Powell's method finds the minimum of a tilted quadratic") {
  const auto f = [](std::span<const double> x) {
    double total = 0;
    for (size_t i = 0; i < x.size(); ++i)
      total += std::pow(x[i] - static_cast<double>(i), 2) +
               0.6 * (i ? x[i] - double(i) : 0) * (i ? x[i - 1] - double(i - 1) : 0);
    return total;
  };
  const PowellResult found = minimum_of(f, {5, 5, 5, 5, 5, 5});
  for (size_t i = 0; i < 6; ++i) CHECK(found.x[i] == Approx(static_cast<double>(i)).margin(1e-3));
}

TEST_CASE("Powell's method follows Rosenbrock's valley") {
  const auto f = [](std::span<const double> x) {
    return 100 * std::pow(x[1] - x[0] * x[0], 2) + std::pow(1 - x[0], 2);
  };
  const PowellResult found = minimum_of(f, {-1.2, 1});
  CHECK(found.x[0] == Approx(1).margin(1e-3));
  CHECK(found.x[1] == Approx(1).margin(1e-3));
}

TEST_CASE("Powell's method finds one of Himmelblau's four minima") {
  const auto f = [](std::span<const double> x) {
    return std::pow(x[0] * x[0] + x[1] - 11, 2) + std::pow(x[0] + x[1] * x[1] - 7, 2);
  };
  const PowellResult found = minimum_of(f, {1, 1});
  CHECK(found.value < 1e-6);
  CHECK(found.x[0] == Approx(3).margin(1e-3));
  CHECK(found.x[1] == Approx(2).margin(1e-3));
}

TEST_CASE("Powell's method returns the best point that it saw, and counts every evaluation") {
  int calls = 0;
  double lowest = 1e9;
  const auto f = [&](std::span<const double> x) {
    ++calls;
    const double value = std::cos(3 * x[0]) + std::sin(2 * x[1]) + 0.1 * (x[0] * x[0] + x[1] * x[1]);
    lowest = std::min(lowest, value);
    return value;
  };
  const PowellResult found = minimum_of(f, {2, 2});
  CHECK(found.evaluations == calls);
  CHECK(found.value == lowest);
}

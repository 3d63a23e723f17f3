// Minimisation without gradients, on functions of one variable whose minima are known.
#include "quant/post_train/line_search.h"

#include <cmath>

#include "support/catch.h"

using namespace qgrad;

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

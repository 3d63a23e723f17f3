// Minimising a function of one variable without its gradient: Brent's line search.
#pragma once

#include <functional>

namespace qgrad {

struct LineMinimum {
  double x = 0, value = 0;
  int evaluations = 0;
};
struct LineSearchOptions {
  double tolerance = 1e-2;  // of x, relative to |x|, or to the first step where x is smaller
  int max_evaluations = 40;
};
// A local minimum of f from 0 in steps of `step`: a bracket by golden-section growth, then parabolas and golden
// sections. Never worse than f(0), which is given as value_at_0. (Brent, "Algorithms for minimization without
// derivatives", 1973, chapter 5; bracketing as in Press et al., "Numerical recipes", section 10.1)
LineMinimum minimize_on_line(const std::function<double(double)>& f, double value_at_0, double step,
                             const LineSearchOptions& options);

}  // namespace qgrad

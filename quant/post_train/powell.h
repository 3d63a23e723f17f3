// Minimising a function without its gradient: Brent's line search, and Powell's method on top of it.
#pragma once

#include <functional>
#include <span>
#include <vector>

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

struct PowellOptions {
  int max_iterations = 20;      // passes over all directions
  int max_evaluations = 10000;  // no line search begins after so many
  double tolerance = 1e-4;      // of an iteration's gain, relative to the value
  LineSearchOptions line;
};
struct PowellResult {
  std::vector<double> x;
  double value = 0;
  int iterations = 0, evaluations = 0;
};
// A local minimum of f near `start`: line searches along a set of directions, at first the axes in steps of `steps`;
// after each pass the direction that gained most may give way to the way gone in the whole pass. The result is the best
// point seen. `progress` gets the best point so far after every line search.
// (Powell, "An efficient method for finding the minimum of a function of several variables without calculating
// derivatives", The Computer Journal 7, 1964)
PowellResult minimize_powell(const std::function<double(std::span<const double>)>& f, std::vector<double> start,
                             std::span<const double> steps, const PowellOptions& options,
                             const std::function<void(const PowellResult&)>& progress);

}  // namespace qgrad

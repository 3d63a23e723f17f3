// A bracket, then Brent's parabolas.
#include "quant/post_train/line_search.h"

#include <algorithm>
#include <cmath>

namespace qgrad {
namespace {

constexpr double kGolden = 1.618034, kGoldenSection = 0.381966;

struct Point {
  double x, value;
};

// Three points, the middle one the lowest; or as far as the evaluations allowed.
struct Bracket {
  Point a, b, c;
};
template <class F>
Bracket bracket(F&& f, Point a, double step) {
  Point b = f(step);
  if (b.value > a.value) std::swap(a, b);
  Point c = f(b.x + kGolden * (b.x - a.x));
  while (c.value < b.value && f.may_go_on()) {
    a = b;
    b = c;
    c = f(b.x + kGolden * (b.x - a.x));
  }
  return {a, b, c};
}

}  // namespace

LineMinimum minimize_on_line(const std::function<double(double)>& function, double value_at_0, double step,
                             const LineSearchOptions& options) {
  struct Counted {
    const std::function<double(double)>& function;
    int left;
    Point best;
    Point operator()(double x) {
      --left;
      const Point point{x, function(x)};
      if (point.value < best.value) best = point;
      return point;
    }
    bool may_go_on() const { return left > 0; }
  } f{function, options.max_evaluations, {0, value_at_0}};

  const Bracket around = bracket(f, {0, value_at_0}, step);
  double low = std::min(around.a.x, around.c.x), high = std::max(around.a.x, around.c.x);
  Point x = around.b, second = x, third = x;  // the lowest three so far
  double move = 0, move_before = 0;
  while (f.may_go_on()) {
    const double tolerance = options.tolerance * std::max(std::fabs(x.x), std::fabs(step));
    const double middle = (low + high) / 2;
    if (std::fabs(x.x - middle) <= 2 * tolerance - (high - low) / 2) break;
    // The parabola through the three points, when it leads to a smaller step than the one before the last.
    const double r = (x.x - second.x) * (x.value - third.value), q0 = (x.x - third.x) * (x.value - second.value);
    double p = (x.x - third.x) * q0 - (x.x - second.x) * r, q = 2 * (q0 - r);
    if (q > 0) p = -p;
    q = std::fabs(q);
    const double limit = move_before;
    move_before = move;
    if (std::fabs(p) < std::fabs(q * limit / 2) && p > q * (low - x.x) && p < q * (high - x.x)) {
      move = p / q;
      if (x.x + move - low < 2 * tolerance || high - x.x - move < 2 * tolerance)
        move = std::copysign(tolerance, middle - x.x);
    } else {
      move_before = (x.x < middle ? high : low) - x.x;
      move = kGoldenSection * move_before;
    }
    const Point next = f(x.x + (std::fabs(move) >= tolerance ? move : std::copysign(tolerance, move)));
    if (next.value <= x.value) {
      (next.x < x.x ? high : low) = x.x;
      third = second;
      second = x;
      x = next;
    } else {
      (next.x < x.x ? low : high) = next.x;
      if (next.value <= second.value || second.x == x.x) {
        third = second;
        second = next;
      } else if (next.value <= third.value || third.x == x.x || third.x == second.x) {
        third = next;
      }
    }
  }
  return {f.best.x, f.best.value, options.max_evaluations - f.left};
}

}  // namespace qgrad

// Brent's line search and Powell's directions.
#include "quant/post_train/powell.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

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

PowellResult minimize_powell(const std::function<double(std::span<const double>)>& f, std::vector<double> start,
                             std::span<const double> steps, const PowellOptions& options,
                             const std::function<void(const PowellResult&)>& progress) {
  const size_t n = start.size();
  check(steps.size() == n, "Powell: {} steps for {} variables", steps.size(), n);
  PowellResult best{std::move(start), 0, 0, 1};
  best.value = f(best.x);
  std::vector<std::vector<double>> directions(n, std::vector<double>(n, 0.0));
  for (size_t i = 0; i < n; ++i) directions[i][i] = steps[i];

  const auto along = [&](std::vector<double>& direction) {
    std::vector<double> point(n);
    const auto at = [&](double t) {
      for (size_t i = 0; i < n; ++i) point[i] = best.x[i] + t * direction[i];
      return f(point);
    };
    const LineMinimum found = minimize_on_line(at, best.value, 1, options.line);
    best.evaluations += found.evaluations;
    best.value = found.value;
    for (size_t i = 0; i < n; ++i) best.x[i] += found.x * direction[i];
    progress(best);
  };
  const auto may_go_on = [&] { return best.evaluations < options.max_evaluations; };

  while (best.iterations < options.max_iterations && may_go_on()) {
    ++best.iterations;
    const std::vector<double> before = best.x;
    const double value_before = best.value;
    double greatest_gain = 0;
    size_t greatest = 0;
    for (size_t i = 0; i < n && may_go_on(); ++i) {
      const double value = best.value;
      along(directions[i]);
      if (value - best.value > greatest_gain) {
        greatest_gain = value - best.value;
        greatest = i;
      }
    }
    const double gain = value_before - best.value;
    if (!may_go_on() || 2 * gain <= options.tolerance * (std::fabs(value_before) + std::fabs(best.value)) + 1e-20)
      break;
    std::vector<double> way(n), beyond(n);
    for (size_t i = 0; i < n; ++i) {
      way[i] = best.x[i] - before[i];
      beyond[i] = best.x[i] + way[i];
    }
    const double value_beyond = f(beyond);
    ++best.evaluations;
    const double left = gain - greatest_gain, change = value_before - value_beyond;
    if (change <= 0 ||
        2 * (value_before + value_beyond - 2 * best.value) * left * left >= greatest_gain * change * change)
      continue;
    along(way);
    std::swap(directions[greatest], directions.back());
    directions.back() = std::move(way);
  }
  return best;
}

}  // namespace qgrad

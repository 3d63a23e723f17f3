// Chunks in parallel, combined in order.
#include "quant/ranges/reductions.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "core/batch_sum.h"
#include "core/divide_up.h"
#include "core/error.h"
#include "core/kernels/table.h"
#include "core/parallel.h"

namespace qgrad {
namespace {

constexpr int64_t kGrain = 1 << 16;
constexpr size_t kLanes = 8;

// combine(reduce(chunk 0), reduce(chunk 1), ..); an empty span gives Partial{}.
template <class Partial, class Reduce, class Combine>
Partial reduce_chunks(std::span<const float> x, Reduce&& reduce, Combine&& combine) {
  const auto n = static_cast<int64_t>(x.size());
  if (n <= kGrain) return n == 0 ? Partial{} : reduce(x);
  std::vector<Partial> partials(static_cast<size_t>(divide_up(n, kGrain)));
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    partials[static_cast<size_t>(begin / kGrain)] =
        reduce(x.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
  });
  Partial total = partials[0];
  for (size_t i = 1; i < partials.size(); ++i) combine(total, partials[i]);
  return total;
}

}  // namespace

ValueRange min_max(std::span<const float> x) {
  check(!x.empty(), "the range of an empty tensor is not defined");
  return reduce_chunks<ValueRange>(
      x,
      [](std::span<const float> chunk) {
        ValueRange range;
        kernels().quantize.min_max(chunk.data(), chunk.size(), &range.min, &range.max);
        return range;
      },
      [](ValueRange& total, const ValueRange& part) {
        total = {std::min(total.min, part.min), std::max(total.max, part.max)};
      });
}

ValueRange over_ranks(ValueRange range, bool part) {
  ValueRange all = range;
  add_in_turn(part, std::span(&all, 1), [&] {  // one that is no number stays
    if (std::isnan(range.min) || range.min < all.min) all.min = range.min;
    if (std::isnan(range.max) || range.max > all.max) all.max = range.max;
  });
  return all;
}

double sum_of(std::span<const float> x) {
  return reduce_chunks<double>(
      x, [](std::span<const float> chunk) { return kernels().reduce.sum(chunk.data(), chunk.size()); },
      [](double& total, double part) { total += part; });
}

Deviations deviations_from(double mean, std::span<const float> x) {
  return reduce_chunks<Deviations>(
      x,
      [mean](std::span<const float> chunk) {
        std::array<double, kLanes> squares{}, absolutes{};
        const size_t whole = chunk.size() / kLanes * kLanes;
        for (size_t i = 0; i < whole; i += kLanes)
          for (size_t lane = 0; lane < kLanes; ++lane) {
            const double d = chunk[i + lane] - mean;
            squares[lane] += d * d;
            absolutes[lane] += std::fabs(d);
          }
        Deviations total;
        for (size_t lane = 0; lane < kLanes; ++lane) {
          total.square += squares[lane];
          total.absolute += absolutes[lane];
        }
        for (size_t i = whole; i < chunk.size(); ++i) {
          const double d = chunk[i] - mean;
          total.square += d * d;
          total.absolute += std::fabs(d);
        }
        return total;
      },
      [](Deviations& total, const Deviations& part) {
        total.square += part.square;
        total.absolute += part.absolute;
      });
}

double lp_loss(std::span<const float> x, std::span<const float> y, double p) {
  check(x.size() == y.size() && !x.empty(), "lp_loss: expected as many values on both sides, got {} and {}", x.size(),
        y.size());
  const double sum = reduce_chunks<double>(
      x,
      [&](std::span<const float> chunk) {
        const float* other = y.data() + (chunk.data() - x.data());
        double total = 0;
        for (size_t i = 0; i < chunk.size(); ++i) {
          const double distance = std::fabs(static_cast<double>(chunk[i]) - other[i]);
          total += p == 1   ? distance
                   : p == 2 ? distance * distance
                   : p == 3 ? distance * distance * distance
                            : std::pow(distance, p);
        }
        return total;
      },
      [](double& total, double part) { total += part; });
  return sum / static_cast<double>(x.size());
}

}  // namespace qgrad

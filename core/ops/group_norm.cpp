// Normalisation of groups of channels, and of trailing dimensions, which is one group without places.
#include <algorithm>
#include <cmath>

#include "core/batch_sum.h"
#include "core/error.h"
#include "core/kernels/table.h"
#include "core/memory.h"
#include "core/ops.h"
#include "core/parallel.h"
#include "core/tape.h"

namespace qgrad {
namespace {

// x as [examples, places, groups, size]: statistics are over places and size.
struct Groups {
  int64_t examples, places, groups, size;
  int64_t channels() const { return groups * size; }
  int64_t numbers() const { return places * channels(); }  // of an example
  double count() const { return static_cast<double>(places * size); }
};

struct Moments {
  double mean, variance;  // the biased one
};

// Of one group. Products of floats are exact in double, so that a variance from squares is sound.
Moments moments_of_run(const float* x, int64_t n) {
  const auto& reduce = kernels().reduce;
  const double count = static_cast<double>(n), mean = reduce.sum(x, static_cast<size_t>(n)) / count;
  return {mean, std::max(0.0, reduce.dot(x, x, static_cast<size_t>(n)) / count - mean * mean)};
}

// Of all groups of one example with places: channel by channel around one number of the group, put together.
void moments_of_places(const Groups& g, const float* x, Moments* moments) {
  Scratch scratch;
  const auto channels = static_cast<size_t>(g.channels());
  float* centre = scratch.take<float>(channels);
  double *sums = scratch.take<double>(channels), *squares = scratch.take<double>(channels);
  for (int64_t c = 0; c < g.channels(); ++c) centre[c] = x[c / g.size * g.size];
  kernels().norm.moments(x, static_cast<size_t>(g.places), channels, centre, sums, squares);
  for (int64_t i = 0; i < g.groups; ++i) {
    double sum = 0, square = 0;
    for (int64_t c = i * g.size; c < (i + 1) * g.size; ++c) sum += sums[c], square += squares[c];
    const double apart = sum / g.count();
    moments[i] = {double{centre[i * g.size]} + apart, std::max(0.0, square / g.count() - apart * apart)};
  }
}

void moments_of(const Groups& g, const float* x, Moments* moments) {
  if (g.places > 1) return moments_of_places(g, x, moments);
  for (int64_t i = 0; i < g.groups; ++i) moments[i] = moments_of_run(x + i * g.size, g.size);
}

// Calls fn(first example, last) for runs of examples.
template <class F>
void for_runs(const Groups& g, F&& fn) {
  const int64_t grain = std::max<int64_t>(1, kElementwiseGrain / std::max<int64_t>(1, g.numbers()));
  parallel_for(g.examples, grain, fn);
}

// dy: the gradient of what normalized() gave of x, whose groups have these means and reciprocals of deviations.
void add_gradients(const Tensor& dy, Grads& dx, const Tensor& x, const Tensor& gamma, const Groups& g,
                   const Tensor& means, const Tensor& reciprocals) {
  const auto width = static_cast<size_t>(g.channels());
  const bool of_gamma = dx.over_ranks(1), of_beta = dx.over_ranks(2), over_ranks = of_gamma || of_beta;
  const BatchChunks runs(g.examples, over_ranks, 2 * g.channels(), g.examples);
  Tensor gradient = Tensor::empty(x.shape());
  Scratch of_runs;
  auto* partial =
      of_runs.take<double>(static_cast<size_t>(runs.count()) * 2 * width);  // [runs, dgamma and dbeta, channels]
  const float *px = x.data().data(), *pdy = dy.data().data(), *pg = gamma.defined() ? gamma.data().data() : nullptr;
  float* pdx = gradient.mutable_data().data();
  const float *mean_in = means.data().data(), *reciprocal_in = reciprocals.data().data();
  runs.for_each(1, [&](int64_t run, int64_t begin, int64_t end) {
    double *dgamma = partial + static_cast<size_t>(run) * 2 * width, *dbeta = dgamma + width;
    std::fill_n(dgamma, 2 * width, 0.0);
    Scratch scratch;
    double *sum = scratch.take<double>(width), *products = scratch.take<double>(width);
    float *mean = scratch.take<float>(width), *a = scratch.take<float>(width), *b = scratch.take<float>(width),
          *c = scratch.take<float>(width);
    for (int64_t n = begin; n < end; ++n) {
      const int64_t at = n * g.numbers();
      for (int64_t k = 0; k < g.channels(); ++k) mean[k] = mean_in[n * g.groups + k / g.size];
      kernels().norm.gradient_moments(px + at, pdy + at, nullptr, static_cast<size_t>(g.places), width, mean, sum,
                                      products);
      for (int64_t i = 0; i < g.groups; ++i) {
        const double r = reciprocal_in[n * g.groups + i];
        double of_g = 0, of_gu = 0;
        for (int64_t k = i * g.size; k < (i + 1) * g.size; ++k) {
          const double factor = pg ? pg[k] : 1;
          of_g += factor * sum[k], of_gu += factor * products[k] * r;
          dgamma[k] += products[k] * r, dbeta[k] += sum[k];
          a[k] = static_cast<float>(factor * r);
        }
        std::fill_n(b + i * g.size, g.size, static_cast<float>(-r * r * of_gu / g.count()));
        std::fill_n(c + i * g.size, g.size, static_cast<float>(-r * of_g / g.count()));
      }
      kernels().norm.normalize_backward(px + at, pdy + at, nullptr, pdx + at, static_cast<size_t>(g.places), width,
                                        mean, a, b, c);
    }
  });
  fold(over_ranks, partial, runs.count(), 2 * g.channels());
  const auto total = [&](size_t which, const Shape& shape) {
    Tensor all = Tensor::empty(shape);
    std::copy_n(partial + which * width, width, all.mutable_data().begin());
    return all;
  };
  const Shape parameter{g.channels()};
  if (dx.needs(0)) dx.add(0, gradient);
  if (dx.needs(1)) dx.add(1, total(0, parameter));
  if (dx.needs(2)) dx.add(2, total(1, parameter));
}

// y = (x - mean) r gamma + beta with r = 1 / sqrt(variance + eps), for each group of an example.
// With g = dy gamma and u = (x - mean) r:  dx = r (g - mean(g) - u mean(g u)), dgamma = sum dy u, dbeta = sum dy.
Tensor normalized(const char* op, const Tensor& x, const Groups& g, const Tensor& gamma, const Tensor& beta,
                  float eps) {
  const auto channels = static_cast<size_t>(g.channels());
  Tensor y = Tensor::empty(x.shape());
  Tensor means = Tensor::empty({g.examples, g.groups}), reciprocals = Tensor::empty({g.examples, g.groups});
  const float* from = x.data().data();
  const float* weight = gamma.defined() ? gamma.data().data() : nullptr;
  const float* bias = beta.defined() ? beta.data().data() : nullptr;
  float *to = y.mutable_data().data(), *mean_of = means.mutable_data().data(),
        *reciprocal_of = reciprocals.mutable_data().data();
  for_runs(g, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    auto* moments = scratch.take<Moments>(static_cast<size_t>(g.groups));
    float *mean = scratch.take<float>(channels), *scale = scratch.take<float>(channels),
          *shift = scratch.take<float>(channels);
    for (int64_t c = 0; c < g.channels(); ++c) shift[c] = bias ? bias[c] : 0;
    for (int64_t n = begin; n < end; ++n) {
      moments_of(g, from + n * g.numbers(), moments);
      for (int64_t i = 0; i < g.groups; ++i) {
        const auto middle = static_cast<float>(moments[i].mean);
        const auto reciprocal = static_cast<float>(1 / std::sqrt(moments[i].variance + double{eps}));
        mean_of[n * g.groups + i] = middle, reciprocal_of[n * g.groups + i] = reciprocal;
        for (int64_t c = i * g.size; c < (i + 1) * g.size; ++c)
          mean[c] = middle, scale[c] = weight ? weight[c] * reciprocal : reciprocal;
      }
      kernels().norm.normalize({mean, scale, shift, false, false}, from + n * g.numbers(), nullptr,
                               to + n * g.numbers(), nullptr, static_cast<size_t>(g.places), channels);
    }
  });
  return record(op, y, {x, gamma, beta}, [x, gamma, g, means, reciprocals](const Tensor& dy, Grads& dx) {
    add_gradients(dy, dx, x, gamma, g, means, reciprocals);
  });
}

void check_parameters(const char* op, const Tensor& gamma, const Tensor& beta, const Shape& expected) {
  for (const Tensor& p : {gamma, beta})
    check(!p.defined() || p.shape() == expected, "{}: expected parameters {}, got {}", op, expected,
          p.defined() ? p.shape() : Shape{});
}

}  // namespace

Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& gamma, const Tensor& beta, float eps) {
  check(x.rank() >= 2 && groups > 0 && x.dim(-1) % groups == 0,
        "group_norm: expected [N,..,C] with channels of {} equal groups, got {}", groups, x.shape());
  check(x.numel() > 0 || x.dim(0) == 0, "group_norm: nothing to normalise in {}", x.shape());
  check_parameters("group_norm", gamma, beta, {x.dim(-1)});
  const int64_t channels = x.dim(-1), places = channels ? x.shape().numel_from(1) / channels : 0;
  return normalized("group_norm", x, {x.dim(0), places, groups, channels / groups}, gamma, beta, eps);
}

Tensor layer_norm(const Tensor& x, const Shape& shape, const Tensor& gamma, const Tensor& beta, float eps) {
  bool fits = shape.rank() >= 1 && shape.rank() <= x.rank();
  for (int i = 1; fits && i <= shape.rank(); ++i) fits = x.dim(-i) == shape[-i];
  check(fits && shape.numel() > 0, "layer_norm: expected the last dimensions to be {}, got {}", shape, x.shape());
  check_parameters("layer_norm", gamma, beta, shape);
  const int64_t n = shape.numel();
  const auto flat = [&](const Tensor& p) { return p.defined() ? reshape(p, {n}) : p; };
  return normalized("layer_norm", x, {x.numel() / n, 1, 1, n}, flat(gamma), flat(beta), eps);
}

}  // namespace qgrad

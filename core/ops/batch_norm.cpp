// Batch normalisation (Ioffe and Szegedy, 2015). Statistics are those of the whole batch, of all ranks.
#include <algorithm>
#include <cmath>
#include <tuple>

#include "core/batch_sum.h"
#include "core/error.h"
#include "core/kernels/table.h"
#include "core/memory.h"
#include "core/ops.h"
#include "core/ops/fused.h"
#include "core/parallel.h"
#include "core/tape.h"

namespace qgrad {
namespace {

struct ChannelRows {
  int64_t count, channels, grain;  // grain: of loops, and of chunks of sums
  explicit ChannelRows(const Tensor& x)
      : count(x.shape().numel_until(x.rank() - 1)),
        channels(x.dim(-1)),
        grain(std::max<int64_t>(1, kElementwiseGrain / std::max<int64_t>(1, channels))) {}
};

// Two sums per channel over all rows, both [channels]. chunk(first row, row count, sums a, sums b) fills one chunk's.
struct TwoSums {
  double *a, *b;
};
template <class F>
TwoSums sum_chunks(const ChannelRows& rows, bool part, Scratch& scratch, F&& chunk_sums) {
  const int64_t width = 2 * rows.channels;
  const BatchChunks chunks(rows.count, part, width, rows.grain);
  double* partial = scratch.take<double>(static_cast<size_t>(chunks.count() * width));
  chunks.for_each(rows.grain, [&](int64_t chunk, int64_t first, int64_t last) {
    double* sums = partial + chunk * width;
    chunk_sums(first, last - first, sums, sums + rows.channels);
  });
  fold(part, partial, chunks.count(), width);
  return {partial, partial + rows.channels};
}

void check_channels(const char* op, const char* what, const Tensor& t, const Tensor& x) {
  if (t.defined())
    check(t.shape() == Shape{x.dim(-1)}, "{}: {} has shape {}, input {} wants [{}]", op, what, t.shape(), x.shape(),
          x.dim(-1));
}

float at_or(const Tensor& t, int64_t c, float otherwise) {
  return t.defined() ? t.data()[static_cast<size_t>(c)] : otherwise;
}

// y = (x - mean) * gamma * inverse_deviation + beta; waiting for the next op where a tape records.
Tensor normalize(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                 const Tensor& inverse_deviation) {
  const ChannelRows rows(x);
  Tensor scale = Tensor::empty(mean.shape()), shift = Tensor::empty(mean.shape());
  for (int64_t c = 0; c < rows.channels; ++c) {
    const auto k = static_cast<size_t>(c);
    scale.mutable_data()[k] = at_or(gamma, c, 1.0f) * inverse_deviation.data()[k];
    shift.mutable_data()[k] = at_or(beta, c, 0.0f);
  }
  const Tape* tape = Tape::recording(std::initializer_list<Tensor>{x, gamma, beta});
  if (tape && tape->mode() == Tape::Mode::differentiate && rows.channels % PendingNormalized::kChannelMultiple == 0)
    return Tensor::waiting(x.shape(), std::make_unique<PendingNormalized>(x, mean, scale, shift));
  Tensor y = Tensor::empty(x.shape());
  const Normalization f{mean.data().data(), scale.data().data(), shift.data().data(), false, false};
  const float* from = x.data().data();
  float* to = y.mutable_data().data();
  parallel_for(rows.count, rows.grain, [&](int64_t begin, int64_t end) {
    kernels().norm.normalize(f, from + begin * rows.channels, nullptr, to + begin * rows.channels, nullptr,
                             static_cast<size_t>(end - begin), static_cast<size_t>(rows.channels));
  });
  return y;
}

// A gradient, and where it is not zero; null: anywhere.
struct MaskedGradient {
  Tensor dy;
  std::shared_ptr<const BitMask> mask;
  explicit MaskedGradient(Tensor gradient) { std::tie(dy, mask) = unmasked(std::move(gradient)); }
  const uint8_t* bits(int64_t at) const { return mask ? mask->data() + at / 8 : nullptr; }
};

TwoSums gradient_sums(const Tensor& x, const MaskedGradient& g, const Tensor& mean, const ChannelRows& rows, bool part,
                      Scratch& scratch) {
  const float *from = x.data().data(), *dy = g.dy.data().data(), *centre = mean.data().data();
  return sum_chunks(rows, part, scratch, [&](int64_t begin, int64_t count, double* sum, double* products) {
    const int64_t at = begin * rows.channels;
    kernels().norm.gradient_moments(from + at, dy + at, g.bits(at), static_cast<size_t>(count),
                                    static_cast<size_t>(rows.channels), centre, sum, products);
  });
}

// dgamma = sum dy (x - mean) * inverse_deviation, dbeta = sum dy
void add_parameter_gradients(Grads& dx, const TwoSums& sums, const Tensor& inverse_deviation) {
  const Shape& shape = inverse_deviation.shape();
  Tensor dgamma = Tensor::empty(shape), dbeta = Tensor::empty(shape);
  for (size_t c = 0; c < inverse_deviation.data().size(); ++c) {
    dgamma.mutable_data()[c] = static_cast<float>(sums.b[c] * double{inverse_deviation.data()[c]});
    dbeta.mutable_data()[c] = static_cast<float>(sums.a[c]);
  }
  if (dx.needs(1)) dx.add(1, dgamma);
  if (dx.needs(2)) dx.add(2, dbeta);
}

// With s = inverse deviation, u = x - mean, m = rows:
//   dx = gamma s (dy - sum(dy) / m - u s^2 sum(dy u) / m)
Tensor input_gradient(const Tensor& x, MaskedGradient g, const Tensor& gamma, const Tensor& mean,
                      const Tensor& inverse_deviation, const TwoSums& sums, const ChannelRows& rows) {
  const auto m = static_cast<double>(all_rows(rows.count, x.is_part()));
  const auto channels = static_cast<size_t>(rows.channels);
  Scratch scratch;
  auto *a = scratch.take<float>(channels), *b = scratch.take<float>(channels), *c = scratch.take<float>(channels);
  for (size_t k = 0; k < channels; ++k) {
    const double s = inverse_deviation.data()[k], scale = double{at_or(gamma, static_cast<int64_t>(k), 1.0f)} * s;
    a[k] = static_cast<float>(scale);
    b[k] = static_cast<float>(-scale * s * s * sums.b[k] / m);
    c[k] = static_cast<float>(-scale * sums.a[k] / m);
  }
  const float* gradient = g.dy.data().data();
  Tensor result = g.dy.is_unique() ? std::move(g.dy) : Tensor::empty(x.shape());
  const float *from = x.data().data(), *centre = mean.data().data();
  float* to = result.mutable_data().data();
  parallel_for(rows.count, rows.grain, [&](int64_t begin, int64_t end) {
    const int64_t at = begin * rows.channels;
    kernels().norm.normalize_backward(from + at, gradient + at, g.bits(at), to + at, static_cast<size_t>(end - begin),
                                      channels, centre, a, b, c);
  });
  return result;
}

}  // namespace

BatchNormResult batch_norm_train(const Tensor& x, const Tensor& gamma, const Tensor& beta, float eps) {
  check(x.rank() >= 2 && x.dim(-1) >= 1,
        "batch_norm: expected [.., channels] with at least two dimensions and one channel, got {}", x.shape());
  check_channels("batch_norm", "gamma", gamma, x);
  check_channels("batch_norm", "beta", beta, x);
  const ChannelRows rows(x);
  const bool part = x.is_part();
  const int64_t count = all_rows(rows.count, part);
  check(count > 1, "batch_norm: statistics need more than one value per channel, got input {}", x.shape());

  Tensor mean = Tensor::empty({rows.channels}), variance = Tensor::empty({rows.channels}),
         inverse_deviation = Tensor::empty({rows.channels});
  {
    Scratch scratch;
    // Deviations are from the first row of the batch.
    const auto width = static_cast<size_t>(rows.channels);
    float* centre = scratch.take<float>(width);
    std::copy_n(x.data().data(), width, centre);
    if (part) from_first({centre, width});
    const float* from = x.data().data();
    const TwoSums sums =
        sum_chunks(rows, part, scratch, [&](int64_t begin, int64_t count_of_chunk, double* sum, double* squares) {
          kernels().norm.moments(from + begin * rows.channels, static_cast<size_t>(count_of_chunk),
                                 static_cast<size_t>(rows.channels), centre, sum, squares);
        });
    for (size_t c = 0; c < static_cast<size_t>(rows.channels); ++c) {
      const double m = sums.a[c] / static_cast<double>(count);
      const double v = std::max(0.0, sums.b[c] / static_cast<double>(count) - m * m);
      mean.mutable_data()[c] = static_cast<float>(double{centre[c]} + m);
      variance.mutable_data()[c] = static_cast<float>(v);
      inverse_deviation.mutable_data()[c] = static_cast<float>(1.0 / std::sqrt(v + double{eps}));
    }
  }
  Tensor y = normalize(x, gamma, beta, mean, inverse_deviation);
  y = record("batch_norm", y, {x, gamma, beta}, [x, gamma, mean, inverse_deviation](Tensor dy, Grads& dx) {
    const ChannelRows r(x);
    Scratch scratch;
    MaskedGradient g(std::move(dy));
    const TwoSums sums = gradient_sums(x, g, mean, r, x.is_part(), scratch);
    dx.over_ranks(1), dx.over_ranks(2);  // which they are already, for dx
    add_parameter_gradients(dx, sums, inverse_deviation);
    if (dx.needs(0)) dx.add(0, input_gradient(x, std::move(g), gamma, mean, inverse_deviation, sums, r));
  });
  return {y, {mean, variance, count}};
}

Tensor batch_norm_eval(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                       const Tensor& variance, float eps) {
  check(x.rank() >= 1 && x.dim(-1) >= 1, "batch_norm: expected [.., channels] with at least one channel, got {}",
        x.shape());
  check(mean.defined() && variance.defined(), "batch_norm: evaluation needs a mean and a variance");
  check_channels("batch_norm", "gamma", gamma, x);
  check_channels("batch_norm", "beta", beta, x);
  check_channels("batch_norm", "mean", mean, x);
  check_channels("batch_norm", "variance", variance, x);
  Tensor inverse_deviation = Tensor::empty(variance.shape());
  for (size_t c = 0; c < variance.data().size(); ++c)
    inverse_deviation.mutable_data()[c] = static_cast<float>(1.0 / std::sqrt(double{variance.data()[c]} + double{eps}));
  Tensor y = normalize(x, gamma, beta, mean, inverse_deviation);
  return record("batch_norm", y, {x, gamma, beta}, [x, gamma, mean, inverse_deviation](Tensor dy, Grads& dx) {
    const ChannelRows r(x);
    Scratch scratch;
    MaskedGradient g(std::move(dy));
    if (dx.needs(1) || dx.needs(2)) {
      const bool of_gamma = dx.over_ranks(1), of_beta = dx.over_ranks(2);
      add_parameter_gradients(dx, gradient_sums(x, g, mean, r, of_gamma || of_beta, scratch), inverse_deviation);
    }
    if (!dx.needs(0)) return;
    // Constant statistics: dx = gamma s dy, the sums of the general formula being zero.
    const auto channels = static_cast<size_t>(r.channels);
    auto* zeros = scratch.take<double>(channels);
    std::fill_n(zeros, channels, 0.0);
    dx.add(0, input_gradient(x, std::move(g), gamma, mean, inverse_deviation, {zeros, zeros}, r));
  });
}

}  // namespace qgrad

// N2UQ (Liu et al., "Nonuniform-to-Uniform Quantization: Towards Accurate Quantization via Generalized Straight-Through
// Estimation", 2022): thresholds at any distances, between levels that are evenly spaced.
#include <algorithm>

#include "core/batch_sum.h"
#include "core/memory.h"
#include "core/tape.h"
#include "quant/train/lsq.h"
#include "quant/train/ste.h"

namespace qgrad {
namespace {

// y = s k for activations without negative values, k being how many of the n = 2^bits - 1 thresholds x is above:
//   threshold i = offset + a_0 + .. + a_(i-1) + a_i / 2,  a_i > 0 the learned intervals, offset >= 0
// The gradients are those of the line through the middles, f(x) = s (i + (x - d_i) / a_i) in interval i, which begins
// at d_i = offset + a_0 + .. + a_(i-1), and constant beyond the ends (section 3.2, the generalized straight-through
// estimator):
//   dy/dx = s / a_i;  dy/doffset = -s / a_i;  dy/da_i = -s (x - d_i) / a_i^2;  dy/da_j = -s / a_i of all j < i
//   dy/ds = k, the forward's;  those of parameters times g = 1 / sqrt(N n), as LSQ's
// The intervals start with LSQ's step of the least squared error, so that the first grid is evenly spaced, and are so
// while a schedule asks for other bits than the config: intervals of those would be other parameters.
class N2UQQuantization final : public LearnedQuantization {
 public:
  static constexpr int kMostBits = 4;
  N2UQQuantization(int bits, Role role);  // of at most kMostBits and numbers without sign
  std::string_view kind() const override { return "N2UQQuantization"; }

  Levels levels() const override;
  std::vector<float> steps_per_unit(const Tensor&) const override { return {}; }

  Parameter step;       // [1], between two levels
  Parameter offset;     // [1]
  Parameter intervals;  // [2^bits - 1]

 protected:
  void start(const Tensor& x, int bits) override;
  Tensor quantize(const Tensor& x, int bits) override;

 private:
  struct Line;
  Line line() const;
  Tensor evenly(const Tensor& x, const QuantizedRange& q);
};

constexpr int64_t kRowsOfChunk = 8192;
constexpr size_t kMostIntervals = (1 << N2UQQuantization::kMostBits) - 1;

// Where intervals begin, and how steep the line is in each. What is below the first and above the last are intervals,
// too, of a level line.
struct N2UQQuantization::Line {
  float step = 1;
  size_t intervals = 0;
  float begins[kMostIntervals + 1], slope[kMostIntervals + 2] = {}, thresholds[kMostIntervals];

  // 0: below the first.
  size_t interval_of(float x) const {
    size_t i = 0;
    for (size_t k = 0; k <= intervals; ++k) i += static_cast<size_t>(x > begins[k]);
    return i;
  }
  void backward(const Tensor& x, const Tensor& y, const Tensor& dy, float g, Grads& dx) const;
};

// Of every interval the sums of dy, and of dy (x - d), in an order that depends on the size only; of all dy y.
void N2UQQuantization::Line::backward(const Tensor& x, const Tensor& y, const Tensor& dy, float g, Grads& dx) const {
  bool over_ranks = false;
  for (size_t i = 1; i <= 3; ++i) over_ranks |= dx.over_ranks(i);
  const size_t all = intervals + 2, width = 2 * all + 1;
  const BatchChunks chunks(x.numel(), over_ranks, static_cast<int64_t>(width), kRowsOfChunk);
  Scratch scratch;
  auto* partial = scratch.take<double>(static_cast<size_t>(chunks.count()) * width);
  Tensor of_x = Tensor::empty(x.shape());
  const float *px = x.data().data(), *py = y.data().data(), *pdy = dy.data().data();
  float* to = of_x.mutable_data().data();
  chunks.for_each(kRowsOfChunk, [&](int64_t chunk, int64_t first, int64_t last) {
    double* sums = partial + static_cast<size_t>(chunk) * width;
    std::fill_n(sums, width, 0.0);
    for (int64_t k = first; k < last; ++k) {
      const size_t i = interval_of(px[k]);
      to[k] = pdy[k] * slope[i];
      sums[i] += double{pdy[k]};
      sums[all + i] += double{pdy[k]} * double{px[k]};
      sums[2 * all] += double{pdy[k]} * double{py[k]};
    }
  });
  fold(over_ranks, partial, chunks.count(), static_cast<int64_t>(width));

  Tensor of_intervals = Tensor::empty({static_cast<int64_t>(intervals)});
  double behind = 0;  // of all intervals behind this one: what moving their beginning does
  for (size_t i = intervals; i > 0; --i) {
    const double steepness = double{slope[i]}, a = double{step} / steepness;
    const double distances = partial[all + i] - double{begins[i - 1]} * partial[i];
    of_intervals.mutable_data()[i - 1] = static_cast<float>(g * (behind - steepness * distances / a));
    behind -= steepness * partial[i];
  }
  if (dx.needs(0)) dx.add(0, of_x);
  if (dx.needs(1)) dx.add(1, Tensor::full({1}, static_cast<float>(g * partial[2 * all] / step)));
  if (dx.needs(2)) dx.add(2, Tensor::full({1}, static_cast<float>(g * behind)));
  if (dx.needs(3)) dx.add(3, of_intervals);
}

N2UQQuantization::Line N2UQQuantization::line() const {
  const std::span<const float> a = intervals.raw().data();
  Line line{.step = step.raw().item(), .intervals = a.size()};
  line.begins[0] = offset.raw().item();
  for (size_t i = 0; i < a.size(); ++i) {
    line.thresholds[i] = line.begins[i] + a[i] / 2;
    line.begins[i + 1] = line.begins[i] + a[i];
    line.slope[i + 1] = line.step / a[i];
  }
  return line;
}

N2UQQuantization::N2UQQuantization(int bits, Role role)
    : LearnedQuantization(bits, role),
      step(parameter("step", Tensor::full({1}, 1))),
      offset(parameter("offset", Tensor::zeros({1}))),
      intervals(parameter("intervals", Tensor::full({(int64_t{1} << bits) - 1}, 1))) {
  step.set_limits({kSmallestStep, kLargestStep});
  offset.set_limits({0, kLargestStep});
  intervals.set_limits({kSmallestStep, kLargestStep});
}

Levels N2UQQuantization::levels() const {
  if (bits() != own_bits()) return {};
  const Line line = this->line();
  Levels levels{{0}, {line.thresholds, line.thresholds + line.intervals}};
  for (size_t i = 1; i <= line.intervals; ++i) levels.values.push_back(static_cast<float>(i) * line.step);
  return levels;
}

void N2UQQuantization::start(const Tensor& x, int bits) {
  LSQQuantization even(bits, role(), {.start = LSQStart::mse});
  even.start_from(x);
  step.set_raw(even.step.raw().clone());
  offset.raw().mutable_data()[0] = 0;
  for (float& a : intervals.raw().mutable_data()) a = step.raw().item();
}

Tensor N2UQQuantization::evenly(const Tensor& x, const QuantizedRange& q) {
  const float s = step.raw().item(), g = gradient_scale(x, q.qmax), top = q.qmax;
  Tensor y;
  {
    const Tape::Paused paused;
    y = linear_quantize_ste(x, {{1 / s}, {0}, q});
  }
  const auto of_step = [=](const GridSums& sums) {
    return static_cast<float>(g * (sums.inside / s + top * sums.above));
  };
  return record_on_grid("n2uq", x, y, {0, top * s}, {{step(), of_step}});
}

Tensor N2UQQuantization::quantize(const Tensor& x, int bits) {
  const QuantizedRange q = range(bits);
  if (bits != own_bits()) return evenly(x, q);
  const Line line = this->line();
  Tensor y = on_levels(x, levels());
  y.set_grid(Grid{.scale = 1 / line.step, .zero_point = 0, .qmin = 0, .qmax = q.qmax});
  return record(
      "n2uq", y, {x, step(), offset(), intervals()},
      [x, y, line, g = gradient_scale(x, q.qmax)](const Tensor& dy, Grads& dx) { line.backward(x, y, dy, g, dx); });
}

// Weights, activations of both signs and those of many bits have LSQ's grids: weights with levels around zero, as the
// paper's, whose step is learned and not (2^bits - 1) / 2^(bits-1) times their mean magnitude.
class N2UQQuantizer final : public LearnedQuantizer {
 public:
  // Config: {"class": "N2UQQuantizer", "bits_activations": 2, "bits_weights": 2}
  explicit N2UQQuantizer(const LearnedQuantizerConfig& config)
      : LearnedQuantizer(config, Rectifiers::unbounded_in_place) {}

 protected:
  std::unique_ptr<LearnedQuantization> make(int bits, Role role) const override {
    const bool has_sign = role != Role::positive && role != Role::rectified;
    if (!has_sign && bits <= N2UQQuantization::kMostBits) return std::make_unique<N2UQQuantization>(bits, role);
    return std::make_unique<LSQQuantization>(bits, role, LSQOptions{.start = LSQStart::lsq_plus, .midrise = true});
  }
};

const Registered<Quantizer, N2UQQuantizer, LearnedQuantizerConfig> n2uq{
    "N2UQQuantizer", "in training: learned thresholds between even levels (Liu et al. 2022)"};

}  // namespace
}  // namespace qgrad

// Learned steps and offsets.
#include "quant/train/lsq.h"

#include <algorithm>
#include <cmath>

#include "core/ops.h"
#include "core/parallel.h"
#include "core/tape.h"
#include "quant/ranges/reductions.h"
#include "quant/train/ste.h"

namespace qgrad {
namespace {

// Config: {"class": "LSQQuantizer", "bits_activations": 4, "bits_weights": 4}
struct LSQConfig : LearnedQuantizerConfig {
  bool learn_offset = false;
  LSQStart start = LSQStart::lsq;
  bool per_channel_wts = false, midrise_wts = false;
};
struct LSQPlusConfig : LSQConfig {
  LSQPlusConfig() {
    learn_offset = true;
    start = LSQStart::lsq_plus;
  }
};
void fields(Fields& v, LSQConfig& c) {
  fields(v, static_cast<LearnedQuantizerConfig&>(c));
  v("learn_offset", c.learn_offset, {.help = "activations learn where their grid begins, too (LSQ+)"});
  v("start", c.start, {.help = "the rule that the first steps come from"});
  v("per_channel_wts", c.per_channel_wts,
    {.help = "weights learn a step for each output channel, embeddings for each feature"});
  v("midrise_wts", c.midrise_wts, {.help = "weights have as many levels above zero as below, and none at zero"});
}

// "LSQQuantizer", and "LSQPlusQuantizer" which learns offsets unless told otherwise.
class LSQQuantizer final : public LearnedQuantizer {
 public:
  explicit LSQQuantizer(const LSQConfig& c)
      : LearnedQuantizer(c, c.learn_offset ? Rectifiers::behind : Rectifiers::unbounded_in_place),
        options_{c.start, c.learn_offset, c.per_channel_wts, c.midrise_wts} {}

 protected:
  std::unique_ptr<LearnedQuantization> make(int bits, Role role) const override {
    return std::make_unique<LSQQuantization>(bits, role, options_);
  }

 private:
  LSQOptions options_;
};

const Registered<Quantizer, LSQQuantizer, LSQConfig> registered_lsq{"LSQQuantizer",
                                                                    "in training: learned steps (Esser et al. 2020)"};
const Registered<Quantizer, LSQQuantizer, LSQPlusConfig> registered_lsq_plus{
    "LSQPlusQuantizer", "in training: learned steps and offsets (Bhalgat et al. 2020)"};

constexpr int64_t kChannelsOfChunk = 16;

bool has_offset(Role role) { return role != Role::weights && role != Role::bias && role != Role::input; }

Tensor on_grid(const Tensor& x, float step, float offset, const QuantizedRange& range) {
  const Tape::Paused paused;
  return linear_quantize_ste(x, {{1 / step}, {offset / step}, range});
}

}  // namespace

std::vector<std::pair<std::string, LSQStart>> enum_names(LSQStart*) {
  return {{"LSQ", LSQStart::lsq}, {"LSQ+", LSQStart::lsq_plus}, {"MSE", LSQStart::mse}};
}

LSQQuantization::LSQQuantization(int bits, Role role, LSQOptions options)
    : LearnedQuantization(bits, role),
      step(parameter("step", Tensor::full({1}, 1))),
      offset(parameter("offset", has_offset(role) && options.learn_offset ? Tensor::zeros({1}) : Tensor())),
      start_(options.start),
      per_channel_(options.per_channel && role == Role::weights),
      midrise_(options.midrise && role == Role::weights) {
  step.set_limits({kSmallestStep, kLargestStep});
  offset.set_limits({-kLargestStep, kLargestStep});
}

std::optional<ChannelGrid> LSQQuantization::grid(const Tensor& quantized) const {
  return is_parameter() ? weight_grid(own_bits()) : LearnedQuantization::grid(quantized);
}

ChannelGrid LSQQuantization::weight_grid(int bits) const {
  const Ends ends = ends_of(bits);
  const std::span<const float> steps = step.raw().data();
  ChannelGrid grid({}, std::vector<float>(steps.size(), ends.shift), ends.q);
  for (const float s : steps) grid.scale.push_back(1 / s);
  return grid;
}

LSQQuantization::Ends LSQQuantization::ends_of(int bits) const {
  const QuantizedRange q = range(bits);
  const float shift = midrise_ ? 0.5f : 0.0f;
  return {q, shift, q.qmin + shift, q.qmax + shift};
}

LSQQuantization::Start LSQQuantization::first_grid(const Tensor& x, int bits) const {
  const Ends end = ends_of(bits);
  Start grid{0, 0};
  if (start_ == LSQStart::lsq) {
    grid.step = 2 * mean(abs(x)).item() / std::sqrt(end.high);
  } else if (start_ == LSQStart::lsq_plus && is_parameter()) {
    const double center = mean(x).item(), n = static_cast<double>(x.numel());
    const double deviation = std::sqrt(deviations_from(center, x.data()).square / n);
    grid.step = static_cast<float>((std::fabs(center) + 3 * deviation) / (end.q.qmax + 1));
  } else {
    // The whole range, with zero, or a share of it: from min to max where an offset can follow, else around or above
    // zero.
    ValueRange all = over_ranks(min_max(x.data()), x.is_part());
    all = {std::min(all.min, 0.0f), std::max(all.max, 0.0f)};
    const float largest = all.max_abs();
    const float width = offset.defined() ? (all.max - all.min) / (end.q.qmax - end.q.qmin) : largest / end.high;
    const auto offset_of = [&](float share) {
      return offset.defined() ? share * all.min - end.q.qmin * share * width : end.shift * share * width;
    };
    const float clip = nearest_clip(x, 0.85f, [&](float c) {
      const float share = c / largest;
      return on_grid(x, std::max(share * width, kSmallestStep), offset_of(share), end.q);
    });
    const float share = largest > 0 ? clip / largest : 1;
    grid = {share * width, offset_of(share)};
  }
  // Numbers that are all equal say nothing about their width: the grid then spans [-1, 1] or [0, 1].
  if (grid.step == 0) grid.step = 1 / end.high;
  return grid;
}

void LSQQuantization::start(const Tensor& x, int bits) {
  if (!per_channel_) {
    const Start grid = first_grid(x, bits);
    step.raw().mutable_data()[0] = grid.step;
    if (offset.defined()) offset.raw().mutable_data()[0] = grid.offset;
    return;
  }
  const int64_t channels = x.dim(-1), rows = x.numel() / channels;
  if (step.raw().numel() != channels) step.set_raw(Tensor::full({channels}, 1));
  Tensor column = Tensor::empty({rows});
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t row = 0; row < rows; ++row)
      column.mutable_data()[static_cast<size_t>(row)] = x.data()[static_cast<size_t>(row * channels + c)];
    step.raw().mutable_data()[static_cast<size_t>(c)] = first_grid(column, bits).step;
  }
}

Tensor LSQQuantization::quantize(const Tensor& x, int bits) {
  if (per_channel_) return quantize_channels(x, bits);
  const Ends ends = ends_of(bits);
  const auto [q, shift, low, high] = ends;
  const float s = step.raw().item(), o = offset.defined() ? offset.raw().item() : shift * s;
  const float g = gradient_scale(x, q.qmax);
  std::vector<GridParameter> parameters{{step(), [s, g, ends](const GridSums& sums) {
                                           return static_cast<float>(
                                               g * (sums.inside / s + ends.low * sums.below + ends.high * sums.above));
                                         }}};
  if (offset.defined())
    parameters.push_back(
        {offset(), [g](const GridSums& sums) { return static_cast<float>(g * (sums.below + sums.above)); }});
  return record_on_grid("lsq", x, on_grid(x, s, o, q), {q.qmin * s + o, q.qmax * s + o}, parameters);
}

Tensor LSQQuantization::quantize_channels(const Tensor& x, int bits) {
  const Ends ends = ends_of(bits);
  const std::vector<float> steps(step.raw().data().begin(), step.raw().data().end());
  Tensor y;
  {
    const Tape::Paused paused;
    y = linear_quantize_ste(x, weight_grid(bits));
  }
  const double g = 1 / std::sqrt(static_cast<double>(x.numel()) / static_cast<double>(steps.size()) * ends.q.qmax);
  return record("lsq", y, {x, step()}, [x, y, ends, steps, g](const Tensor& dy, Grads& dx) {
    Tensor of_x = Tensor::empty(x.shape()), of_steps = Tensor::empty({static_cast<int64_t>(steps.size())});
    const std::span<const float> xs = x.data(), ys = y.data(), dys = dy.data();
    const std::span<float> dxs = of_x.mutable_data(), dsteps = of_steps.mutable_data();
    const size_t channels = steps.size();
    std::vector<double> sums(channels);
    // Every channel's sum in the order of its rows.
    parallel_for(std::ssize(steps), kChannelsOfChunk, [&](int64_t begin, int64_t end) {
      for (size_t row = 0; row < xs.size(); row += channels)
        for (auto c = static_cast<size_t>(begin); c < static_cast<size_t>(end); ++c) {
          const float s = steps[c], number = xs[row + c], arriving = dys[row + c];
          const bool below = number <= ends.low * s, above = number >= ends.high * s;
          dxs[row + c] = below || above ? 0 : arriving;
          sums[c] += double{arriving} * (below ? ends.low : above ? ends.high : (ys[row + c] - number) / s);
        }
    });
    for (size_t c = 0; c < channels; ++c) dsteps[c] = static_cast<float>(g * sums[c]);
    if (dx.needs(0)) dx.add(0, of_x);
    if (dx.needs(1)) dx.add(1, of_steps);
  });
}

}  // namespace qgrad

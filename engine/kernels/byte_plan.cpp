// Sorting the products of byte convolutions into steps and runs.
#include "engine/kernels/byte_plan.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "engine/kernels/byte_tile.h"

namespace qgrad {
namespace {

constexpr size_t kLanes = kBytePanel;
constexpr size_t kMostOpenRuns = 24;  // that a step is tried in: keeps the time to load large layers in bounds

using StepWeights = std::array<std::array<int16_t, 4>, kLanes>;  // one step's weights

// What every pair that vpmaddubsw adds up can come to at most, in both directions, in units of the largest input.
struct Reach {
  std::array<uint16_t, 4 * kLanes> of{};
  Reach& operator+=(const Reach& other) {
    for (size_t i = 0; i < of.size(); ++i) of[i] = static_cast<uint16_t>(of[i] + other.of[i]);
    return *this;
  }
  bool fits(const Reach& other, int32_t most) const {
    uint16_t beyond = 0;
    for (size_t i = 0; i < of.size(); ++i) {
      const auto sum = static_cast<uint16_t>(of[i] + other.of[i]);
      beyond = static_cast<uint16_t>(beyond | (sum > static_cast<uint16_t>(most)));
    }
    return beyond == 0;
  }
  int32_t largest() const { return *std::max_element(of.begin(), of.end()); }
};

struct Step {
  uint32_t offset = 0;
  StepWeights weight{};

  bool zero() const { return weight == StepWeights{}; }
  bool bytes() const {
    return std::ranges::all_of(weight, [](const auto& four) {
      return std::ranges::all_of(four, [](int16_t w) { return w >= -128 && w <= 127; });
    });
  }
  // What a byte can hold of each weight, which is taken off.
  StepWeights take_bytes() {
    StepWeights bytes{};
    for (size_t c = 0; c < kLanes; ++c)
      for (size_t k = 0; k < 4; ++k) {
        bytes[c][k] = std::clamp<int16_t>(weight[c][k], -128, 127);
        weight[c][k] = static_cast<int16_t>(weight[c][k] - bytes[c][k]);
      }
    return bytes;
  }
  Reach reach() const {
    Reach reach;
    for (size_t i = 0; i < 2 * kLanes; ++i) {
      const int first = weight[i / 2][i % 2 * 2], second = weight[i / 2][i % 2 * 2 + 1];
      reach.of[2 * i] = static_cast<uint16_t>(std::max(first, 0) + std::max(second, 0));
      reach.of[2 * i + 1] = static_cast<uint16_t>(-std::min(first, 0) - std::min(second, 0));
    }
    return reach;
  }
};

// All steps of a panel, in the order of the taps. Taps whose inputs touch are cut together.
std::vector<Step> steps_in_order(const ByteConvSource& s, int64_t row_pitch, int64_t group, int64_t panel) {
  const ConvGeometry& g = s.geometry;
  const int64_t in_group = g.in / g.groups, out_group = g.out / g.groups;
  const bool touching = g.groups == 1 && g.dilation_w == 1;
  const int64_t stretches = touching ? 1 : g.kernel_w, length = touching ? g.kernel_w * in_group : in_group;
  const int64_t lanes = std::min(kBytePanel, out_group - panel * kBytePanel);
  std::vector<Step> steps;
  for (int64_t kh = 0; kh < g.kernel_h; ++kh)
    for (int64_t stretch = 0; stretch < stretches; ++stretch)
      for (int64_t first = 0; first < length; first += 4) {
        Step step{.offset = static_cast<uint32_t>(kh * g.dilation_h * row_pitch + stretch * g.dilation_w * g.in +
                                                  group * in_group + first)};
        const int64_t tap = (kh * stretches + stretch) * length + first;
        for (int64_t k = 0; k < std::min<int64_t>(4, length - first); ++k)
          for (int64_t c = 0; c < lanes; ++c)
            step.weight[static_cast<size_t>(c)][static_cast<size_t>(k)] =
                s.weight[static_cast<size_t>((tap + k) * g.out + group * out_group + panel * kBytePanel + c)];
        steps.push_back(step);
      }
  return steps;
}

// Of depthwise layers, behind a position's first input.
uint32_t offset_of_tap(const ByteConvLayer& layer, int64_t tap) {
  const ConvGeometry& g = layer.geometry;
  return static_cast<uint32_t>(tap / g.kernel_w * g.dilation_h * layer.row_pitch +
                               tap % g.kernel_w * g.dilation_w * g.in);
}

struct Run {
  Reach reach;
  std::vector<const Step*> steps;
};

struct StepReach {
  const Step* step;
  Reach reach;
  int32_t largest;
};

// First fit, the steps with the largest reach first: long runs of nearly equal length.
std::vector<Run> sorted_into_runs(std::vector<StepReach> steps, int32_t most) {
  std::ranges::sort(steps, {}, [](const StepReach& r) { return std::pair(-r.largest, r.step); });
  std::vector<Run> runs;
  for (const auto& [step, reach, largest] : steps) {
    const size_t oldest = runs.size() - std::min(runs.size(), kMostOpenRuns);
    auto run = std::find_if(runs.begin() + static_cast<int64_t>(oldest), runs.end(),
                            [&, &added = reach](const Run& r) { return r.reach.fits(added, most); });
    if (run == runs.end()) run = runs.insert(runs.end(), Run{});
    run->reach += reach;
    run->steps.push_back(step);
  }
  std::ranges::sort(runs, {}, [](const Run& r) { return std::pair(-std::ssize(r.steps), r.steps.front()); });
  return runs;
}

// Whether steps may read the image itself: no border is needed, nothing is taken off, and none reads on past the
// image's end.
bool looks_at_image(const ByteConvSource& s, const ByteConvLayer& layer) {
  const ConvGeometry& g = s.geometry;
  const int64_t in_group = g.in / g.groups;
  return s.lowest == 0 && g.padding_h == 0 && g.padding_w == 0 && rows_under(g, g.out_h) <= g.in_h &&
         columns_under(g) <= g.in_w && (layer.depthwise ? g.in % layer.panel == 0 : in_group % 4 == 0);
}

}  // namespace

ByteConvPlan::ByteConvPlan(const ByteConvSource& source, const ByteArithmetic& arithmetic) {
  const ConvGeometry& g = source.geometry;
  layer_.geometry = g;
  layer_.depthwise = g.groups == g.in && g.groups == g.out && g.groups > 1;
  layer_.panel = layer_.depthwise ? arithmetic.depthwise_panel : kBytePanel;
  layer_.direct = looks_at_image(source, layer_);
  layer_.row_pitch = (layer_.direct ? g.in_w : columns_under(g)) * g.in;
  layer_.base = source.lowest;
  layer_.outside = static_cast<uint8_t>(source.origin - source.lowest);
  layer_.origin = source.output_origin;
  const int64_t panels = panels_of(layer_), panels_group = panels_of_group(g);
  const bool in_16_bits = arithmetic.sums == ByteSums::of_16_bits;
  const auto steps = in_16_bits ? steps_of : steps_of_pair;
  const auto depthwise_steps = in_16_bits ? pairs_of_taps : fours_of_taps;
  for (int64_t i = 0; i < panels; ++i)
    steps_.push_back(layer_.depthwise ? depthwise_steps(source, layer_, i)
                                      : steps(source, layer_, i / panels_group, i % panels_group));
  for (const Steps& s : steps_) {
    const auto narrow_steps = std::ssize(s.narrow) / (4 * layer_.panel);
    panels_.push_back({s.offset.data(), s.narrow.data(), s.wide.data(), s.runs.data(),
                       static_cast<int64_t>(s.runs.size()), narrow_steps, s.wide_steps});
    narrow_steps_ += narrow_steps;
    wide_steps_ += s.wide_steps;
  }
  add_channels(source);
  layer_.panels = panels_.data();
  layer_.bias = bias_.data();
  layer_.sum_shift = source.sum_shift;
  if (source.sum_shift > 0) layer_.fraction = fraction_.data();
  layer_.rescale = rescale_.data();
  layer_.large_steps = std::ranges::any_of(rescale_, [](float factor) { return factor >= 0.5f; });
  if (!source.real_bias.empty()) layer_.real_bias = real_bias_.data();
  layer_.low = low_.data();
  layer_.high = high_.data();
}

ByteConvPlan::Steps ByteConvPlan::steps_of(const ByteConvSource& source, const ByteConvLayer& layer, int64_t group,
                                           int64_t panel) {
  const std::vector<Step> all = steps_in_order(source, layer.row_pitch, group, panel);
  const int32_t largest_input = std::max(1, source.highest - source.lowest);
  const int32_t most = 32767 / largest_input;
  std::vector<StepReach> narrow;
  std::vector<const Step*> wide;
  for (const Step& step : all) {
    if (step.zero()) continue;
    const Reach reach = step.reach();
    const int32_t largest = reach.largest();
    if (step.bytes() && largest <= most)
      narrow.push_back({&step, reach, largest});
    else
      wide.push_back(&step);
  }
  Steps result;
  for (const Run& run : sorted_into_runs(narrow, most)) {
    const auto length = static_cast<int32_t>(run.steps.size());
    if (result.runs.empty() || result.runs.back().length != length) result.runs.push_back({length, 0});
    ++result.runs.back().count;
    for (const Step* step : run.steps) {
      result.offset.push_back(step->offset);
      for (const auto& four : step->weight) result.narrow.insert(result.narrow.end(), four.begin(), four.end());
    }
  }
  // Inputs 0 and 2 of all channels, then 1 and 3: as they come apart in 16 bits.
  for (const Step* step : wide) {
    result.offset.push_back(step->offset);
    for (size_t half = 0; half < 2; ++half)
      for (const auto& four : step->weight) result.wide.insert(result.wide.end(), {four[half], four[half + 2]});
  }
  result.wide_steps = static_cast<int64_t>(wide.size());
  return result;
}

// The steps of one panel, with those that only its neighbour needs.
ByteConvPlan::Steps ByteConvPlan::steps_of_pair(const ByteConvSource& source, const ByteConvLayer& layer, int64_t group,
                                                int64_t panel) {
  const int64_t neighbour = std::min(panel ^ 1, panels_of_group(source.geometry) - 1);
  std::vector<Step> steps = steps_in_order(source, layer.row_pitch, group, panel);
  std::vector<Step> others = steps_in_order(source, layer.row_pitch, group, neighbour);
  Steps result;
  for (size_t i = 0; i < steps.size(); ++i)
    while (!steps[i].zero() || !others[i].zero()) {
      result.offset.push_back(steps[i].offset);
      const StepWeights bytes = steps[i].take_bytes();
      others[i].take_bytes();
      for (const auto& four : bytes) result.narrow.insert(result.narrow.end(), four.begin(), four.end());
    }
  if (!result.offset.empty()) result.runs.push_back({1, static_cast<int32_t>(result.offset.size())});
  return result;
}

// Two taps each; the last one of an odd number is paired with a zero.
ByteConvPlan::Steps ByteConvPlan::pairs_of_taps(const ByteConvSource& source, const ByteConvLayer& layer,
                                                int64_t panel) {
  const ConvGeometry& g = source.geometry;
  const int64_t taps = g.kernel_h * g.kernel_w, first = panel * kBytePanel;
  Steps result;
  for (int64_t tap = 0; tap < taps; tap += 2) {
    for (const int64_t t : {tap, std::min(tap + 1, taps - 1)}) result.offset.push_back(offset_of_tap(layer, t));
    for (int64_t c = first; c < first + kBytePanel; ++c)
      for (int64_t t = tap; t < tap + 2; ++t)
        result.wide.push_back(t < taps && c < g.out ? source.weight[static_cast<size_t>(t * g.out + c)] : int16_t{0});
    ++result.wide_steps;
  }
  return result;
}

// Four taps each, the last ones filled up with zeros; again with what is left of weights that pass a byte.
ByteConvPlan::Steps ByteConvPlan::fours_of_taps(const ByteConvSource& source, const ByteConvLayer& layer,
                                                int64_t panel) {
  const ConvGeometry& g = source.geometry;
  const int64_t taps = g.kernel_h * g.kernel_w, first = panel * layer.panel;
  const int64_t channels = std::min(layer.panel, g.out - first);
  Steps result;
  for (int64_t tap = 0; tap < taps; tap += 4) {
    std::vector<int16_t> left(static_cast<size_t>(4 * layer.panel));
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t t = tap; t < std::min(tap + 4, taps); ++t)
        left[static_cast<size_t>(4 * lane_of(c, layer.panel) + t - tap)] =
            source.weight[static_cast<size_t>(t * g.out + first + c)];
    while (std::ranges::any_of(left, [](int16_t w) { return w != 0; })) {
      for (int64_t t = tap; t < tap + 4; ++t) result.offset.push_back(offset_of_tap(layer, std::min(t, taps - 1)));
      for (int16_t& w : left) {
        result.narrow.push_back(static_cast<int8_t>(std::clamp<int16_t>(w, -128, 127)));
        w = static_cast<int16_t>(w - result.narrow.back());
      }
    }
  }
  return result;
}

// What the border's byte adds to every sum is taken off the bias; modulo 2^32, as sums are.
void ByteConvPlan::add_channels(const ByteConvSource& source) {
  const ConvGeometry& g = source.geometry;
  const auto lanes = static_cast<size_t>(panels_of(layer_) * layer_.panel);
  bias_.resize(lanes), fraction_.resize(lanes), rescale_.resize(lanes), real_bias_.resize(lanes);
  low_.resize(lanes), high_.resize(lanes);
  std::vector<uint32_t> sum(static_cast<size_t>(g.out));
  for (size_t first = 0; first < source.weight.size(); first += sum.size())
    for (size_t c = 0; c < sum.size(); ++c) sum[c] += static_cast<uint32_t>(source.weight[first + c]);
  const int64_t out_group = layer_.depthwise ? g.out : g.out / g.groups;
  const int64_t lanes_group = layer_.depthwise ? static_cast<int64_t>(lanes) : static_cast<int64_t>(lanes) / g.groups;
  for (int64_t c = 0; c < g.out; ++c) {
    const auto from = static_cast<size_t>(c);
    const auto at = static_cast<size_t>(c / out_group * lanes_group + c % out_group);
    const int64_t in_panel = c % layer_.panel;
    const auto to =
        layer_.panel == kBytePanel ? at : static_cast<size_t>(c - in_panel + lane_of(in_panel, layer_.panel));
    const int32_t whole = source.bias[from] >> source.sum_shift;
    bias_[to] = static_cast<int32_t>(static_cast<uint32_t>(whole) - layer_.outside * sum[from]);
    fraction_[to] = source.bias[from] - (whole << source.sum_shift);
    rescale_[to] = source.rescale[from];
    if (!source.real_bias.empty()) {
      real_bias_[to] = source.real_bias[from];
      continue;
    }
    low_[at] = source.low[from];
    high_[at] = source.high[from];
  }
}

int64_t byte_conv_scratch(const ByteConvLayer& layer, int64_t rows) {
  const ConvGeometry& g = layer.geometry;
  return layer.direct ? 0 : rows_under(g, rows) * columns_under(g) * g.in + layer.panel;  // some steps read on
}

}  // namespace qgrad

// The gradients of learned grids, when they start, and where they go.
#include "quant/train/learned_grid.h"

#include <algorithm>
#include <cmath>

#include "core/batch_sum.h"
#include "core/kernels/table.h"
#include "core/memory.h"
#include "core/ops.h"
#include "core/parallel.h"
#include "core/tape.h"
#include "quant/ranges/reductions.h"

namespace qgrad {
namespace {

constexpr int64_t kBlock = 8192;

}  // namespace

Tensor record_on_grid(std::string_view op, const Tensor& x, const Tensor& y, const GridEnds& ends,
                      const std::vector<GridParameter>& parameters) {
  std::vector<Tensor> inputs{x};
  for (const GridParameter& p : parameters) inputs.push_back(p.value);
  return record(op, y, inputs, [x, y, ends, parameters](Tensor dy, Grads& dx) {
    Tensor gradient = dy.is_unique() && !ends.everywhere ? dy : Tensor::empty(x.shape());
    bool over_ranks = false;
    for (size_t i = 0; i < parameters.size(); ++i) over_ranks |= dx.over_ranks(i + 1);
    const BatchChunks chunks(x.numel(), over_ranks, 1, kBlock);
    Scratch scratch;
    auto* partial = scratch.take<GridSums>(static_cast<size_t>(chunks.count()));
    const float *px = x.data().data(), *py = y.data().data(), *pdy = dy.data().data();
    float* to = gradient.mutable_data().data();
    chunks.for_each(kBlock, [&](int64_t chunk, int64_t begin, int64_t end) {
      partial[chunk] = kernels().quantize.learned_backward(px + begin, py + begin, pdy + begin, to + begin,
                                                           static_cast<size_t>(end - begin), ends.low, ends.high);
    });
    static_assert(sizeof(GridSums) == 3 * sizeof(double));
    fold(over_ranks, &partial->inside, chunks.count(), 3);
    const GridSums sums = *partial;
    for (size_t i = 0; i < parameters.size(); ++i)
      if (dx.needs(i + 1)) dx.add(i + 1, Tensor::full({1}, parameters[i].gradient(sums)));
    if (dx.needs(0)) dx.add(0, ends.everywhere ? std::move(dy) : std::move(gradient));
  });
}

float nearest_clip(const Tensor& x, float ratio, const std::function<Tensor(float clip)>& quantized) {
  constexpr int kCandidates = 16;
  const float largest = over_ranks(min_max(x.data()), x.is_part()).max_abs();
  float best = largest, least = std::numeric_limits<float>::infinity();
  float clip = largest;
  for (int i = 0; i < kCandidates && clip > 0; ++i, clip *= ratio)
    if (const float error = mean(square(sub(quantized(clip), x))).item(); error < least) {
      best = clip;
      least = error;
    }
  return best;
}

LearnedQuantization::LearnedQuantization(int bits, Role role)
    : Quantization(bits), role_(role), started_for_bits(buffer("started_for_bits", Tensor::zeros({1}))) {
  check(range(bits).qmax > 0, "learned quantization: 1 bit has no level above zero here, expected 2 bits or more");
}

std::string LearnedQuantization::describe() const {
  std::string text = fmt::format("bits={}", own_bits());
  for (const Parameter* p : parameters())
    if (p->defined())
      text += p->raw().numel() == 1 ? fmt::format(", {}={}", p->name(), p->raw().item())
                                    : fmt::format(", {} {}s", p->raw().numel(), p->name());
  return text;
}

QuantizedRange LearnedQuantization::range(int bits) const {
  return quantized_range(bits, is_signed() ? LinearQuantMode::asymmetric_signed : LinearQuantMode::asymmetric_unsigned);
}

float LearnedQuantization::gradient_scale(const Tensor& x, float qmax) const {
  const int64_t count = is_parameter() ? x.numel() : x.numel() / x.dim(0);
  return static_cast<float>(1 / std::sqrt(static_cast<double>(count) * qmax));
}

void LearnedQuantization::start_from(const Tensor& x) {
  const Tape::Paused paused;
  const int now = bits().value_or(own_bits());
  start(role_ == Role::rectified ? relu(x) : x, now);
  for (Parameter* parameter : parameters())
    if (parameter->defined()) parameter->restrain();
  started_for_bits.set(Tensor::full({1}, static_cast<float>(now)));
}

void LearnedQuantization::forget_range() { started_for_bits.set(Tensor::zeros({1})); }

Tensor LearnedQuantization::quantized(const Tensor& x) {
  if (!bits()) return role_ == Role::rectified ? relu(x) : x;
  if (training() && started_for_bits.item() != static_cast<float>(*bits())) start_from(x);
  check(started_for_bits.item() > 0 || Tape::is_tracing(),
        "learned quantization: no grid yet, since no training step was made and no checkpoint loaded; run at least one "
        "forward pass in training mode first");
  return quantize(x, *bits());
}

LearnedQuantizer::LearnedQuantizer(const LearnedQuantizerConfig& config, Rectifiers rectifiers)
    : TrainQuantizer(config), learned_(config) {
  quantize_activations(rectifiers);
  quantize_outputs_of({"input"}, Role::input);
}

std::unique_ptr<Quantization> LearnedQuantizer::weight(const Site&, const Parameter& parameter, int bits) {
  auto quantization = make(bits, is_bias(parameter) ? Role::bias : Role::weights);
  quantization->start_from(parameter.raw());
  return quantization;
}

std::unique_ptr<Quantization> LearnedQuantizer::activation(const Site&, const Activation& what, int bits) {
  return make(bits, what.role);
}

std::optional<ParamGroup> LearnedQuantizer::own_group() const {
  return ParamGroup{.name = "learned",
                    .parameters = {},
                    .weight_decay = learned_.learned_weight_decay,
                    .lr_factor = learned_.learned_lr_factor};
}

}  // namespace qgrad

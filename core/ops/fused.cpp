// Computing what waited.
#include "core/ops/fused.h"

#include <algorithm>
#include <limits>

#include "core/divide_up.h"
#include "core/error.h"
#include "core/kernels/table.h"
#include "core/memory.h"
#include "core/parallel.h"

namespace qgrad {
namespace {

constexpr int64_t kPiece = 2048;  // numbers

int64_t chunk_rows(int64_t channels) { return std::max<int64_t>(1, kElementwiseGrain / channels); }

}  // namespace

std::vector<Tensor> PendingNormalized::reads() const {
  std::vector<Tensor> tensors{x, mean, scale, shift};
  if (addend.defined()) tensors.push_back(addend);
  return tensors;
}

void PendingNormalized::for_each_piece(float* to, const std::function<void(int64_t, size_t, float*)>& use) {
  const int64_t channels = x.dim(-1), rows = x.numel() / channels, piece = std::max<int64_t>(1, kPiece / channels);
  const Normalization f{mean.data().data(), scale.data().data(), shift.data().data(),
                        addend.defined(),   uncut != nullptr,    limit};
  const float *from = x.data().data(), *plus = f.add ? addend.data().data() : nullptr;
  uint8_t* mask = nullptr;
  if (uncut) {
    if (!uncut->defined()) *uncut = BitMask(x.numel());
    mask = uncut->data();
  }
  parallel_for(rows, chunk_rows(channels), [&](int64_t begin, int64_t end) {
    Scratch scratch;
    float* aside = to ? nullptr : scratch.take<float>(static_cast<size_t>(piece * channels));
    for (int64_t row = begin; row < end; row += piece) {
      const int64_t count = std::min(piece, end - row), at = row * channels;
      float* y = to ? to + at : aside;
      kernels().norm.normalize(f, from + at, plus ? plus + at : nullptr, y, mask ? mask + at / 8 : nullptr,
                               static_cast<size_t>(count), static_cast<size_t>(channels));
      if (use) use(at, static_cast<size_t>(count * channels), y);
    }
  });
}

Tensor PendingNormalized::compute() {
  Tensor y = Tensor::empty(x.shape());
  for_each_piece(y.mutable_data().data(), nullptr);
  return y;
}

std::pair<float, float> PendingNormalized::range() {
  check(x.numel() > 0, "range: a tensor of shape {} has no smallest value", x.shape());
  const int64_t channels = x.dim(-1), chunk = chunk_rows(channels) * channels, chunks = divide_up(x.numel(), chunk);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Scratch scratch;
  float *low = scratch.take<float>(static_cast<size_t>(chunks)),
        *high = scratch.take<float>(static_cast<size_t>(chunks));
  std::fill_n(low, chunks, kInfinity);
  std::fill_n(high, chunks, -kInfinity);
  for_each_piece(nullptr, [&](int64_t at, size_t count, float* y) {
    float min, max;
    kernels().quantize.min_max(y, count, &min, &max);
    low[at / chunk] = std::min(low[at / chunk], min);
    high[at / chunk] = std::max(high[at / chunk], max);
  });
  return {*std::min_element(low, low + chunks), *std::max_element(high, high + chunks)};
}

Tensor PendingNormalized::fake_quant(const QuantGrid& grid, BitMask& inside) {
  Tensor y = Tensor::empty(x.shape());
  inside = BitMask(x.numel());
  uint8_t* bits = inside.data();
  for_each_piece(y.mutable_data().data(), [&](int64_t at, size_t count, float* numbers) {
    kernels().norm.mask_of_range(numbers, bits + at / 8, count, grid.low, grid.high);
    kernels().quantize.fake_quant(numbers, numbers, count, grid);
  });
  return y;
}

Tensor PendingMasked::compute() {
  const float* from = dy.data().data();
  Tensor dx = dy.is_unique() ? std::move(dy) : Tensor::empty(dy.shape());
  float* to = dx.mutable_data().data();
  parallel_for(dx.numel(), kElementwiseGrain, [&](int64_t begin, int64_t end) {
    kernels().norm.apply_mask(from + begin, mask->data() + begin / 8, to + begin, static_cast<size_t>(end - begin));
  });
  return dx;
}

Tensor fused_add(const Tensor& a, const Tensor& b) {
  for (const auto& [waiting, other] : {std::pair(b, a), std::pair(a, b)}) {
    const auto* from = waiting_as<PendingNormalized>(waiting);
    if (!from || from->addend.defined() || from->uncut || other.shape() != waiting.shape()) continue;
    auto sum = std::make_unique<PendingNormalized>(*from);
    other.data();  // one of two that wait has to be computed; this may compute the other one too
    sum->addend = other;
    return Tensor::waiting(waiting.shape(), std::move(sum));
  }
  return {};
}

Tensor fused_relu(const Tensor& x, float limit) {
  const auto* from = waiting_as<PendingNormalized>(x);
  if (!from || from->uncut) return {};
  auto cut = std::make_unique<PendingNormalized>(*from);
  cut->uncut = std::make_shared<BitMask>();
  cut->limit = limit;
  return Tensor::waiting(x.shape(), std::move(cut));
}

Tensor masked(Tensor dy, std::shared_ptr<const BitMask> mask) {
  const Shape shape = dy.shape();
  auto [inner, inner_mask] = unmasked(std::move(dy));
  if (inner_mask) {
    auto both = std::make_shared<BitMask>(shape.numel());
    std::transform(mask->data(), mask->data() + shape.numel() / 8, inner_mask->data(), both->data(), std::bit_and<>());
    mask = std::move(both);
  }
  auto waiting = std::make_unique<PendingMasked>();
  waiting->dy = std::move(inner);
  waiting->mask = std::move(mask);
  return Tensor::waiting(shape, std::move(waiting));
}

std::pair<Tensor, std::shared_ptr<const BitMask>> unmasked(Tensor dy) {
  auto* waiting = waiting_as<PendingMasked>(dy);
  if (!waiting) return {std::move(dy), nullptr};
  if (dy.is_unique()) return {std::move(waiting->dy), std::move(waiting->mask)};
  return {waiting->dy, waiting->mask};
}

}  // namespace qgrad

// Places are moved as floats, which hold them up to 2^24.
#include "quant/export/moves.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "core/error.h"
#include "core/random.h"

namespace qgrad::deploy {
namespace {

constexpr int64_t kMostNumbers = (int64_t{1} << 24) - 1;

bool is_ascending(const std::vector<int32_t>& places) {
  for (size_t i = 0; i < places.size(); ++i)
    if (places[i] != static_cast<int32_t>(i)) return false;
  return true;
}

// A row of them.
bool is_channels_first(const std::vector<int32_t>& places, const TensorInfo& from, const TensorInfo& to) {
  if (std::ssize(places) != from.count() || to.channels != from.count()) return false;
  const int32_t positions = from.height * from.width;
  for (int32_t i = 0; i < static_cast<int32_t>(places.size()); ++i)
    if (places[static_cast<size_t>(i)] != i % positions * from.channels + i / positions) return false;
  return true;
}

// By rows, columns and channels; none where it is otherwise.
std::optional<Op> selecting(const std::vector<int32_t>& places, const TensorInfo& from, const TensorInfo& to) {
  Op op{.kind = OpKind::select};
  op.rows.assign(static_cast<size_t>(to.height), Op::kZeros);
  op.columns.assign(static_cast<size_t>(to.width), Op::kZeros);
  op.channels.assign(static_cast<size_t>(to.channels), Op::kZeros);
  const auto every = [&](auto&& is_so) {
    for (size_t i = 0; i < places.size(); ++i) {
      const auto channels = static_cast<size_t>(to.channels), width = static_cast<size_t>(to.width);
      if (!is_so(places[i], op.rows[i / channels / width], op.columns[i / channels % width], op.channels[i % channels]))
        return false;
    }
    return true;
  };
  every([&](int32_t place, int32_t& row, int32_t& column, int32_t& channel) {
    if (place == Op::kZeros) return true;
    row = place / from.channels / from.width;
    column = place / from.channels % from.width;
    channel = place % from.channels;
    return true;
  });
  const bool holds = every([&](int32_t place, int32_t row, int32_t column, int32_t channel) {
    return place ==
           (std::min({row, column, channel}) < 0 ? Op::kZeros : (row * from.width + column) * from.channels + channel);
  });
  return holds ? std::optional(std::move(op)) : std::nullopt;
}

}  // namespace

std::vector<int32_t> moved_places(const std::function<Tensor(Inputs)>& move, std::span<const Shape> inputs) {
  std::vector<Tensor> numbered;
  int64_t numbers = 0;
  for (const Shape& shape : inputs) {
    check(shape.numel() <= kMostNumbers - numbers, "it moves more than the {} numbers that can be followed",
          kMostNumbers);
    numbered.push_back(Tensor::empty(shape));
    std::iota(numbered.back().mutable_data().begin(), numbered.back().mutable_data().end(),
              static_cast<float>(numbers + 1));
    numbers += shape.numel();
  }
  const Tensor moved = move(numbered);
  std::vector<int32_t> places;
  places.reserve(moved.data().size());
  for (const float number : moved.data()) places.push_back(static_cast<int32_t>(number) - 1);
  return places;
}

std::vector<int32_t> moved_twice(const std::vector<int32_t>& first, const std::vector<int32_t>& second) {
  std::vector<int32_t> both = second;
  for (int32_t& place : both)
    if (place != Op::kZeros) place = first[static_cast<size_t>(place)];
  return both;
}

bool stays(const std::vector<int32_t>& places, const TensorInfo& from, const TensorInfo& to) {
  return from.height == to.height && from.width == to.width && from.channels == to.channels && is_ascending(places);
}

Op moving(const std::vector<int32_t>& places, const TensorInfo& from, const TensorInfo& to) {
  if (is_channels_first(places, from, to)) return {.kind = OpKind::channels_first};
  if (std::optional<Op> select = selecting(places, from, to)) return *std::move(select);
  return gathering(places, to);
}

Op gathering(std::vector<int32_t> places, const TensorInfo& to) {
  Op op{.kind = OpKind::gather};
  if (std::ranges::count(places, Op::kZeros) > 0)
    op.constants = {to.type == Type::byte ? static_cast<float>(to.origin()) : 0.0f};
  op.places = std::move(places);
  return op;
}

bool keeps_images_apart(Module& model, const Shape& image) {
  std::vector<int64_t> dims(image.dims().begin(), image.dims().end());
  dims[0] = 2;
  RandomStream random(1, "images that are kept apart");
  Tensor both = Tensor::empty(Shape(dims));
  for (float& x : both.mutable_data()) x = random.normal();
  const Tensor together = model(both);
  const auto count = static_cast<size_t>(image.numel()), outputs = together.data().size() / 2;
  for (size_t i = 0; i < 2; ++i) {
    const Tensor alone = model(Tensor::from(image, both.data().subspan(i * count, count)));
    if (!std::ranges::equal(alone.data(), together.data().subspan(i * outputs, outputs))) return false;
  }
  return true;
}

}  // namespace qgrad::deploy

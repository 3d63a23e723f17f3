// Places along axes, and in rows.
#include "quant/export/onnx_moves.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <tuple>

namespace qgrad::deploy {
namespace {

// Zeros stand at the end of the axis before places are taken.
std::string select_along(OnnxWriter& to, const Op& op, int64_t axis, std::vector<int32_t> places, int32_t size,
                         std::string x, const std::string& result) {
  if (std::ranges::count(places, Op::kZeros) > 0) {
    std::vector<int64_t> pads(8, 0);
    pads[static_cast<size_t>(4 + axis)] = 1;
    const int64_t dims[] = {8};
    const std::string zero = to.tensor(op.output).type == Type::byte ? to.zero_point(op.output) : to.limit(0);
    x = to.model.node("Pad", {x, to.model.constant<int64_t>(result + "/pads", dims, pads), zero}, result + "/padded");
    std::ranges::replace(places, Op::kZeros, size);
  }
  const int64_t dims[] = {std::ssize(places)};
  return to.model.node("Gather", {x, to.model.constant<int32_t>(result + "/places", dims, places)}, result,
                       {{"axis", axis}});
}

// Of the number at `place` of [height,width,channels], where channels come first.
int32_t in_planes(int32_t place, const TensorInfo& t) {
  return place % t.channels * t.height * t.width + place / t.channels;
}

// The places of a gather, those of the output and of every input with channels first.
std::vector<int32_t> places_in_planes(const OnnxWriter& to, const Op& op) {
  std::vector<int32_t> places(op.places.size());
  for (int32_t i = 0; i < static_cast<int32_t>(places.size()); ++i) {
    int32_t place = op.places[static_cast<size_t>(i)], first = 0;
    auto input = op.inputs.begin();
    const auto count = [&] { return static_cast<int32_t>(to.tensor(*input).count()); };
    while (place - first >= count()) first += count(), ++input;
    if (place >= 0) place = first + in_planes(place - first, to.tensor(*input));
    places[static_cast<size_t>(in_planes(i, to.tensor(op.output)))] = place;
  }
  return places;
}

bool takes_all_in_order(const std::vector<int32_t>& places, int64_t numbers) {
  std::vector<int32_t> all(static_cast<size_t>(numbers));
  std::iota(all.begin(), all.end(), 0);
  return places == all;
}

// A row whose numbers are constants where places are negative.
template <class T>
std::string with_constants(OnnxWriter& to, const Op& op, const std::vector<int32_t>& places, std::string row) {
  const std::string& out = to.name(op.output);
  std::vector<uint8_t> is_constant;
  std::vector<T> constants;
  for (const int32_t place : places) {
    is_constant.push_back(place < 0);
    constants.push_back(place < 0 ? static_cast<T>(op.constants[static_cast<size_t>(-1 - place)]) : T{0});
  }
  if (to.tensor(op.inputs[0]).type != to.tensor(op.output).type)
    row = to.model.node("Cast", {row}, out + "/values", {{"to", static_cast<int64_t>(OnnxType::float32)}});
  const int64_t dims[] = {1, std::ssize(places)};
  const std::string mask = to.model.node("Cast", {to.model.constant<uint8_t>(out + "/is_constant", dims, is_constant)},
                                         out + "/mask", {{"to", static_cast<int64_t>(OnnxType::boolean)}});
  return to.model.node("Where", {mask, to.model.constant<T>(out + "/constants", dims, constants), row},
                       out + "/with_constants");
}

}  // namespace

void add_select(OnnxWriter& to, const Op& op) {
  const TensorInfo& in = to.tensor(op.inputs[0]);
  std::vector<std::tuple<int64_t, const std::vector<int32_t>*, int32_t>> axes;
  for (const auto& [axis, places, size] :
       {std::tuple(int64_t{1}, &op.channels, in.channels), std::tuple(int64_t{2}, &op.rows, in.height),
        std::tuple(int64_t{3}, &op.columns, in.width)})
    if (!takes_all_in_order(*places, size)) axes.emplace_back(axis, places, size);
  if (axes.empty()) axes.emplace_back(1, &op.channels, in.channels);  // it moves nothing
  std::string x = to.name(op.inputs[0]);
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto [axis, places, size] = axes[i];
    const std::string result =
        i + 1 < axes.size() ? fmt::format("{}/axis{}", to.name(op.output), axis) : to.name(op.output);
    x = select_along(to, op, axis, *places, size, x, result);
  }
}

void add_gather(OnnxWriter& to, const Op& op) {
  const std::string& out = to.name(op.output);
  OnnxWriter::Names rows;
  int64_t numbers = 0;
  for (const int32_t input : op.inputs) {
    rows.push_back(
        to.model.node("Reshape", {to.name(input), to.row_shape()}, fmt::format("{}/row{}", out, rows.size())));
    numbers += to.tensor(input).count();
  }
  std::string row = rows.size() == 1 ? rows[0] : to.model.node("Concat", rows, out + "/rows", {{"axis", int64_t{1}}});
  const std::vector<int32_t> places = places_in_planes(to, op);
  if (!takes_all_in_order(places, numbers)) {
    std::vector<int32_t> taken = places;
    for (int32_t& place : taken) place = std::max(place, 0);
    const int64_t dims[] = {std::ssize(taken)};
    row = to.model.node("Gather", {row, to.model.constant<int32_t>(out + "/places", dims, taken)}, out + "/gathered",
                        {{"axis", int64_t{1}}});
  }
  if (std::ranges::any_of(places, [](int32_t place) { return place < 0; }))
    row = to.tensor(op.output).type == Type::byte ? with_constants<uint8_t>(to, op, places, row)
                                                  : with_constants<float>(to, op, places, row);
  const TensorInfo& target = to.tensor(op.output);
  const int64_t dims[] = {4};
  const std::vector<int64_t> shape{0, target.channels, target.height, target.width};
  to.model.node("Reshape", {row, to.model.constant<int64_t>(out + "/shape", dims, shape)}, out);
}

}  // namespace qgrad::deploy

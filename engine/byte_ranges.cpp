// By kind of operation.
#include "engine/byte_ranges.h"

#include <algorithm>

namespace qgrad::deploy {
namespace {

ByteRange range_of_gather(const Op& op, const std::vector<ByteRange>& ranges) {
  ByteRange range{255, 0};
  const auto add = [&](uint8_t lowest, uint8_t highest) {
    range = {std::min(range.lowest, lowest), std::max(range.highest, highest)};
  };
  for (const float constant : op.constants) add(static_cast<uint8_t>(constant), static_cast<uint8_t>(constant));
  for (const int32_t input : op.inputs)
    add(ranges[static_cast<size_t>(input)].lowest, ranges[static_cast<size_t>(input)].highest);
  return range;
}

}  // namespace

ByteRange range_of(const Op& op, Type type, const std::vector<ByteRange>& ranges) {
  if (type == Type::float32) return {};
  switch (op.kind) {
    case OpKind::quantize:
    case OpKind::conv:
    case OpKind::add:
    case OpKind::multiply:
    case OpKind::resample:
    case OpKind::layer_norm:
    case OpKind::matmul:
    case OpKind::softmax:
      return {*std::ranges::min_element(op.low), *std::ranges::max_element(op.high)};
    case OpKind::lookup: {
      ByteRange range{255, 0};
      for (const auto& table : op.tables) {
        range.lowest = std::min(range.lowest, *std::ranges::min_element(table));
        range.highest = std::max(range.highest, *std::ranges::max_element(table));
      }
      return range;
    }
    case OpKind::max_pool:
    case OpKind::channels_first:
      return ranges[static_cast<size_t>(op.inputs[0])];
    case OpKind::select:
      return {0, 255};
    case OpKind::gather:
      return range_of_gather(op, ranges);
    default:  // never bytes
      return {};
  }
}

}  // namespace qgrad::deploy

// One image at a time through the whole program, so that its tensors stay in the cache; a single image's convolutions
// are shared out by rows.
#include "engine/engine.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/memory.h"
#include "core/parallel.h"
#include "engine/float_ops.h"
#include "engine/kernels/byte_table.h"

namespace qgrad::deploy {
namespace {

// Scratch under one band of rows: about as much as the first cache holds beside a panel of weights.
constexpr int64_t kBandBytes = 20 << 10;

template <class T>
T* at(std::byte* arena, int64_t offset) {
  return reinterpret_cast<T*>(arena + offset);
}

int64_t rows_of_band(const ByteConvLayer& layer, bool share_rows) {
  const ConvGeometry& g = layer.geometry;
  const int64_t row =
      layer.direct ? layer.row_pitch * g.stride_h : byte_conv_scratch(layer, 2) - byte_conv_scratch(layer, 1);
  const int64_t rows = std::clamp<int64_t>(kBandBytes / row, 1, g.out_h);
  return share_rows ? std::min(rows, (g.out_h + 3) / 4) : rows;
}

// The bytes that a tensor can hold: those of its grid that the operation that makes it gives.
struct ByteRange {
  uint8_t lowest = 0, highest = 255;
};
ByteRange range_of(const Op& op, Type type, const std::vector<ByteRange>& ranges) {
  if (type == Type::float32) return {};
  switch (op.kind) {
    case OpKind::quantize:
    case OpKind::conv:
    case OpKind::add:
    case OpKind::multiply:
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
    default:  // never bytes
      return {};
  }
}

template <class T>
void channels_first(const T* x, T* y, const TensorInfo& in) {
  const int64_t positions = int64_t{in.height} * in.width;
  for (int64_t c = 0; c < in.channels; ++c)
    for (int64_t p = 0; p < positions; ++p) *y++ = x[p * in.channels + c];
}

}  // namespace

Engine::Engine(Program program) : program_(std::move(program)) {
  validate(program_);
  plan_operations();
  plan_memory();
}

ByteOutput Engine::output_of(const Op& op) const {
  const Grid& grid = tensor(op.output).grid;
  const int32_t qmin = grid.qmin + shift(grid);
  return {.rescale = op.rescale[0],
          .divisor = program_.rounding == Rounding::onnx ? step_of(grid.scale) : 1,
          .zero_point = static_cast<float>(grid.zero_point - shift(grid)),
          .low = static_cast<float>(op.low[0] + qmin),
          .high = static_cast<float>(op.high[0] + qmin),
          .qmin = static_cast<float>(qmin)};
}

ByteIntegers Engine::integers_of(const Op& op) const {
  const Grid& grid = tensor(op.output).grid;
  return {
      .zero_point = grid.zero_point, .low = grid.qmin + op.low[0], .high = grid.qmin + op.high[0], .qmin = grid.qmin};
}

// What every byte of an operand adds to a sum, or how it multiplies a product.
std::vector<int32_t> Engine::terms_of(const Op& op) const {
  std::vector<int32_t> terms;
  for (size_t i = 0; i < op.inputs.size(); ++i)
    for (int32_t b = 0; b < 256; ++b) {
      const int32_t integer = b - tensor(op.inputs[i]).grid.origin();
      terms.push_back(
          op.kind == OpKind::multiply
              ? integer
              : static_cast<int32_t>(std::clamp(std::nearbyint(op.input_rescale[i] * static_cast<float>(integer)),
                                                -op.input_limit - 1, op.input_limit)));
    }
  return terms;
}

void Engine::plan_operations() {
  std::vector<ByteRange> ranges(program_.tensors.size());
  for (const Op& op : program_.ops)
    ranges[static_cast<size_t>(op.output)] = range_of(op, tensor(op.output).type, ranges);
  plans_.resize(program_.ops.size());
  float_weights_.resize(program_.ops.size());
  terms_.resize(program_.ops.size());
  parallel_for(std::ssize(plans_), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Op& op = program_.ops[static_cast<size_t>(i)];
      if (op.kind == OpKind::float_conv || op.kind == OpKind::real_conv)
        float_weights_[static_cast<size_t>(i)] = FloatWeights(program_, op);
      if (op.fixed_point && op.kind != OpKind::conv) terms_[static_cast<size_t>(i)] = terms_of(op);
      if (op.kind != OpKind::conv) continue;
      // The border's byte has to be one that copies with the lowest byte taken off can hold.
      const Grid &in = tensor(op.inputs[0]).grid, &out = tensor(op.output).grid;
      const ByteRange range = ranges[static_cast<size_t>(op.inputs[0])];
      const auto origin = static_cast<uint8_t>(in.origin());
      plans_[static_cast<size_t>(i)].emplace(
          ByteConvSource{.geometry = conv_geometry(program_, op),
                         .weight = op.weight,
                         .bias = op.bias,
                         .sum_shift = op.sum_shift,
                         .rescale = op.rescale,
                         .fixed_point = op.fixed_point,
                         .low = op.low,
                         .high = op.high,
                         .lowest = std::min(range.lowest, origin),
                         .highest = std::max(range.highest, origin),
                         .origin = origin,
                         .zero_point = static_cast<float>(out.zero_point - shift(out)),
                         .qmin = out.qmin + shift(out)});
    }
  });
}

// Every tensor gets the first gap among those that live at the same time.
void Engine::plan_memory() {
  const size_t count = program_.tensors.size();
  std::vector<size_t> begin(count, 0), end(count, 0);  // operations
  for (size_t i = 0; i < program_.ops.size(); ++i) {
    begin[static_cast<size_t>(program_.ops[i].output)] = i;
    end[static_cast<size_t>(program_.ops[i].output)] = i;
    for (const int32_t input : program_.ops[i].inputs) end[static_cast<size_t>(input)] = i;
  }
  end[static_cast<size_t>(program_.output)] = program_.ops.size();
  offsets_.assign(count, 0);
  const auto room = [&](size_t i) {
    const auto alignment = static_cast<int64_t>(kAlignment);
    return (program_.tensors[i].bytes() + alignment - 1) / alignment * alignment;
  };
  for (size_t i = 0; i < count; ++i) {
    std::vector<size_t> others;
    for (size_t j = 0; j < i; ++j)
      if (begin[j] <= end[i] && begin[i] <= end[j]) others.push_back(j);
    std::ranges::sort(others, {}, [&](size_t j) { return offsets_[j]; });
    for (const size_t j : others) {
      if (offsets_[i] + room(i) <= offsets_[j]) break;
      offsets_[i] = std::max(offsets_[i], offsets_[j] + room(j));
    }
    arena_bytes_ = std::max(arena_bytes_, offsets_[i] + room(i));
  }
}

void Engine::run(std::span<const float> images, std::span<float> output, const Tap& tap) const {
  const int64_t batch = static_cast<int64_t>(images.size()) / input_count();
  check(static_cast<int64_t>(images.size()) == batch * input_count() &&
            static_cast<int64_t>(output.size()) == batch * output_count(),
        "engine: {} numbers in and {} for each image; got {} and {}", input_count(), output_count(), images.size(),
        output.size());
  const auto run_one = [&](int64_t image, bool share_rows) {
    std::function<void(int32_t, const void*)> made;
    if (tap) made = [&, image](int32_t i, const void* values) { tap(image, tensor(i), values); };
    run_image(images.data() + image * input_count(), output.data() + image * output_count(), share_rows, made);
  };
  if (batch == 1) return run_one(0, true);
  parallel_for(batch, 1, [&](int64_t begin, int64_t end) {
    for (int64_t image = begin; image < end; ++image) run_one(image, false);
  });
}

// Two true divisions, as images are normalised in training.
void Engine::run_bytes(std::span<const uint8_t> images, std::span<float> output) const {
  const size_t channels = program_.mean.size();
  check(channels > 0, "engine: the program does not say how images are normalised");
  std::vector<float> normalised(images.size());
  for (size_t i = 0; i < images.size(); ++i)
    normalised[i] =
        (static_cast<float>(images[i]) / 255.0f - program_.mean[i % channels]) / program_.deviation[i % channels];
  run(normalised, output);
}

void Engine::run_image(const float* image, float* output, bool share_rows,
                       const std::function<void(int32_t, const void*)>& made) const {
  Scratch scratch;
  std::byte* arena = scratch.take<std::byte>(static_cast<size_t>(arena_bytes_));
  const auto offset = [&](int32_t i) { return offsets_[static_cast<size_t>(i)]; };
  std::memcpy(arena + offset(program_.input), image, static_cast<size_t>(tensor(program_.input).bytes()));
  for (size_t i = 0; i < program_.ops.size(); ++i) {
    run_op(i, arena, share_rows);
    if (made) made(program_.ops[i].output, arena + offset(program_.ops[i].output));
  }
  std::memcpy(output, arena + offset(program_.output), static_cast<size_t>(tensor(program_.output).bytes()));
}

void Engine::run_op(size_t index, std::byte* arena, bool share_rows) const {
  const Op& op = program_.ops[index];
  const ByteKernels& kernels = byte_kernels();
  const auto offset = [&](int32_t i) { return offsets_[static_cast<size_t>(i)]; };
  const TensorInfo &in = tensor(op.inputs[0]), &out = tensor(op.output);
  const int64_t from = offset(op.inputs[0]), to = offset(op.output);
  const auto count = static_cast<size_t>(out.count());
  const bool real = program_.rounding == Rounding::onnx;
  const auto operand = [&](size_t i) -> ByteOperand {
    const Grid& grid = tensor(op.inputs[i]).grid;
    return {at<uint8_t>(arena, offset(op.inputs[i])), static_cast<float>(grid.origin()),
            real                     ? step_of(grid.scale)
            : op.kind == OpKind::add ? op.input_rescale[i]
                                     : 1.0f};
  };
  const auto terms = [&] {
    std::vector<ByteTerm> list;
    for (size_t i = 0; i < op.inputs.size(); ++i)
      list.push_back({at<uint8_t>(arena, offset(op.inputs[i])), terms_[index].data() + 256 * i});
    return list;
  };
  const auto operands = [&] {
    std::vector<ByteOperand> list;
    for (size_t i = 0; i < op.inputs.size(); ++i) list.push_back(operand(i));
    return list;
  };
  if (out.type == Type::float32 && op.kind != OpKind::dequantize && op.kind != OpKind::channels_first) {
    std::vector<const void*> inputs;
    for (const int32_t input : op.inputs) inputs.push_back(arena + offset(input));
    return run_float_op(program_, op, float_weights_[index], inputs, at<float>(arena, to));
  }
  switch (op.kind) {
    case OpKind::quantize:
      return kernels.quantize(at<float>(arena, from), at<uint8_t>(arena, to), count, output_of(op));
    case OpKind::dequantize:
      return kernels.dequantize(operand(0), real ? 1.0f : in.grid.scale, at<float>(arena, to), count);
    case OpKind::conv:
      return run_conv(op, plans_[index]->layer(), arena, share_rows);
    case OpKind::add: {
      if (op.fixed_point) {
        const std::vector<ByteTerm> list = terms();
        return kernels.add_terms(list.data(), list.size(), at<uint8_t>(arena, to), count, integers_of(op));
      }
      const std::vector<ByteOperand> list = operands();
      if (real) return kernels.add_values(list.data(), list.size(), at<uint8_t>(arena, to), count, output_of(op));
      return kernels.add(list.data(), list.size(), at<uint8_t>(arena, to), count, op.input_limit, output_of(op));
    }
    case OpKind::multiply: {
      if (op.fixed_point) {
        const std::vector<ByteTerm> list = terms();
        return kernels.multiply_terms(list.data(), list.size(), at<uint8_t>(arena, to), count,
                                      fixed_point(op.rescale[0]), integers_of(op));
      }
      const std::vector<ByteOperand> list = operands();
      return kernels.multiply(list.data(), list.size(), at<uint8_t>(arena, to), count, output_of(op));
    }
    case OpKind::lookup: {
      uint8_t* y = at<uint8_t>(arena, to);
      for (size_t i = 0; i < op.inputs.size(); ++i) {
        const uint8_t* x = at<uint8_t>(arena, offset(op.inputs[i]));
        const int64_t channels = tensor(op.inputs[i]).channels, positions = int64_t{out.height} * out.width;
        for (int64_t p = 0; p < positions; ++p)
          for (int64_t c = 0; c < channels; ++c) y[p * out.channels + c] = op.tables[i][x[p * channels + c]];
        y += channels;
      }
      return;
    }
    case OpKind::max_pool:
      return kernels.max_pool(at<uint8_t>(arena, from), at<uint8_t>(arena, to), pool_geometry(program_, op));
    case OpKind::channels_first:
      if (in.type == Type::byte) return channels_first(at<uint8_t>(arena, from), at<uint8_t>(arena, to), in);
      return channels_first(at<float>(arena, from), at<float>(arena, to), in);
    default:
      return;  // float operations, above
  }
}

void Engine::run_conv(const Op& op, const ByteConvLayer& layer, std::byte* arena, bool share_rows) const {
  const auto* x = at<uint8_t>(arena, offsets_[static_cast<size_t>(op.inputs[0])]);
  auto* y = at<uint8_t>(arena, offsets_[static_cast<size_t>(op.output)]);
  parallel_for(layer.geometry.out_h, rows_of_band(layer, share_rows), [&](int64_t begin, int64_t end) {
    Scratch scratch;
    byte_kernels().conv(layer,
                        {.x = x,
                         .y = y,
                         .row_begin = begin,
                         .row_end = end,
                         .scratch = scratch.take<uint8_t>(static_cast<size_t>(byte_conv_scratch(layer, end - begin)))});
  });
}

}  // namespace qgrad::deploy

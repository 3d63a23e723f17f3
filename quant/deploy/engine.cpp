// One image at a time through the whole program, so that its tensors stay in the cache; a single image's convolutions
// are shared out by rows.
#include "quant/deploy/engine.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/kernels/byte_table.h"
#include "core/memory.h"
#include "core/parallel.h"
#include "quant/deploy/float_ops.h"

namespace qgrad::deploy {
namespace {

// Scratch under one band of rows: about as much as the first cache holds beside a panel of weights.
constexpr int64_t kBandNumbers = 1 << 13;

template <class T>
T* at(std::byte* arena, int64_t offset) {
  return reinterpret_cast<T*>(arena + offset);
}

int64_t rows_of_band(const ConvGeometry& g, bool share_rows) {
  const int64_t row = byte_conv_scratch(g, 2) - byte_conv_scratch(g, 1);
  const int64_t rows = std::clamp<int64_t>(kBandNumbers / row, 1, g.out_h);
  return share_rows ? std::min(rows, (g.out_h + 3) / 4) : rows;
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
  for (const Op& op : program_.ops) pack(op);
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

void Engine::pack(const Op& op) {
  Packed& packed = packed_.emplace_back();
  if (op.kind == OpKind::float_conv || op.kind == OpKind::real_conv) packed.real_weight = packed_floats(program_, op);
  if (op.kind != OpKind::conv) return;
  const ConvGeometry& g = packed.geometry = conv_geometry(program_, op);
  packed.weight.resize(static_cast<size_t>(byte_conv_packed(g)));
  byte_conv_pack(g, op.weight.data(), packed.weight.data());
  const auto lanes = static_cast<size_t>(byte_conv_panels(g) * kBytePanel);
  packed.bias.resize(lanes);
  for (std::vector<float>* values : {&packed.rescale, &packed.low, &packed.high}) values->resize(lanes);
  const int64_t out_group = g.out / g.groups, lanes_group = static_cast<int64_t>(lanes) / g.groups;
  const Grid& grid = tensor(op.output).grid;
  const int32_t qmin = grid.qmin + shift(grid);
  for (int64_t c = 0; c < g.out; ++c) {
    const auto from = static_cast<size_t>(c);
    const auto to = static_cast<size_t>(c / out_group * lanes_group + c % out_group);
    packed.bias[to] = op.bias[from];
    packed.rescale[to] = op.rescale[from];
    packed.low[to] = static_cast<float>(op.low[from] + qmin);
    packed.high[to] = static_cast<float>(op.high[from] + qmin);
  }
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

void Engine::run_image(const float* image, float* output, bool share_rows,
                       const std::function<void(int32_t, const void*)>& made) const {
  Scratch scratch;
  std::byte* arena = scratch.take<std::byte>(static_cast<size_t>(arena_bytes_));
  const auto offset = [&](int32_t i) { return offsets_[static_cast<size_t>(i)]; };
  std::memcpy(arena + offset(program_.input), image, static_cast<size_t>(tensor(program_.input).bytes()));
  for (size_t i = 0; i < program_.ops.size(); ++i) {
    run_op(program_.ops[i], packed_[i], arena, share_rows);
    if (made) made(program_.ops[i].output, arena + offset(program_.ops[i].output));
  }
  std::memcpy(output, arena + offset(program_.output), static_cast<size_t>(tensor(program_.output).bytes()));
}

void Engine::run_op(const Op& op, const Packed& packed, std::byte* arena, bool share_rows) const {
  const ByteKernels& kernels = byte_kernels();
  const auto offset = [&](int32_t i) { return offsets_[static_cast<size_t>(i)]; };
  const TensorInfo &in = tensor(op.inputs[0]), &out = tensor(op.output);
  const int64_t from = offset(op.inputs[0]), to = offset(op.output);
  const auto count = static_cast<size_t>(out.count());
  const bool real = program_.rounding == Rounding::onnx;
  const auto operand = [&](size_t i) -> ByteOperand {
    const Grid& grid = tensor(op.inputs[i]).grid;
    return {at<uint8_t>(arena, offset(op.inputs[i])), static_cast<float>(grid.origin()),
            real                       ? step_of(grid.scale)
            : op.input_rescale.empty() ? 1.0f
                                       : op.input_rescale[i]};
  };
  const auto operands = [&] {
    std::vector<ByteOperand> list;
    for (size_t i = 0; i < op.inputs.size(); ++i) list.push_back(operand(i));
    return list;
  };
  if (out.type == Type::float32 && op.kind != OpKind::dequantize && op.kind != OpKind::channels_first) {
    std::vector<const void*> inputs;
    for (const int32_t input : op.inputs) inputs.push_back(arena + offset(input));
    return run_float_op(program_, op, packed.real_weight, inputs, at<float>(arena, to));
  }
  switch (op.kind) {
    case OpKind::quantize:
      return kernels.quantize(at<float>(arena, from), at<uint8_t>(arena, to), count, output_of(op));
    case OpKind::dequantize:
      return kernels.dequantize(operand(0), real ? 1.0f : in.grid.scale, at<float>(arena, to), count);
    case OpKind::conv:
      return run_conv(op, packed, arena, share_rows);
    case OpKind::add: {
      const std::vector<ByteOperand> list = operands();
      if (real) return kernels.add_values(list.data(), list.size(), at<uint8_t>(arena, to), count, output_of(op));
      return kernels.add(list.data(), list.size(), at<uint8_t>(arena, to), count, op.input_limit, output_of(op));
    }
    case OpKind::multiply: {
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

void Engine::run_conv(const Op& op, const Packed& packed, std::byte* arena, bool share_rows) const {
  const ConvGeometry& g = packed.geometry;
  const TensorInfo &in = tensor(op.inputs[0]), &out = tensor(op.output);
  const ByteConv whole{.x = at<uint8_t>(arena, offsets_[static_cast<size_t>(op.inputs[0])]),
                       .origin = in.grid.origin(),
                       .weight = packed.weight.data(),
                       .bias = packed.bias.data(),
                       .rescale = packed.rescale.data(),
                       .low = packed.low.data(),
                       .high = packed.high.data(),
                       .zero_point = static_cast<float>(out.grid.zero_point - shift(out.grid)),
                       .qmin = static_cast<float>(out.grid.qmin + shift(out.grid)),
                       .y = at<uint8_t>(arena, offsets_[static_cast<size_t>(op.output)]),
                       .row_begin = 0,
                       .row_end = 0,
                       .scratch = nullptr};
  const int64_t rows = rows_of_band(g, share_rows);
  parallel_for(g.out_h, rows, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    ByteConv band = whole;
    band.row_begin = begin, band.row_end = end;
    band.scratch = scratch.take<int16_t>(static_cast<size_t>(byte_conv_scratch(g, end - begin)));
    byte_kernels().conv(g, band);
  });
}

}  // namespace qgrad::deploy

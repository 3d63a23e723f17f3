// One image at a time through the whole program, so that its tensors stay in the cache; a single image's convolutions
// are shared out by rows.
#include "engine/engine.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/divide_up.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/parallel.h"
#include "engine/byte_ranges.h"
#include "engine/conv_chain.h"
#include "engine/kernels/byte_plan.h"
#include "engine/kernels/byte_table.h"
#include "engine/moving_ops.h"
#include "engine/row_ops.h"

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

void run_byte_rows(const ByteConvLayer& layer, const uint8_t* x, uint8_t* y, int64_t begin, int64_t end) {
  Scratch scratch;
  auto* band = scratch.take<uint8_t>(static_cast<size_t>(byte_conv_scratch(layer, end - begin)));
  byte_kernels().conv(layer, {.x = x, .y = y, .row_begin = begin, .row_end = end, .scratch = band});
}

// The operands of a sum or a product: where they lie in the arena, and what their bytes stand for.
struct Operands {
  std::vector<int64_t> offsets;
  std::vector<ByteOperand> operands;

  const ByteOperand* in(std::byte* arena, Scratch& scratch) const {
    auto* list = scratch.take<ByteOperand>(operands.size());
    for (size_t i = 0; i < operands.size(); ++i) {
      list[i] = operands[i];
      list[i].x = at<uint8_t>(arena, offsets[i]);
    }
    return list;
  }
};

ByteOperand operand_of(const TensorInfo& tensor) {
  return {nullptr, static_cast<float>(tensor.origin()), tensor.grid.step()};
}

}  // namespace

Engine::Engine(Program program) : program_(std::make_shared<const Program>(std::move(program))) {
  validate(*program_);
  endings_ = float_endings(*program_);
  within_.resize(program_->ops.size());
  for (const FloatEnding& ending : endings_)
    for (const int32_t op : {ending.add, ending.clamp})
      if (op != FloatEnding::kNone) within_[static_cast<size_t>(op)] = true;
  chains_ = conv_chains(*program_, endings_);
  for (const auto& chain : chains_)
    for (const size_t op : std::span(chain).subspan(1)) within_[op] = true;
  plan_memory();
  std::vector<ByteRange> ranges(program_->tensors.size());
  for (const Op& op : program_->ops)
    ranges[static_cast<size_t>(op.output)] = range_of(op, tensor(op.output).type, ranges);
  // Numbers that are rounded to integers later have the bits of the simulation.
  std::vector<bool> may_round_elsewhere(
      program_->ops.size(),
      std::ranges::none_of(program_->tensors, [](const TensorInfo& t) { return t.type == Type::byte; }));
  for (const auto& chain : chains_)
    for (const size_t op : chain) may_round_elsewhere[op] = false;  // is computed in rows, not in tiles
  steps_.resize(program_->ops.size());
  float_weights_.resize(program_->ops.size()), byte_plans_.resize(program_->ops.size());
  parallel_for(std::ssize(steps_), 1, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      const Op& op = program_->ops[i];
      if (op.kind == OpKind::float_conv)
        float_weights_[i] = std::make_shared<const FloatWeights>(*program_, op, may_round_elsewhere[i]);
      if (op.kind == OpKind::conv || op.kind == OpKind::real_conv)
        byte_plans_[i] = byte_plan(op, ranges[static_cast<size_t>(op.inputs[0])]);
      steps_[i] = prepared(i);
    }
  });
  for (const auto& chain : chains_) {
    Step whole = prepared_chain(chain), alone = std::move(steps_[chain[0]]);
    steps_[chain[0]] = [=](std::byte* arena, Mode mode) { (mode.every_tensor ? alone : whole)(arena, mode); };
  }
}

ByteOutput Engine::output_of(const Op& op) const {
  const TensorInfo& out = tensor(op.output);
  const auto origin = static_cast<float>(out.origin());
  return {.step = out.grid.step(), .low = op.low[0] - origin, .high = op.high[0] - origin, .origin = origin};
}

Engine::Step Engine::prepared(size_t i) const {
  const Op& op = program_->ops[i];
  const TensorInfo &in = tensor(op.inputs[0]), &out = tensor(op.output);
  const int64_t from = offset(op.inputs[0]), to = offset(op.output);
  const auto count = static_cast<size_t>(out.count());
  const ByteKernels& kernels = byte_kernels();
  switch (op.kind) {
    case OpKind::quantize:
      return [=, &kernels, output = output_of(op)](std::byte* arena, Mode) {
        kernels.quantize(at<float>(arena, from), at<uint8_t>(arena, to), count, output);
      };
    case OpKind::dequantize:
      return [=, &kernels, operand = operand_of(in)](std::byte* arena, Mode) {
        ByteOperand x = operand;
        x.x = at<uint8_t>(arena, from);
        kernels.dequantize(x, at<float>(arena, to), count);
      };
    case OpKind::conv:
    case OpKind::real_conv:
      return prepared_conv(i);
    case OpKind::lookup:
      return prepared_lookup(op);
    case OpKind::channels_first:
      if (in.type == Type::byte)
        return
            [=, &in](std::byte* arena, Mode) { channels_first(at<uint8_t>(arena, from), at<uint8_t>(arena, to), in); };
      return [=, &in](std::byte* arena, Mode) { channels_first(at<float>(arena, from), at<float>(arena, to), in); };
    case OpKind::select:
      if (in.type == Type::byte)
        return [=, &in, &op, runs = runs_of(op.channels), zero = static_cast<uint8_t>(in.origin())](std::byte* arena,
                                                                                                    Mode) {
          select(at<uint8_t>(arena, from), at<uint8_t>(arena, to), in, op, runs, zero);
        };
      return [=, &in, &op, runs = runs_of(op.channels)](std::byte* arena, Mode) {
        select(at<float>(arena, from), at<float>(arena, to), in, op, runs, 0.0f);
      };
    case OpKind::gather:
      return prepared_gather(op);
    case OpKind::resample:
    case OpKind::layer_norm:
    case OpKind::matmul:
    case OpKind::softmax:
      return prepared_rows(op);
    case OpKind::float_conv:
      return prepared_float_conv(i);
    default:
      break;
  }
  if (out.type == Type::float32) return prepared_float(op);
  if (op.kind == OpKind::max_pool)
    return [=, &kernels, geometry = pool_geometry(*program_, op)](std::byte* arena, Mode) {
      kernels.max_pool(at<uint8_t>(arena, from), at<uint8_t>(arena, to), geometry);
    };
  Operands operands;
  for (const int32_t input : op.inputs) {
    operands.offsets.push_back(offset(input));
    operands.operands.push_back(operand_of(tensor(input)));
  }
  return [=, kernel = op.kind == OpKind::add ? kernels.add : kernels.multiply, output = output_of(op)](std::byte* arena,
                                                                                                       Mode) {
    Scratch scratch;
    kernel(operands.in(arena, scratch), operands.offsets.size(), at<uint8_t>(arena, to), count, output);
  };
}

Engine::Step Engine::prepared_gather(const Op& op) const {
  std::vector<std::pair<int64_t, int64_t>> inputs;
  for (const int32_t input : op.inputs) inputs.emplace_back(offset(input), tensor(input).count());
  const int64_t to = offset(op.output);
  if (tensor(op.output).type == Type::byte)
    return [to, bytes = Gathered<uint8_t>(op, inputs)](std::byte* arena, Mode) {
      bytes.copy(arena, at<uint8_t>(arena, to));
    };
  return
      [to, floats = Gathered<float>(op, inputs)](std::byte* arena, Mode) { floats.copy(arena, at<float>(arena, to)); };
}

// Rows of floats, which become bytes where the output has some.
Engine::Step Engine::prepared_rows(const Op& op) const {
  const TensorInfo& out = tensor(op.output);
  const bool is_byte = out.type == Type::byte;
  ByteOutput output = is_byte ? output_of(op) : ByteOutput{};
  if (!op.rescale.empty()) output.step = 1;
  std::vector<int64_t> from;
  for (const int32_t input : op.inputs) from.push_back(offset(input));
  return [=, &op, &program = *program_, &kernels = byte_kernels(), rows = int64_t{out.height},
          width = int64_t{out.width} * out.channels, to = offset(op.output)](std::byte* arena, Mode mode) {
    parallel_for(rows, mode.share_rows ? (rows + 3) / 4 : rows, [&](int64_t begin, int64_t end) {
      Scratch scratch;
      float* values = is_byte ? scratch.take<float>(static_cast<size_t>(width)) : nullptr;
      const void** inputs = scratch.take<const void*>(from.size());
      for (size_t i = 0; i < from.size(); ++i) inputs[i] = arena + from[i];
      for (int64_t row = begin; row < end; ++row) {
        run_row(program, op, {inputs, from.size()}, row, is_byte ? values : at<float>(arena, to) + row * width);
        if (is_byte) kernels.quantize(values, at<uint8_t>(arena, to) + row * width, static_cast<size_t>(width), output);
      }
    });
  };
}

std::shared_ptr<const ByteConvPlan> Engine::byte_plan(const Op& op, const ByteRange& input) const {
  // The border's byte has to be one that copies with the lowest byte taken off can hold.
  const auto origin = static_cast<uint8_t>(tensor(op.inputs[0]).origin());
  return std::make_shared<const ByteConvPlan>(ByteConvSource{.geometry = conv_geometry(*program_, op),
                                                             .weight = op.weight,
                                                             .bias = op.bias,
                                                             .sum_shift = op.sum_shift,
                                                             .rescale = op.rescale,
                                                             .real_bias = op.real_bias,
                                                             .low = op.low,
                                                             .high = op.high,
                                                             .lowest = std::min(input.lowest, origin),
                                                             .highest = std::max(input.highest, origin),
                                                             .origin = origin,
                                                             .output_origin = tensor(op.output).origin()},
                                              byte_kernels().arithmetic);
}

Engine::Step Engine::prepared_conv(size_t i) const {
  const Op& op = program_->ops[i];
  return [plan = byte_plans_[i], from = offset(op.inputs[0]), to = offset(op.output)](std::byte* arena, Mode mode) {
    const ByteConvLayer& layer = plan->layer();
    parallel_for(layer.geometry.out_h, rows_of_band(layer, mode.share_rows), [&](int64_t begin, int64_t end) {
      run_byte_rows(layer, at<uint8_t>(arena, from), at<uint8_t>(arena, to), begin, end);
    });
  };
}

Engine::Step Engine::prepared_float(const Op& op) const {
  std::vector<int64_t> from;
  for (const int32_t input : op.inputs) from.push_back(offset(input));
  return [&op, &program = *program_, from, to = offset(op.output)](std::byte* arena, Mode) {
    Scratch scratch;
    auto* inputs = scratch.take<const float*>(from.size());
    for (size_t i = 0; i < from.size(); ++i) inputs[i] = at<float>(arena, from[i]);
    run_float_op(program, op, {inputs, from.size()}, at<float>(arena, to));
  };
}

// The clamp of an ending alone.
ConvEnding Engine::clamp_of(const FloatEnding& ending) const {
  if (ending.clamp == FloatEnding::kNone) return {};
  const Op& clamp = program_->ops[static_cast<size_t>(ending.clamp)];
  return {.clamps = true, .low = clamp.real_low, .high = clamp.real_high};
}

Engine::Step Engine::prepared_chain(const std::vector<size_t>& chain) const {
  std::vector<ConvChain::Link> links;
  for (const size_t i : chain) {
    const Op& op = program_->ops[i];
    const ConvGeometry g = dense_geometry(*program_, op);
    if (op.kind == OpKind::conv) {
      links.push_back(
          {g, sizeof(uint8_t),
           [plan = byte_plans_[i]](const std::byte* x, std::byte* y, int64_t begin, int64_t end, const std::byte*) {
             run_byte_rows(plan->layer(), reinterpret_cast<const uint8_t*>(x), reinterpret_cast<uint8_t*>(y), begin,
                           end);
           }});
      continue;
    }
    links.push_back({g, sizeof(float),
                     [g, weights = float_weights_[i], bias = op.real_bias.data(), ending = clamp_of(endings_[i]),
                      goes_on = i == chain[0]](const std::byte* x, std::byte* y, int64_t begin, int64_t end,
                                               const std::byte* addend) {
                       ConvForward conv{
                           .x = reinterpret_cast<const float*>(x), .weight = weights->panels, .bias = bias};
                       conv.y = reinterpret_cast<float*>(y);
                       conv.row_begin = begin, conv.row_end = end;
                       conv.ending = ending, conv.ending.addend = reinterpret_cast<const float*>(addend);
                       conv.goes_on = goes_on;
                       run_float_rows(g, conv);
                     }});
  }
  const FloatEnding& last = endings_[chain.back()];
  const bool adds = last.add != FloatEnding::kNone;
  return [links = ConvChain(std::move(links)), from = offset(program_->ops[chain[0]].inputs[0]), adds,
          addend = adds ? offset(last.addend) : 0, to = offset(last.output)](std::byte* arena, Mode mode) {
    links.run(arena + from, arena + to, adds ? arena + addend : nullptr, mode.share_rows);
  };
}

Engine::Step Engine::prepared_float_conv(size_t i) const {
  const Op& op = program_->ops[i];
  const FloatEnding& ending = endings_[i];
  const auto weights = float_weights_[i];
  const ConvEnding last = clamp_of(ending);
  const bool adds = ending.add != FloatEnding::kNone;
  return [=, &op, geometry = dense_geometry(*program_, op), from = offset(op.inputs[0]), alone = offset(op.output),
          addend = adds ? offset(ending.addend) : 0, to = offset(ending.output)](std::byte* arena, Mode mode) {
    ConvForward conv{.x = at<float>(arena, from), .weight = {}, .bias = op.real_bias.data()};
    conv.y = at<float>(arena, mode.every_tensor ? alone : to);
    if (!mode.every_tensor) conv.ending = last;
    if (!mode.every_tensor && adds) conv.ending.addend = at<float>(arena, addend);
    run_float_conv(geometry, *weights, conv, mode.share_rows);
  };
}

Engine::Step Engine::prepared_lookup(const Op& op) const {
  return [this_op = &op, &program = *program_, offsets = offsets_](std::byte* arena, Mode) {
    const Op& lookup = *this_op;
    const TensorInfo& out = program.tensors[static_cast<size_t>(lookup.output)];
    uint8_t* y = at<uint8_t>(arena, offsets[static_cast<size_t>(lookup.output)]);
    for (size_t i = 0; i < lookup.inputs.size(); ++i) {
      const auto input = static_cast<size_t>(lookup.inputs[i]);
      const uint8_t* x = at<uint8_t>(arena, offsets[input]);
      const int64_t channels = program.tensors[input].channels, positions = int64_t{out.height} * out.width;
      for (int64_t p = 0; p < positions; ++p)
        for (int64_t c = 0; c < channels; ++c) y[p * out.channels + c] = lookup.tables[i][x[p * channels + c]];
      y += channels;
    }
  };
}

// Every tensor gets the first gap among those that live at the same time. What a convolution stores for those that
// follow it lives from there on.
void Engine::plan_memory() {
  const size_t count = program_->tensors.size();
  std::vector<size_t> begin(count, 0), end(count, 0);  // operations
  for (size_t i = 0; i < program_->ops.size(); ++i) {
    begin[static_cast<size_t>(program_->ops[i].output)] = i;
    end[static_cast<size_t>(program_->ops[i].output)] = i;
    for (const int32_t input : program_->ops[i].inputs) end[static_cast<size_t>(input)] = i;
  }
  for (size_t i = 0; i < endings_.size(); ++i) {
    size_t& first = begin[static_cast<size_t>(endings_[i].output)];
    first = std::min(first, i);
  }
  for (const auto& chain : chains_) {
    size_t& first = begin[static_cast<size_t>(endings_[chain.back()].output)];
    first = std::min(first, chain[0]);
  }
  end[static_cast<size_t>(program_->output)] = program_->ops.size();
  offsets_.assign(count, 0);
  const auto room = [&](size_t i) {
    const auto alignment = static_cast<int64_t>(kAlignment);
    return round_up(program_->tensors[i].bytes(), alignment);
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
    run_image(images.data() + image * input_count(), output.data() + image * output_count(),
              {share_rows, static_cast<bool>(tap)}, made);
  };
  if (batch == 1) return run_one(0, true);
  parallel_for(batch, 1, [&](int64_t begin, int64_t end) {
    for (int64_t image = begin; image < end; ++image) run_one(image, false);
  });
}

// Two true divisions, as images are normalised in training.
void Engine::run_bytes(std::span<const uint8_t> images, std::span<float> output) const {
  const size_t channels = program_->mean.size();
  check(channels > 0, "engine: the program does not say how images are normalised");
  std::vector<float> normalised(images.size());
  for (size_t i = 0; i < images.size(); ++i)
    normalised[i] =
        (static_cast<float>(images[i]) / 255.0f - program_->mean[i % channels]) / program_->deviation[i % channels];
  run(normalised, output);
}

void Engine::run_image(const float* image, float* output, Mode mode,
                       const std::function<void(int32_t, const void*)>& made) const {
  Scratch scratch;
  std::byte* arena = scratch.take<std::byte>(static_cast<size_t>(arena_bytes_));
  std::memcpy(arena + offset(program_->input), image, static_cast<size_t>(tensor(program_->input).bytes()));
  for (size_t i = 0; i < program_->ops.size(); ++i) {
    if (within_[i] && !mode.every_tensor) continue;
    steps_[i](arena, mode);
    if (made) made(program_->ops[i].output, arena + offset(program_->ops[i].output));
  }
  std::memcpy(output, arena + offset(program_->output), static_cast<size_t>(tensor(program_->output).bytes()));
}

}  // namespace qgrad::deploy

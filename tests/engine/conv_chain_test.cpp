// Convolutions that run as one give the bits of one after the other.
#include "engine/conv_chain.h"

#include <algorithm>

#include "engine/engine.h"
#include "support/catch.h"
#include "support/threads.h"
#include "support/values.h"

using namespace qgrad;
using namespace qgrad::deploy;
using namespace qgrad::test;

namespace {

constexpr int32_t kDeep = 20, kHeight = 66, kWidth = 53;  // more floats than a chain may keep

struct Net {
  Program program;
  int32_t last = 0;  // tensor

  Net() { program.tensors = {{.type = Type::float32, .height = kHeight, .width = kWidth, .channels = kDeep}}; }

  int32_t emit(Op op, int32_t height, int32_t width) {
    program.tensors.push_back({.type = Type::float32, .height = height, .width = width, .channels = kDeep});
    op.output = last = static_cast<int32_t>(program.tensors.size()) - 1;
    program.ops.push_back(std::move(op));
    return program.output = last;
  }
  const TensorInfo& tensor(int32_t i) const { return program.tensors[static_cast<size_t>(i)]; }
  int32_t conv(int32_t input, Window window) {
    const auto weights = static_cast<size_t>(window.kernel_h * window.kernel_w * kDeep * kDeep / window.groups);
    const auto seed = static_cast<uint64_t>(program.ops.size());
    const auto size = [](int32_t in, int32_t kernel, int32_t stride, int32_t padding, int32_t dilation) {
      return (in + 2 * padding - (kernel - 1) * dilation - 1) / stride + 1;
    };
    const TensorInfo& in = tensor(input);
    const int32_t height = size(in.height, window.kernel_h, window.stride_h, window.padding_h, window.dilation_h);
    const int32_t width = size(in.width, window.kernel_w, window.stride_w, window.padding_w, window.dilation_w);
    return emit({.kind = OpKind::float_conv,
                 .inputs = {input},
                 .window = window,
                 .real_weight = normal_values(weights, 2 * seed),
                 .real_bias = normal_values(kDeep, 2 * seed + 1)},
                height, width);
  }
  int32_t pointwise(int32_t input) { return conv(input, {}); }
  int32_t depthwise(int32_t input, Window window = {.kernel_h = 3, .kernel_w = 3, .padding_h = 1, .padding_w = 1}) {
    window.groups = kDeep;
    return conv(input, window);
  }
  int32_t clamp(int32_t input) {
    return emit({.kind = OpKind::clamp, .inputs = {input}, .real_low = 0, .real_high = 6}, tensor(input).height,
                tensor(input).width);
  }
  int32_t sum(int32_t a, int32_t b) {
    return emit({.kind = OpKind::add, .inputs = {a, b}}, tensor(a).height, tensor(a).width);
  }
};

std::vector<std::vector<size_t>> chains_of(const Program& program) {
  return conv_chains(program, float_endings(program));
}

// Two inverted residual blocks, the second one with a stride.
Net inverted_residuals() {
  Net net;
  const int32_t first = net.pointwise(0);
  const int32_t deep = net.clamp(net.depthwise(net.clamp(net.pointwise(first))));
  const int32_t end = net.sum(net.pointwise(deep), first);
  net.pointwise(net.clamp(
      net.depthwise(net.clamp(net.pointwise(end)),
                    {.kernel_h = 3, .kernel_w = 3, .stride_h = 2, .stride_w = 2, .padding_h = 1, .padding_w = 1})));
  return net;
}

void check_same_bits(const Program& program) {
  const Engine engine(program);
  const auto count = static_cast<size_t>(engine.input_count()), outputs = static_cast<size_t>(engine.output_count());
  const std::vector<float> images = normal_values(2 * count, 11);
  std::vector<float> every(2 * outputs), chained(2 * outputs), alone(2 * outputs);
  engine.run(images, every, [](int64_t, const TensorInfo&, const void*) {});
  engine.run(images, chained);
  CHECK(bits(chained) == bits(every));
  for (const int threads : {1, 2, 5}) {
    const Threads with(threads);
    for (size_t i = 0; i < 2; ++i) engine.run({&images[i * count], count}, {&alone[i * outputs], outputs});
    CHECK(bits(alone) == bits(every));
  }
  CHECK(std::ranges::any_of(every, [](float x) { return x != 0; }));
}

}  // namespace

TEST_CASE(
    "convolutions before and after a depthwise one make a chain, where what lies between is large and read once") {
  using Chains = std::vector<std::vector<size_t>>;
  CHECK(chains_of(inverted_residuals().program) == Chains{{1, 3, 5}, {7, 9}});  // the last reads a quarter of it
  Net dense;
  dense.pointwise(dense.pointwise(0));
  CHECK(chains_of(dense.program).empty());
  Net read_twice;
  const int32_t first = read_twice.pointwise(0);
  read_twice.sum(first, read_twice.depthwise(first));
  CHECK(chains_of(read_twice.program).empty());
  Net late_addend;
  const int32_t path = late_addend.pointwise(0), other = late_addend.pointwise(0);
  late_addend.sum(late_addend.depthwise(path), other);
  CHECK(chains_of(late_addend.program).empty());
  Net sum_between;
  sum_between.depthwise(sum_between.sum(sum_between.pointwise(0), 0));
  CHECK(chains_of(sum_between.program).empty());
  Net far_apart;  // so many rows under a window that each would be moved again and again
  far_apart.depthwise(far_apart.pointwise(0), {.kernel_h = 2, .kernel_w = 1, .padding_h = 30, .dilation_h = 60});
  CHECK(chains_of(far_apart.program).empty());
  Net small;
  small.program.tensors[0].height = 9;
  small.depthwise(small.pointwise(0));
  CHECK(chains_of(small.program).empty());
}

TEST_CASE("a chain gives the bits of its convolutions one after the other, on any number of threads") {
  check_same_bits(inverted_residuals().program);
  for (const int32_t kernel : {1, 2, 5})
    for (const int32_t stride : {1, 3})
      for (const int32_t dilation : {1, 4})
        for (const int32_t padding : {0, 1, 7}) {
          if (padding > (kernel - 1) * dilation) continue;  // size() would ask for windows in the padding alone
          CAPTURE(kernel, stride, dilation, padding);
          const Window window{.kernel_h = kernel,
                              .kernel_w = 3,
                              .stride_h = stride,
                              .stride_w = 1,
                              .padding_h = padding,
                              .padding_w = 1,
                              .dilation_h = dilation,
                              .dilation_w = 1};
          Net net;
          net.pointwise(
              net.depthwise(net.conv(net.depthwise(0), {.kernel_h = 3, .kernel_w = 3, .padding_h = 2}), window));
          REQUIRE(chains_of(net.program).size() == 1);
          REQUIRE(chains_of(net.program)[0].size() >= 3);
          check_same_bits(net.program);
        }
}

TEST_CASE("a chain of bytes gives the bits of its convolutions one after the other") {
  constexpr int32_t kSide = 117;  // more bytes than a chain may keep
  const Grid grid{.scale = 20, .zero_point = 0, .qmin = -128, .qmax = 127};
  Program p;
  const auto tensor = [&](Type type, int32_t side) {
    p.tensors.push_back({.type = type, .height = side, .width = side, .channels = kDeep});
    if (type == Type::byte) p.tensors.back().grid = grid;
    return static_cast<int32_t>(p.tensors.size()) - 1;
  };
  const auto conv = [&](int32_t side, const Window& window) {
    Op op{.kind = OpKind::conv, .inputs = {static_cast<int32_t>(p.tensors.size()) - 1}, .window = window};
    op.output = tensor(Type::byte, side);
    const int32_t weights = window.kernel_h * window.kernel_w * kDeep * kDeep / window.groups;
    for (int32_t i = 0; i < weights; ++i) op.weight.push_back(static_cast<int16_t>((i * 37 + side) % 255 - 127));
    op.bias.assign(kDeep, 17), op.rescale.assign(kDeep, window.groups > 1 ? 0.004f : 0.002f);
    op.low.assign(kDeep, 0), op.high.assign(kDeep, 255);
    p.ops.push_back(std::move(op));
  };
  for (const int32_t stride : {1, 2, 3}) {
    CAPTURE(stride);
    p = {};
    tensor(Type::float32, kSide);
    p.ops.push_back({.kind = OpKind::quantize, .inputs = {0}, .output = tensor(Type::byte, kSide)});
    p.ops[0].low = {0}, p.ops[0].high = {255};
    conv(kSide, {});
    const int32_t half = (kSide - 1) / stride + 1;
    conv(half, {.kernel_h = 3,
                .kernel_w = 3,
                .stride_h = stride,
                .stride_w = stride,
                .padding_h = 1,
                .padding_w = 1,
                .groups = kDeep});
    conv(half, {});
    const int32_t last = tensor(Type::float32, half);
    p.ops.push_back({.kind = OpKind::dequantize, .inputs = {last - 1}, .output = last});
    p.output = last;
    REQUIRE(chains_of(p) ==
            std::vector<std::vector<size_t>>{stride == 1 ? std::vector<size_t>{1, 2, 3} : std::vector<size_t>{1, 2}});
    check_same_bits(p);
  }
}

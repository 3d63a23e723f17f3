// Resampling, layer norms, products of matrices and softmax of bytes against their definitions.
#include "engine/row_ops.h"

#include <cmath>

#include "core/parallel.h"
#include "engine/engine.h"
#include "support/catch.h"
#include "support/values.h"

using namespace qgrad;
using namespace qgrad::deploy;

namespace {

const Grid kIn{.scale = 16, .zero_point = 40, .qmin = -128, .qmax = 127}, kOut{.scale = 5, .qmin = -128, .qmax = 127};

// Floats onto a grid, the operation, and back.
Program program_of(Op op, int32_t height, int32_t width, const TensorInfo& out) {
  const TensorInfo in{.name = "in", .height = height, .width = width, .channels = out.channels, .grid = kIn};
  TensorInfo image = in, values = out;
  for (TensorInfo* floats : {&image, &values}) floats->type = Type::float32, floats->grid = {}, floats->name = "";
  if (op.inputs.empty()) op.inputs = {1};
  op.output = 2;
  op.low = {5}, op.high = {250};
  Program p;
  p.tensors = {image, in, out, values};
  p.ops = {{.kind = OpKind::quantize, .inputs = {0}, .output = 1, .low = {0}, .high = {255}},
           op,
           {.kind = OpKind::dequantize, .inputs = {2}, .output = 3}};
  p.output = 3;
  return p;
}

struct Bytes {
  std::vector<int64_t> in, out;  // in steps from zero
};
Bytes run(const Program& program) {
  const Engine engine(program);
  const std::vector<float> x = test::normal_values(static_cast<size_t>(engine.input_count()), 3, 3);
  std::vector<float> y(static_cast<size_t>(engine.output_count()));
  Bytes bytes;
  engine.run(x, y, [&](int64_t, const TensorInfo& tensor, const void* values) {
    if (tensor.type != Type::byte) return;
    for (int64_t i = 0; i < tensor.count(); ++i)
      (tensor.name == "in" ? bytes.in : bytes.out).push_back(static_cast<const uint8_t*>(values)[i] - tensor.origin());
  });
  return bytes;
}

// Steps of the output's grid, as its limits leave them.
int64_t limited(float steps) { return std::clamp(std::llrint(steps), 5LL - 128, 250LL - 128); }

}  // namespace

TEST_CASE("a resample is the rounded multiple of an exact sum, on any number of threads") {
  Op op{.kind = OpKind::resample, .rescale = {0.0371f}, .rows = {0, 2, 3, 0, 1}, .columns = {4, 0, 1}};
  op.row_weights = {1, 3, 2, 2, 0, 5, -1, 1, 4, 0};
  op.column_weights = {1, 2, 3, 4, -5, 6, 0, 0, 7};
  const Program program = program_of(op, 5, 7, {.name = "out", .height = 5, .width = 3, .channels = 19, .grid = kOut});
  const int before = num_threads();
  for (const int threads : {1, 3}) {
    set_num_threads(threads);
    const auto [in, out] = run(program);
    REQUIRE(out.size() == 5 * 3 * 19);
    for (size_t y = 0; y < 5; ++y)
      for (size_t x = 0; x < 3; ++x)
        for (size_t c = 0; c < 19; ++c) {
          int64_t sum = 0;
          for (size_t i = 0; i < 2; ++i)
            for (size_t j = 0; j < 3; ++j)
              sum += static_cast<int64_t>(op.row_weights[2 * y + i] * op.column_weights[3 * x + j]) *
                     in[((static_cast<size_t>(op.rows[y]) + i) * 7 + static_cast<size_t>(op.columns[x]) + j) * 19 + c];
          CHECK(out[(y * 3 + x) * 19 + c] == limited(static_cast<float>(sum) * 0.0371f));
        }
  }
  set_num_threads(before);
}

TEST_CASE("a layer norm is that of real values") {
  constexpr size_t kChannels = 37;
  Op op{.kind = OpKind::layer_norm, .epsilon = 0.01f};
  op.real_weight = test::normal_values(kChannels, 1, 10);
  op.real_bias = test::normal_values(kChannels, 2);
  const auto [in, out] =
      run(program_of(op, 4, 3, {.name = "out", .height = 4, .width = 3, .channels = kChannels, .grid = kOut}));
  REQUIRE(out.size() == 12 * kChannels);
  int64_t apart = 0;
  for (size_t position = 0; position < 12; ++position) {
    const std::span<const int64_t> u = std::span(in).subspan(position * kChannels, kChannels);
    double mean = 0, variance = 0;
    for (const int64_t x : u) mean += static_cast<double>(x) / 16 / kChannels;
    for (const int64_t x : u) variance += std::pow(static_cast<double>(x) / 16 - mean, 2) / kChannels;
    for (size_t c = 0; c < kChannels; ++c) {
      const double normalized = (static_cast<double>(u[c]) / 16 - mean) / std::sqrt(variance + 0.01);
      const auto value = static_cast<float>(normalized) * op.real_weight[c] + op.real_bias[c];
      apart += out[position * kChannels + c] != limited(value / 0.2f);
    }
  }
  CHECK(apart == 0);
}

TEST_CASE("a product of matrices is the rounded multiple of an exact sum, on any number of threads") {
  constexpr size_t kSize = 19;
  const Program program = program_of({.kind = OpKind::matmul, .inputs = {1, 1}, .rescale = {0.00371f}}, 5, kSize,
                                     {.name = "out", .height = 5, .width = kSize, .channels = kSize, .grid = kOut});
  const int before = num_threads();
  for (const int threads : {1, 3}) {
    set_num_threads(threads);
    const auto [in, out] = run(program);
    REQUIRE(out.size() == 5 * kSize * kSize);
    int64_t apart = 0;
    for (size_t i = 0; i < out.size(); ++i) {
      const size_t matrix = i / kSize / kSize * kSize * kSize, row = i / kSize % kSize, column = i % kSize;
      int64_t sum = 0;
      for (size_t k = 0; k < kSize; ++k) sum += in[matrix + row * kSize + k] * in[matrix + k * kSize + column];
      apart += out[i] != limited(static_cast<float>(sum) * 0.00371f);
    }
    CHECK(apart == 0);
  }
  set_num_threads(before);
}

TEST_CASE("a softmax is that of real values") {
  constexpr size_t kChannels = 37;
  constexpr Grid kShares{.scale = 400, .zero_point = 128, .qmin = -128, .qmax = 127};
  Op op{.kind = OpKind::softmax};
  for (int i = 0; i < 256; ++i)
    op.exponentials.push_back(static_cast<int32_t>(std::llrint(0x1p30 * std::exp(-i / 16.0))));
  const auto [in, out] =
      run(program_of(op, 4, 3, {.name = "out", .height = 4, .width = 3, .channels = kChannels, .grid = kShares}));
  REQUIRE(out.size() == 12 * kChannels);
  for (size_t position = 0; position < 12; ++position) {
    double sum = 0;
    for (size_t c = 0; c < kChannels; ++c) sum += std::exp(static_cast<double>(in[position * kChannels + c]) / 16);
    for (size_t c = 0; c < kChannels; ++c) {
      const size_t i = position * kChannels + c;
      const double share = std::exp(static_cast<double>(in[i]) / 16) / sum;
      CHECK(std::fabs(static_cast<double>(out[i]) - std::clamp(share * 400, 5.0, 250.0)) < 0.5001);
    }
  }
}

TEST_CASE("a gather takes numbers of several inputs, and constants") {
  for (const Type type : {Type::byte, Type::float32}) {
    const auto floats = [](int32_t width) {
      return TensorInfo{.type = Type::float32, .height = 1, .width = width, .channels = 3};
    };
    Program p;
    p.tensors = {floats(4), floats(8), floats(3)};
    p.ops = {{.kind = OpKind::gather, .inputs = {0, 0}, .output = 1},
             {.kind = OpKind::gather,
              .inputs = {1, 0},
              .output = 2,
              .places = {35, -2, 0, 1, 2, 24, 25, -1, 23},
              .constants = {7, 9}}};
    for (int32_t i = 0; i < 24; ++i) p.ops[0].places.push_back(i);
    p.output = 2;
    std::vector<float> x(12), y(9);
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i + 1);
    if (type == Type::byte) {
      const Grid grid{.scale = 1, .qmin = 0, .qmax = 255};
      for (TensorInfo& t : p.tensors) t.type = Type::byte, t.grid = grid;
      for (Op& op : p.ops) {
        for (int32_t& input : op.inputs) ++input;
        ++op.output;
      }
      p.tensors.insert(p.tensors.begin(), floats(4));
      p.tensors.push_back(floats(3));
      p.ops.insert(p.ops.begin(), {.kind = OpKind::quantize, .inputs = {0}, .output = 1, .low = {0}, .high = {255}});
      p.ops.push_back({.kind = OpKind::dequantize, .inputs = {3}, .output = 4});
      p.output = 4;
    }
    Engine(p).run(x, y);
    CHECK(y == std::vector<float>{12, 9, 1, 2, 3, 1, 2, 7, 12});
  }
}

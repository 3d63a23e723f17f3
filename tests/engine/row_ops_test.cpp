// Resampling and layer norms of bytes against their definitions.
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
  op.inputs = {1}, op.output = 2;
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

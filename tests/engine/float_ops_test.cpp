// Float programs: what follows a convolution is done before its numbers are stored.
#include "engine/float_ops.h"

#include <algorithm>
#include <cmath>

#include "engine/engine.h"
#include "support/catch.h"
#include "support/values.h"

using namespace qgrad;
using namespace qgrad::deploy;
using namespace qgrad::test;

namespace {

constexpr int32_t kChannels = 20;

// Tensor i + 1 is what operation i makes.
Program float_program(std::vector<Op> ops) {
  Program p;
  p.tensors.resize(ops.size() + 1, {.type = Type::float32, .height = 6, .width = 5, .channels = kChannels});
  p.ops = std::move(ops);
  for (size_t i = 0; i < p.ops.size(); ++i) p.ops[i].output = static_cast<int32_t>(i) + 1;
  p.output = static_cast<int32_t>(p.ops.size());
  return p;
}

Op conv(int32_t input, uint64_t seed, int32_t groups = 1) {
  constexpr auto kCount = static_cast<size_t>(kChannels);
  return {.kind = OpKind::float_conv,
          .inputs = {input},
          .window = {.kernel_h = 3, .kernel_w = 3, .padding_h = 1, .padding_w = 1, .groups = groups},
          .real_weight = normal_values(9 * kCount * kCount / static_cast<size_t>(groups), seed),
          .real_bias = normal_values(kCount, seed + 1)};
}
Op sum(std::vector<int32_t> inputs) { return {.kind = OpKind::add, .inputs = std::move(inputs)}; }
Op clamp(int32_t input) { return {.kind = OpKind::clamp, .inputs = {input}, .real_low = 0, .real_high = 6}; }

// A shortcut's convolution after the path beside it, a sum that is read twice, and a depthwise convolution.
Program residual_net() {
  return float_program({conv(0, 1), clamp(1), conv(2, 3), conv(2, 5), sum({3, 4}), clamp(5), conv(6, 7, kChannels),
                        sum({6, 7}), conv(8, 9), sum({8, 9}), clamp(10), clamp(10), sum({11, 12})});
}

struct Ending {
  int32_t add, clamp, addend, output;
  bool operator==(const Ending&) const = default;
};
Ending ending_of(const Program& program, size_t op) {
  const FloatEnding e = float_endings(program)[op];
  return {e.add, e.clamp, e.addend, e.output};
}

}  // namespace

TEST_CASE("a convolution does the addition and the clamp that follow it, where nothing else reads what lies between") {
  const Program p = residual_net();
  CHECK(ending_of(p, 0) == Ending{-1, 1, -1, 2});
  CHECK(ending_of(p, 2) == Ending{-1, -1, -1, 3});  // the addend is not made yet
  CHECK(ending_of(p, 3) == Ending{4, 5, 3, 6});
  CHECK(ending_of(p, 6) == Ending{7, -1, 6, 8});
  CHECK(ending_of(p, 8) == Ending{9, -1, 8, 10});  // two clamps read the sum
  CHECK(ending_of(float_program({conv(0, 1), sum({1, 1})}), 0) == Ending{-1, -1, -1, 1});
  CHECK(ending_of(float_program({conv(0, 1), sum({1, 0, 0})}), 0) == Ending{-1, -1, -1, 1});
  CHECK(ending_of(float_program({conv(0, 1)}), 0) == Ending{-1, -1, -1, 1});
}

TEST_CASE("a float program gives the same bits whether every tensor is made or not, for any batch") {
  const Engine engine(residual_net());
  const auto count = static_cast<size_t>(engine.input_count());
  const std::vector<float> images = normal_values(3 * count, 11);
  std::vector<float> every(images.size()), stored(images.size()), alone(images.size());
  int64_t made = 0;
  engine.run({images.data(), count}, {every.data(), count}, [&](int64_t, const TensorInfo&, const void*) { ++made; });
  CHECK(made == std::ssize(engine.program().ops));
  engine.run(images, every, [](int64_t, const TensorInfo&, const void*) {});
  engine.run(images, stored);
  CHECK(bits(stored) == bits(every));
  for (size_t i = 0; i < images.size(); i += count) engine.run({&images[i], count}, {&alone[i], count});
  CHECK(bits(alone) == bits(every));
  CHECK(std::ranges::any_of(every, [](float x) { return x != 0; }));
}

TEST_CASE("a program with bytes has the direct sums, where what it rounds is what the simulation does") {
  const auto first_tensor = [](Program program) {
    const Engine engine(std::move(program));
    const std::vector<float> image = normal_values(static_cast<size_t>(engine.input_count()), 12);
    std::vector<float> output(static_cast<size_t>(engine.output_count())), made;
    engine.run(image, output, [&](int64_t, const TensorInfo& tensor, const void* values) {
      const auto* numbers = static_cast<const float*>(values);
      if (made.empty()) made.assign(numbers, numbers + tensor.count());
    });
    return made;
  };
  Program floats = float_program({conv(0, 1)}), mixed = floats;
  mixed.tensors.push_back({.name = "bytes", .height = 6, .width = 5, .channels = kChannels});
  mixed.tensors.back().grid = {.scale = 10, .zero_point = 0, .qmin = -128, .qmax = 127};
  mixed.ops.push_back({.kind = OpKind::quantize, .inputs = {1}, .output = 2, .low = {0}, .high = {255}});
  mixed.tensors.push_back(floats.tensors[0]);
  mixed.ops.push_back({.kind = OpKind::dequantize, .inputs = {2}, .output = 3});
  mixed.output = 3;

  std::vector<float> direct(static_cast<size_t>(floats.tensors[1].count()));
  const Op& op = floats.ops[0];
  const std::vector<float> image = normal_values(direct.size(), 12);
  run_float_conv(dense_geometry(floats, op), FloatWeights(floats, op),
                 {.x = image.data(), .weight = {}, .bias = op.real_bias.data(), .y = direct.data()}, false);
  CHECK(bits(first_tensor(mixed)) == bits(direct));
  const std::vector<float> by_points = first_tensor(floats);
  CHECK(bits(by_points) != bits(direct));
  for (size_t i = 0; i < direct.size(); ++i) CHECK(std::abs(by_points[i] - direct[i]) < 1e-4f);
}

// What makes a program one that an engine can run.
#include "engine/program.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "core/error.h"
#include "engine/kernels/byte_kernels.h"
#include "engine/op_check.h"

namespace qgrad::deploy {
namespace {

constexpr int32_t kLargestDimension = 1 << 20;
constexpr size_t kLongestName = 1000;
constexpr int32_t kLongestSide = 4096;  // of a picture that is resized

void check_tensor(const TensorInfo& t) {
  check(t.type == Type::float32 || t.type == Type::byte, "tensor '{}': unknown type {}", t.name,
        static_cast<int>(t.type));
  for (const int32_t dimension : {t.height, t.width, t.channels})
    check(dimension >= 1 && dimension <= kLargestDimension, "tensor '{}': expected dimensions from 1 to {}, got {}",
          t.name, kLargestDimension, dimension);
  check(t.count() / t.channels <= kLargestTensor / t.channels, "tensor '{}': more than {} numbers", t.name,
        kLargestTensor);
  if (t.type == Type::float32) return check(t.grid == Grid{}, "tensor '{}': floats have no grid", t.name);
  const Grid& g = t.grid;
  check(std::isfinite(g.scale) && g.scale > 0, "tensor '{}': expected a positive scale, got {}", t.name, g.scale);
  const auto is_whole = [](float x) { return std::nearbyint(x) == x; };
  check(std::fabs(g.qmin) <= kByteGridLimit && std::fabs(g.zero_point) <= 2 * kByteGridLimit && is_whole(g.qmin) &&
            is_whole(g.qmax) && is_whole(g.zero_point) && g.qmin <= g.qmax && g.qmax - g.qmin <= 255 &&
            g.lowest() <= 0 && g.highest() >= 0,
        "tensor '{}': integers {} to {} with zero point {} are no bytes, or have none for zero", t.name, g.qmin, g.qmax,
        g.zero_point);
}

// Sizes are added up only while each is known to be within its own limit, so nothing overflows.
void check_tensors(const std::vector<TensorInfo>& tensors) {
  check(tensors.size() <= kMostTensors, "program: {} tensors, at most {} are allowed", tensors.size(), kMostTensors);
  int64_t bytes = 0;
  for (const TensorInfo& tensor : tensors) {
    check_tensor(tensor);
    bytes += tensor.bytes();
    check(bytes <= kMostTensorBytes, "program: tensors of more than {} bytes together", kMostTensorBytes);
  }
}

// What is known about images and classes, in a program whose tensors are sound.
void check_labels(const Program& program) {
  const auto channels = static_cast<size_t>(program.tensors[static_cast<size_t>(program.input)].channels);
  const auto outputs = static_cast<size_t>(program.tensors[static_cast<size_t>(program.output)].count());
  const size_t given = program.mean.size();
  check(given == program.deviation.size() && (given == 0 || given == channels),
        "program: {} means and {} deviations for {} channels", given, program.deviation.size(), channels);
  for (size_t c = 0; c < given; ++c)
    check(std::isfinite(program.mean[c]) && std::isfinite(program.deviation[c]) && program.deviation[c] > 0,
          "program: expected finite means and positive deviations, got {} and {}", program.mean[c],
          program.deviation[c]);
  const auto& [resize, center_crop, background] = program.preparation;
  check(resize.size() <= 2 && center_crop <= 1 && (resize.empty() || center_crop == 1) &&
            std::ranges::all_of(resize, [](int32_t side) { return side >= 1 && side <= kLongestSide; }),
        "program: images are resized to {} numbers, of up to {}, and then cropped: {}", resize.size(), kLongestSide,
        center_crop);
  check(program.class_names.empty() || program.class_names.size() == outputs, "program: {} class names for {} outputs",
        program.class_names.size(), outputs);
  for (const std::string& name : program.class_names)
    check(name.size() <= kLongestName && name.find('\0') == std::string::npos,
          "program: a class name is longer than {} bytes, or holds a zero", kLongestName);
}

}  // namespace

void validate(const Program& program) {
  const auto is_tensor = [&](int32_t i) { return i >= 0 && static_cast<size_t>(i) < program.tensors.size(); };
  check_tensors(program.tensors);
  for (const int32_t end : {program.input, program.output})
    check(is_tensor(end) && program.tensors[static_cast<size_t>(end)].type == Type::float32,
          "program: input and output are float tensors; {} is none", end);
  check_labels(program);
  std::vector<bool> made(program.tensors.size());
  made[static_cast<size_t>(program.input)] = true;
  int64_t work = 0;
  for (size_t i = 0; i < program.ops.size(); ++i) {
    const Op& op = program.ops[i];
    for (const int32_t input : op.inputs)
      check(is_tensor(input) && made[static_cast<size_t>(input)], "operation {}: input {} was not made before", i,
            input);
    check(is_tensor(op.output) && !made[static_cast<size_t>(op.output)], "operation {}: output {} can not be made", i,
          op.output);
    try {
      check_op(program, op);
      work += std::min(work_of(program, op), kMostWork + 1);
      check(work <= kMostWork, "the program computes more than {} products for an image", kMostWork);
    } catch (const Error& e) {
      fail("operation {}, '{}': {}", i, program.tensors[static_cast<size_t>(op.output)].name, e.what());
    }
    made[static_cast<size_t>(op.output)] = true;
  }
  const auto missing = std::ranges::find(made, false);
  check(missing == made.end(), "program: tensor {} is never made", missing - made.begin());
}

}  // namespace qgrad::deploy

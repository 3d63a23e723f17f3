// Programs that would take more memory or time than any device has.
#include "engine/program.h"
#include "support/catch.h"
#include "support/errors.h"

namespace program_limits_test {

using namespace qgrad;
using deploy::OpKind;
using deploy::Program;
using deploy::Type;

TEST_CASE("a program that asks for more memory or work than is allowed is refused") {
  const auto why = [](const Program& p) { return test::error_of([&] { deploy::validate(p); }); };
  const auto floats = [](int32_t height, int32_t width, int32_t channels) {
    return deploy::TensorInfo{.type = Type::float32, .height = height, .width = width, .channels = channels};
  };
  Program p;
  p.tensors = {floats(1 << 14, 1 << 13, 1)};
  CHECK_THAT(why(p), Contains("more than 67108864 numbers"));
  p.tensors = {floats(1 << 13, 1 << 13, 1), floats(1 << 13, 1 << 13, 1), floats(1, 1, 1)};
  CHECK_THAT(why(p), Contains("tensors of more than 536870912 bytes together"));
  p.tensors.assign(deploy::kMostTensors + 1, floats(1, 1, 1));
  CHECK_THAT(why(p), Contains("8193 tensors, at most 8192"));

  // A window over the whole image at every position.
  p.tensors = {floats(2047, 2047, 1), floats(2048, 2048, 1)};
  p.ops = {{.kind = OpKind::max_pool,
            .inputs = {0},
            .output = 1,
            .window = {.kernel_h = 1024, .kernel_w = 1024, .padding_h = 512, .padding_w = 512}}};
  p.output = 1;
  CHECK_THAT(why(p), Contains("computes more than 137438953472 products"));
  p.ops[0].kind = OpKind::float_conv;
  p.ops[0].real_weight.assign(1 << 20, 0.0f), p.ops[0].real_bias = {0};
  CHECK_THAT(why(p), Contains("computes more than 137438953472 products"));
  p.ops[0].window = {.kernel_h = 8, .kernel_w = 8, .padding_h = 4, .padding_w = 4};
  p.ops[0].real_weight.resize(64);
  CHECK_NOTHROW(deploy::validate(p));
  p.tensors.push_back(floats(1, 1, 1));
  CHECK_THAT(why(p), Contains("tensor 2 is never made"));
}

}  // namespace program_limits_test

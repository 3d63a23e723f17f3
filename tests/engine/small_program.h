// A small integer program made by hand, for tests of files and interfaces.
#pragma once

#include "engine/program.h"

namespace qgrad::test {

// Images of 4x4x3, a convolution and an average to two classes with names.
inline deploy::Program small_program() {
  const Grid grid{.scale = 100, .zero_point = 0, .qmin = -128, .qmax = 127};
  deploy::Program p;
  p.tensors = {{.name = "input", .type = deploy::Type::float32, .height = 4, .width = 4, .channels = 3},
               {.name = "quantized", .height = 4, .width = 4, .channels = 3, .grid = grid},
               {.name = "conv", .height = 4, .width = 4, .channels = 2, .grid = grid},
               {.name = "values", .type = deploy::Type::float32, .height = 4, .width = 4, .channels = 2},
               {.name = "output", .type = deploy::Type::float32, .height = 1, .width = 1, .channels = 2}};
  p.ops = {
      {.kind = deploy::OpKind::quantize, .inputs = {0}, .output = 1, .low = {0}, .high = {255}},
      {.kind = deploy::OpKind::conv,
       .inputs = {1},
       .output = 2,
       .window = {.kernel_h = 3, .kernel_w = 3, .padding_h = 1, .padding_w = 1},
       .bias = {5, -900},
       .rescale = {0.01f, 0.02f},
       .low = {0, 128},
       .high = {255, 200}},
      {.kind = deploy::OpKind::dequantize, .inputs = {2}, .output = 3},
      {.kind = deploy::OpKind::average_pool, .inputs = {3}, .output = 4, .window = {.kernel_h = 4, .kernel_w = 4}}};
  for (int i = 0; i < 3 * 3 * 3 * 2; ++i) p.ops[1].weight.push_back(static_cast<int16_t>(i * 37 % 255 - 127));
  p.output = 4;
  p.mean = {0.5f, 0.4f, 0.3f};
  p.deviation = {0.25f, 0.5f, 1.0f};
  p.class_names = {"cat", "ship"};
  return p;
}

}  // namespace qgrad::test

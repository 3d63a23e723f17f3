// Counts that were made with ONNX Runtime 1.32 on x86, and for ARM by its formulas: every pair of bytes, every sum.
#include "quant/export/runtime_form.h"

#include <algorithm>

#include "nn/onnx/onnx_file.h"
#include "quant/export/onnx.h"
#include "support/catch.h"

using namespace qgrad;
using namespace qgrad::deploy;

namespace {

// A grid whose byte `origin` stands for zero.
Grid grid(float scale, int origin) {
  return {.scale = scale, .zero_point = static_cast<float>(-origin), .qmin = 0, .qmax = 255};
}

// An operation on two tensors of bytes, which are made of one image.
Program of_pairs(OpKind kind, const Grid& a, const Grid& b, const Grid& y) {
  const auto images = [](const Grid& g) { return TensorInfo{.height = 2, .width = 2, .channels = 3, .grid = g}; };
  Program p;
  p.tensors = {images({}), images(a), images(b), images(y), images({})};
  p.tensors[0].type = p.tensors[4].type = Type::float32;
  p.ops = {{.kind = OpKind::quantize, .inputs = {0}, .output = 1, .low = {0}, .high = {255}},
           {.kind = OpKind::quantize, .inputs = {0}, .output = 2, .low = {0}, .high = {255}},
           {.kind = kind, .inputs = {1, 2}, .output = 3, .low = {0}, .high = {255}},
           {.kind = OpKind::dequantize, .inputs = {3}, .output = 4}};
  p.output = 4;
  return p;
}

// The mean of 7x7 images.
Program mean(const Grid& x, const Grid& y) {
  Program p = of_pairs(OpKind::conv, x, x, y);
  for (const size_t i : {0, 1}) p.tensors[i].height = p.tensors[i].width = 7;
  for (const size_t i : {3, 4}) p.tensors[i].height = p.tensors[i].width = 1;
  p.tensors.erase(p.tensors.begin() + 2);
  p.ops.erase(p.ops.begin() + 1);
  const float weight_step = 1.0f / 49;
  p.ops[1] = {.kind = OpKind::conv,
              .inputs = {1},
              .output = 2,
              .window = {.kernel_h = 7, .kernel_w = 7, .groups = 3},
              .weight = std::vector<int16_t>(147, 1),
              .bias = {0, 0, 0},
              .weight_step = {weight_step},
              .rescale = std::vector<float>(3, x.step() * weight_step / y.step()),
              .low = {0, 0, 0},
              .high = {255, 255, 255}};
  p.ops[2].inputs = {2}, p.ops[2].output = p.output = 3;
  return p;
}

int64_t count(const std::string& bytes, const char* op) {
  return std::ranges::count(onnx::parse(bytes).nodes, op, &onnx::Node::op);
}

// The operation is written as `node` where nothing differs, or where that does not matter, and as `otherwise` else.
void check_written(const Program& program, int64_t differing, const char* node, const char* otherwise) {
  CHECK(count(onnx_model(program, {}), differing == 0 ? node : otherwise) == 1);
  CHECK(count(onnx_model(program, {.fused = true}), node) == 1);
  CHECK(onnx_differences(program).size() == (differing == 0 ? 0 : 1));
}

}  // namespace

TEST_CASE("sums of bytes that ONNX Runtime rounds otherwise are counted, and are Sum in a file") {
  struct Case {
    float a, b, y;
    int zero_a, zero_b, zero_y, differing;  // on x86, ARM, or both
  };
  for (const Case& c : {Case{0x1.678654p+5f, 0x1.562764p+5f, 0x1.4d1ae4p+5f, 10, 0, 9, 0},
                        Case{0x1.613d1p+4f, 0x1.69977ep+4f, 0x1.5d5b6ap+4f, 155, 141, 154, 1},     // 1, 0
                        Case{0x1.403ccap+4f, 0x1.d1b424p+4f, 0x1.18bc74p+4f, 56, 86, 52, 1},       // 0, 1
                        Case{0x1.6d303ap+5f, 0x1.b2b9b6p+4f, 0x1.68c61cp+4f, 3, 164, 83, 2},       // 2, 1
                        Case{0x1.23e43ap+6f, 0x1.98b9b6p+5f, 0x1.832c2ap+5f, 109, 187, 92, 3}}) {  // 2, 2
    const Program p = of_pairs(OpKind::add, grid(c.a, c.zero_a), grid(c.b, c.zero_b), grid(c.y, c.zero_y));
    const RuntimeForm form = runtime_form(p, p.ops[2]).value();
    CHECK(form.differing == c.differing);
    CHECK(form.of == 65536);
    check_written(p, c.differing, "Add", "Sum");
  }
}

TEST_CASE("products of bytes that ONNX Runtime rounds otherwise are counted, and hidden from it in a file") {
  struct Case {
    float a, b, y;
    int zero_a, zero_b, zero_y, differing;
  };
  for (const Case& c : {Case{0x1.2d1ed8p+5f, 0x1.4ffa34p+4f, 0x1.eecd4ap+2f, 0, 0, 100, 0},
                        Case{0x1.5097c6p+4f, 0x1.d77a6ep+5f, 0x1.61d882p+2f, 173, 84, 0, 3},
                        Case{0x1.a33142p+4f, 0x1.1f7354p+5f, 0x1.1557ep+2f, 163, 65, 100, 2},
                        Case{0x1.85c474p+5f, 0x1.6771dep+4f, 0x1.69cf54p+2f, 0, 0, 0, 8}}) {
    const Program p = of_pairs(OpKind::multiply, grid(c.a, c.zero_a), grid(c.b, c.zero_b), grid(c.y, c.zero_y));
    CHECK(runtime_form(p, p.ops[2]).value().differing == c.differing);
    CHECK(count(onnx_model(p, {}), "Mul") == 1);
    CHECK(count(onnx_model(p, {}), "Sum") == (c.differing == 0 ? 0 : 1));
    CHECK(count(onnx_model(p, {.fused = true}), "Sum") == 0);
  }
}

TEST_CASE("means that ONNX Runtime rounds otherwise are counted, and are convolutions in a file") {
  struct Case {
    float x, y;
    int zero, differing;
  };
  for (const Case& c : {Case{0x1.c3c32ap+6f, 0x1.22005ep+8f, 46, 0}, Case{0x1.4a9aecp+4f, 0x1.d8fffp+4f, 52, 1},
                        Case{0x1.02329cp+5f, 0x1.54abd4p+5f, 0, 1}, Case{0x1.75165ap+5f, 0x1.0e54ccp+7f, 135, 1}}) {
    const Program p = mean(grid(c.x, c.zero), grid(c.y, c.zero));
    const RuntimeForm form = runtime_form(p, p.ops[1]).value();
    CHECK(form.differing == c.differing);
    CHECK(form.of == 49 * 255 + 1);
    check_written(p, c.differing, "GlobalAveragePool", "Conv");
  }
}

TEST_CASE("other sums have no integer form, and scales far from each other's none that is known") {
  Program p = of_pairs(OpKind::add, grid(10, 0), grid(10, 0), grid(5, 0));
  p.ops[2].inputs.push_back(2);
  CHECK(!runtime_form(p, p.ops[2]));
  Program far = of_pairs(OpKind::add, grid(10, 0), grid(1e7f, 0), grid(5, 0));
  CHECK(runtime_form(far, far.ops[2]).value().differing == 65536);
  Program weighted = mean(grid(10, 0), grid(10, 0));
  weighted.ops[1].weight[3] = 2;
  CHECK(!runtime_form(weighted, weighted.ops[1]));
  for (const Op& op : p.ops)
    if (op.kind != OpKind::add) CHECK(!runtime_form(p, op));
}

// ONNX's own tests of operators: importing each as a network, and running it.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <map>
#include <string_view>

#include "core/file.h"
#include "nn/onnx/run_imported.h"
#include "support/catch.h"

namespace qgrad {
namespace {

namespace fs = std::filesystem;

// What the importer is for.
constexpr std::string_view kOperators =
    " Conv ConvTranspose BatchNormalization InstanceNormalization GroupNormalization LayerNormalization"
    " Gemm MatMul Add Sub Mul Div Pow Sqrt Max Min Neg Exp Relu LeakyRelu PRelu Clip Elu Sigmoid"
    " HardSigmoid HardSwish Tanh Softplus Erf Gelu Softmax LogSoftmax MaxPool AveragePool"
    " GlobalAveragePool GlobalMaxPool ReduceMean ReduceSum ReduceMax Concat Split Slice Pad Reshape"
    " Flatten Transpose Squeeze Unsqueeze Expand Gather Resize DepthToSpace Identity Dropout Cast Constant"
    " Where"
    " ";

bool is_ours(const onnx::Node& node) {
  return node.domain.empty() && kOperators.find(" " + node.op + " ") != std::string_view::npos;
}

// Tests that the importer refuses, by the beginning of their names, and why.
const std::map<std::string, std::string> kRefused{
    {"test_averagepool_2d_dilations", "averages over windows with gaps"},
    {"test_averagepool_3d", "windows over three dimensions"},
    {"test_convtranspose_3d", "windows over three dimensions"},
    {"test_maxpool_3d", "windows over three dimensions"},
    {"test_resize_downsample_scales_cubic_A_n0p5_exclude_outside",
     "exclude_outside: no exporter of networks writes it"},
    {"test_resize_upsample_scales_cubic_A_n0p5_exclude_outside", "exclude_outside: no exporter of networks writes it"},
    {"test_resize_downsample_scales_cubic_antialias", "antialiasing: a transformation of pictures"},
    {"test_resize_downsample_scales_linear_antialias", "antialiasing: a transformation of pictures"},
    {"test_resize_downsample_sizes_cubic_antialias", "antialiasing: a transformation of pictures"},
    {"test_resize_downsample_sizes_linear_antialias", "antialiasing: a transformation of pictures"},
    {"test_resize_tf_crop_and_resize", "cuts regions out of pictures, which the operator takes from an input"},
    {"test_training_dropout", "random numbers: networks are imported for evaluation"},
    {"test_where_example", "a choice by what the network computes: only of constants"},
    {"test_batchnorm_epsilon_training_mode", "statistics of the batch: networks are imported for evaluation"},
    {"test_batchnorm_example_training_mode", "statistics of the batch: networks are imported for evaluation"},
};

struct Case {
  std::string name;
  onnx::Model model;
  std::map<std::string, onnx::Constant> inputs;
  std::vector<onnx::Constant> outputs;
};

onnx::Constant tensor_in(const fs::path& file, const std::string& name) {
  onnx::Constant tensor = onnx::parse_tensor(read_file(file, "a tensor"));
  tensor.name = name;
  return tensor;
}

Case read_case(const fs::path& folder) {
  Case test{folder.filename().string(), onnx::read(folder / "model.onnx"), {}, {}};
  const fs::path data = folder / "test_data_set_0";
  for (size_t i = 0; i < test.model.inputs.size(); ++i) {
    const std::string& name = test.model.inputs[i].name;
    test.inputs[name] = tensor_in(data / fmt::format("input_{}.pb", i), name);
  }
  for (size_t i = 0; i < test.model.outputs.size(); ++i)
    test.outputs.push_back(tensor_in(data / fmt::format("output_{}.pb", i), test.model.outputs[i].name));
  return test;
}

// Float tests of the operators above; others are none of ours.
bool applies(const Case& test) {
  const auto is_float = [](const onnx::Constant& c) { return c.type == onnx::Type::float32; };
  return std::ranges::all_of(test.model.nodes, is_ours) &&
         std::ranges::any_of(test.inputs, [&](const auto& input) { return is_float(input.second); }) &&
         std::ranges::all_of(test.inputs, [](const auto& input) { return onnx::bytes_of(input.second.type) > 0; }) &&
         !test.outputs.empty() && is_float(test.outputs[0]);
}

Tensor floats_of(const onnx::Constant& c) {
  std::vector<float> values(c.values.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), c.values.data(), c.values.size());
  return Tensor::from(Shape(c.dims), values);
}

// With the first `free` float inputs as the network's, and all others constants.
std::string outcome(Case test, size_t free) {
  onnx::ImportOptions options{.any_batch = false};
  std::map<std::string, Tensor> x;
  for (const onnx::Value& input : test.model.inputs) {
    const onnx::Constant& value = test.inputs.at(input.name);
    if (value.type == onnx::Type::float32 && x.size() < free)
      x[input.name] = floats_of(value);
    else
      options.known[input.name] = value;
  }
  // Further outputs, as indices of maxima, are for others; those of floats are compared.
  while (test.outputs.back().type != onnx::Type::float32) {
    test.outputs.pop_back();
    test.model.outputs.pop_back();
  }
  const onnx::Imported imported = onnx::import_model(test.model, options);
  const std::vector<Tensor> results = test::run_imported(imported, x);
  for (size_t i = 0; i < results.size(); ++i)
    if (const auto wrong = test::difference(results[i], floats_of(test.outputs[i]), 1e-3, 1e-7); !wrong.empty())
      return fmt::format("output {}: {}", i, wrong);
  return "";
}

// "" where it passes, whichever inputs have to be constants.
std::string tried(const Case& test) {
  std::string first;
  for (const size_t free : {size_t{100}, size_t{1}}) {
    std::string why;
    try {
      why = outcome(test, free);
    } catch (const Error& e) {
      why = std::string("refused: ") + e.what();
    }
    if (why.empty()) return "";
    if (first.empty() || first.starts_with("refused")) first = why;
  }
  return first;
}

}  // namespace

TEST_CASE("ONNX's own tests of the operators that are imported", "[onnx-backend]") {
  const char* folder = std::getenv("QGRAD_ONNX_BACKEND");
  if (!folder) {
    std::cerr << "skipped: $QGRAD_ONNX_BACKEND names no folder that tests/onnx/backend_tests.py wrote\n";
    return;
  }
  std::vector<fs::path> folders;
  for (const fs::directory_entry& entry : fs::directory_iterator(fs::path(folder) / "node")) folders.push_back(entry);
  std::ranges::sort(folders);
  int passed = 0, refused = 0, other = 0;
  for (const fs::path& path : folders) {
    const Case test = read_case(path);
    if (!applies(test)) {
      ++other;
      continue;
    }
    const std::string why = tried(test);
    if (why.empty()) {
      ++passed;
      continue;
    }
    const auto known =
        std::ranges::find_if(kRefused, [&](const auto& entry) { return test.name.starts_with(entry.first); });
    if (why.starts_with("refused") && known != kRefused.end()) {
      ++refused;
      continue;
    }
    FAIL_CHECK(test.name << ": " << why);
  }
  std::cerr << fmt::format("ONNX's tests: {} passed, {} refused, {} of other operators or types\n", passed, refused,
                           other);
  CHECK(passed > 0);
}

}  // namespace qgrad

// Files that are damaged, or lie.
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "core/random.h"
#include "nn/models/architecture.h"
#include "nn/onnx/import.h"
#include "nn/onnx/run_imported.h"
#include "quant/export/lowering.h"
#include "quant/export/onnx.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/temporary_folder.h"
#include "support/values.h"

namespace qgrad {
namespace {

constexpr const char* kNet = R"({"class": "network", "inputs": [{"name": "image", "shape": [6, 8, 3]}], "nodes": [
  {"name": "conv", "class": "Conv2d", "out": 4, "padding": 1},
  {"name": "relu", "class": "ReLU"},
  {"name": "pool", "class": "MaxPool2d", "kernel": 2},
  {"name": "mix", "class": "Conv2d", "out": 4, "kernel": 1},
  {"name": "add", "class": "EltwiseAdd", "inputs": ["mix", "pool"]},
  {"name": "flat", "class": "Flatten"},
  {"name": "fc", "class": "Linear", "out": 5}]})";

// A float network, and the ONNX file that it is exported to.
struct Exported {
  ModulePtr model = Registry<Architecture>::create(Config::parse(kNet, "model"))->build(1);
  std::string bytes;

  Exported() {
    model->set_training(false);
    bytes = deploy::onnx_model(deploy::lower(*model, Tensor::zeros({1, 6, 8, 3})).program, {.name = "net"});
  }
};

}  // namespace

TEST_CASE("a float network that is exported and imported computes the same") {
  const Exported exported;
  const onnx::Imported imported = onnx::import_model(onnx::parse(exported.bytes), {});
  const Tensor x = test::normal_tensor({3, 6, 8, 3}, 1);
  const Tensor theirs = onnx::to_file(x, imported.inputs.at(0));
  const Tensor y = test::run_imported(imported, {{"input", theirs}}).at(0);
  CHECK(test::difference(y, exported.model->call(std::span(&x, 1)), 1e-5, 1e-6) == "");
}

TEST_CASE("damaged ONNX files are refused, or are other networks") {
  const Exported exported;
  RandomStream random(1, "damage");
  const auto number = [&](size_t below) { return static_cast<size_t>(random.uniform() * static_cast<float>(below)); };
  int refused = 0;
  for (int i = 0; i < 1000; ++i) {
    std::string bytes = exported.bytes;
    const size_t at = number(bytes.size());
    switch (i % 4) {
      case 0:
        bytes.resize(at);
        break;
      case 1:
        bytes[at] = static_cast<char>(number(256));
        break;
      case 2:
        bytes.erase(at, 1 + number(8));
        break;
      default:
        bytes.insert(at, std::string(1 + number(8), static_cast<char>(number(256))));
    }
    try {
      onnx::import_model(onnx::parse(bytes), {}).build();
    } catch (const Error&) {
      ++refused;
    }
  }
  CHECK(refused > 300);
}

TEST_CASE("values in other files are read from the model's folder alone") {
  test::TemporaryFolder folder;
  const auto outside = [&](const std::string& location) {
    // A model of one constant whose values are at `location`.
    const auto text = [](int field, const std::string& value) {
      return std::string(1, static_cast<char>(field << 3 | 2)) + static_cast<char>(value.size()) + value;
    };
    const std::string entry = text(1, "location") + text(2, location);
    const std::string constant = std::string("\x08\x01\x10\x01", 4) + text(8, "w") + text(13, entry) + "\x70\x01";
    write_file_atomically(folder.path() / "model.onnx", std::string("\x08\x08") + text(7, text(5, constant)));
    return test::error_of([&] { onnx::read(folder.path() / "model.onnx"); });
  };
  write_file_atomically(folder.path() / "inside", "1234");
  CHECK(outside("inside") == "no error");
  CHECK_THAT(outside("missing"), Contains("missing, which is not there"));
  CHECK_THAT(outside("/etc/passwd"), Contains("outside the folder of the model"));
  CHECK_THAT(outside("../../../etc/passwd"), Contains("outside the folder of the model") || Contains("is not there"));
}

TEST_CASE("what can not be imported is named, with what else can not be") {
  const Exported exported;
  onnx::Model model = onnx::parse(exported.bytes);
  model.nodes[0].op = "LSTM";
  model.nodes[0].name = "first";
  model.nodes[2].op = "NonMaxSuppression";
  const std::string error = test::error_of([&] { onnx::import_model(model, {}); });
  CHECK_THAT(error, Contains("node 'first' (LSTM, opset 13)"));
  CHECK_THAT(error, Contains("1 other nodes are not supported either: NonMaxSuppression"));
  model = onnx::parse(exported.bytes);
  std::swap(model.nodes.front(), model.nodes.back());
  CHECK_THAT(test::error_of([&] { onnx::import_model(model, {}); }), Contains("is made by no node before it"));
  model = onnx::parse(exported.bytes);
  model.inputs[0].dims[2] = onnx::Value::kUnknown;
  CHECK_THAT(test::error_of([&] { onnx::import_model(model, {}); }), Contains("its sizes are to be given"));
  CHECK_NOTHROW(onnx::import_model(model, {.sizes = {{"", {3, 6, 8}}}, .known = {}}));
}

}  // namespace qgrad

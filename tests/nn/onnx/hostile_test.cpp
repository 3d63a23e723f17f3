// Files that are damaged, or lie.
#include <limits>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "core/memory.h"
#include "core/random.h"
#include "nn/models/architecture.h"
#include "nn/onnx/import.h"
#include "nn/onnx/run_imported.h"
#include "quant/export/lowering.h"
#include "quant/export/onnx.h"
#include "support/allocations.h"
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

// The same with a megabyte of weights.
const std::string kLarge = [] {
  std::string text = kNet;
  return text.replace(text.find("\"out\": 5"), 8, "\"out\": 6000");
}();

// A float network, and the ONNX file that it is exported to.
struct Exported {
  ModulePtr model;
  std::string bytes;

  explicit Exported(const std::string& net)
      : model(Registry<Architecture>::create(Config::parse(net, "model"))->build(1)) {
    model->set_training(false);
    bytes = deploy::onnx_model(deploy::lower(*model, Tensor::zeros({1, 6, 8, 3})).program, {.name = "net"});
  }
};

}  // namespace

TEST_CASE("a float network that is exported and imported computes the same") {
  const Exported exported(kNet);
  const onnx::Imported imported = onnx::import_model(onnx::parse(exported.bytes), {});
  const Tensor x = test::normal_tensor({3, 6, 8, 3}, 1);
  const Tensor theirs = onnx::to_file(x, imported.inputs.at(0));
  const Tensor y = test::run_imported(imported, {{"input", theirs}}).at(0);
  CHECK(test::difference(y, exported.model->call(std::span(&x, 1)), 1e-5, 1e-6) == "");
}

namespace {

// Cut off, or with bytes that are others, too few or too many.
std::string damaged(std::string bytes, RandomStream& random, int kind) {
  const auto number = [&](size_t below) { return static_cast<size_t>(random.uniform() * static_cast<float>(below)); };
  const size_t at = number(bytes.size());
  if (kind == 0) bytes.resize(at);
  if (kind == 1) bytes[at] = static_cast<char>(number(256));
  if (kind == 2) bytes.erase(at, 1 + number(8));
  if (kind == 3) bytes.insert(at, std::string(1 + number(8), static_cast<char>(number(256))));
  return bytes;
}

// 0 where it is one.
int is_refused(const std::string& bytes) {
  try {
    onnx::import_model(onnx::parse(bytes), {}).build();
    return 0;
  } catch (const Error&) {
    return 1;
  }
}

}  // namespace

TEST_CASE("damaged ONNX files are refused, or are other networks") {
  const Exported exported(kNet);
  RandomStream random(1, "damage");
  int refused = 0;
  for (int i = 0; i < 1000; ++i) refused += is_refused(damaged(exported.bytes, random, i % 4));
  CHECK(refused > 300);
}

TEST_CASE("reading a damaged ONNX file takes no more memory than twice its size, and its network's tensors") {
  const Exported exported(kLarge);
  const auto size = std::ssize(exported.bytes);
  REQUIRE(size > 1'000'000);
  RandomStream random(2, "damage");
  // The graph stands at the start, behind it weights.
  const std::string graph = exported.bytes.substr(0, 1500), weights = exported.bytes.substr(1500);
  for (int i = 0; i < 1000; ++i) {
    const std::string bytes = damaged(graph, random, i % 4) + weights;
    pool::trim();
    const auto tensors = static_cast<int64_t>(pool::stats().bytes_reserved);
    const int64_t before = test::bytes_held();
    test::forget_most_bytes();
    is_refused(bytes);
    const int64_t heap = test::most_bytes() - before,
                  pool = static_cast<int64_t>(pool::stats().bytes_reserved) - tensors;
    CAPTURE(i);
    CHECK(heap < 2 * size + size / 10);  // where a byte makes all of it a name, which an error repeats
    CHECK(pool < 6 * size);              // weights as the file has them, as a layer wants them, and in the network
  }
}

// What a model of one node, whose first input is the network's and whose others are constants, is refused with.
namespace {
std::string why_not(const std::string& op, const std::vector<onnx::Constant>& constants,
                    std::map<std::string, onnx::Attribute> attributes = {}, std::vector<int64_t> input = {1, 4, 6, 6}) {
  onnx::Model model{.opset = 18, .constants = constants};
  model.inputs.push_back({.name = "x", .type = onnx::Type::float32, .dims = std::move(input)});
  model.inputs.back().symbols.resize(model.inputs.back().dims.size());
  model.outputs.push_back({.name = "y"});
  onnx::Node node{.op = op, .inputs = {"x"}, .outputs = {"y"}, .attributes = std::move(attributes)};
  for (const onnx::Constant& constant : constants) node.inputs.push_back(constant.name);
  model.nodes.push_back(std::move(node));
  return test::error_of([&] { onnx::import_model(model, {}).build(); });
}
template <class T>
onnx::Constant constant(const char* name, onnx::Type type, std::vector<int64_t> dims, const std::vector<T>& values) {
  return {.name = name,
          .type = type,
          .dims = std::move(dims),
          .values = {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)}};
}
onnx::Constant whole(const char* name, const std::vector<int64_t>& values) {
  return constant(name, onnx::Type::int64, {std::ssize(values)}, values);
}
onnx::Constant real(const char* name, std::vector<int64_t> dims, const std::vector<float>& values) {
  return constant(name, onnx::Type::float32, std::move(dims), values);
}
onnx::Attribute ints(std::vector<int64_t> values) { return {.ints = std::move(values)}; }
}  // namespace

TEST_CASE("a node with fewer inputs than its operator takes is refused") {
  for (const char* op : {"Mul", "Sub", "Div", "PRelu"})
    CHECK_THAT(why_not(op, {}), Contains("it has 1 inputs, expected 2 at least"));
  CHECK_THAT(why_not("InstanceNormalization", {real("w", {4}, {1, 1, 1, 1})}), Contains("it has no input 2"));
  CHECK_THAT(why_not("InstanceNormalization", {real("w", {1}, {1}), real("b", {1}, {1})}, {}, {3}),
             Contains("expected [N, C, ..]"));
}

TEST_CASE("whole numbers of a file wrap, and are refused where they would count something") {
  const int64_t most = std::numeric_limits<int64_t>::max(), least = std::numeric_limits<int64_t>::min();
  onnx::Model model{.opset = 18, .constants = {whole("a", {least}), whole("b", {most})}};
  model.inputs.push_back({.name = "x", .type = onnx::Type::float32, .dims = {1, 2}, .symbols = {"", ""}});
  model.outputs.push_back({.name = "y"});
  model.nodes = {{.op = "Neg", .inputs = {"a"}, .outputs = {"c"}},
                 {.op = "Sub", .inputs = {"c", "b"}, .outputs = {"d"}},
                 {.op = "Reshape", .inputs = {"x", "d"}, .outputs = {"y"}}};
  CHECK_THAT(test::error_of([&] { onnx::import_model(model, {}); }), Contains("can not become"));
  const onnx::Constant weight = real("w", {4, 4, 1, 1}, std::vector<float>(16, 1.0f));
  CHECK_THAT(why_not("Conv", {weight}, {{"strides", ints({most, 1})}}), Contains("is beyond 2147483647"));
  CHECK_THAT(why_not("Conv", {weight}, {{"dilations", ints({least, 1})}}), Contains("is beyond 2147483647"));
  CHECK_THAT(why_not("ConvTranspose", {weight}, {{"group", ints({most})}}), Contains("expected 1 to 2147483647"));
  CHECK_THAT(why_not("DepthToSpace", {}, {{"blocksize", ints({int64_t{1} << 32})}}), Contains("for blocksize"));
  CHECK_THAT(why_not("SpaceToDepth", {}, {{"blocksize", ints({int64_t{1} << 30})}}), Contains("does not divide"));
  CHECK_THAT(why_not("Split", {whole("s", {most, most})}, {{"axis", ints({1})}}), Contains("do not make up"));
  CHECK_THAT(why_not("GroupNormalization", {real("w", {0}, {}), real("b", {0}, {})}, {{"num_groups", ints({2})}}),
             Contains("0 numbers for 2 groups of 4 channels"));
  CHECK_THAT(why_not("Gemm", {whole("b", {})}, {}, {1, 4}), Contains("expected matrices of floats"));
  CHECK_THAT(why_not("Gemm", {constant<int64_t>("b", onnx::Type::int64, {1, 1}, {7})}, {}, {1, 1}),
             Contains("expected matrices of floats"));
}

TEST_CASE("a file that asks for more memory than a network of images takes is refused before it is had") {
  CHECK_THAT(why_not("Expand", {whole("shape", {1, 4, 1 << 20, 1 << 20})}, {}, {1, 4, 1, 1}),
             Contains("bytes more are beyond the 4294967"));
  CHECK_THAT(why_not("Relu", {}, {}, {1, 1 << 20, 1 << 20, 1 << 20}), Contains("is larger than 268435456 numbers"));
  CHECK_THAT(why_not("Reshape", {whole("shape", {int64_t{1} << 60, 16})}), Contains("is no shape that can be had"));
  std::string lying("\x08\x08\x3a\x10", 4);  // a graph with a constant of 2^60 numbers and no values
  lying += std::string("\x2a\x0e\x08\x80\x80\x80\x80\x80\x80\x80\x80\x10\x10\x01\x42\x00", 16);
  CHECK_THAT(test::error_of([&] { onnx::parse(lying); }), Contains("the dimension 1152921504606846976 is none"));
}

TEST_CASE("a window that would look at an image for hours is refused") {
  for (const char* op : {"MaxPool", "AveragePool"})
    CHECK_THAT(
        why_not(op, {}, {{"kernel_shape", ints({512, 512})}, {"pads", ints({511, 511, 511, 511})}}, {1, 4, 512, 512}),
        Contains("look at more than 2^35 numbers"));
  CHECK(why_not("GlobalAveragePool", {}, {}, {1, 4, 512, 512}) == "no error");
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
  std::filesystem::create_directory(folder.path() / "below");
  CHECK_THAT(outside("below"), Contains("below, which is no file"));
  CHECK_THAT(outside("."), Contains("., which is no file"));
  CHECK_THAT(outside("/etc/passwd"), Contains("outside the folder of the model"));
  CHECK_THAT(outside("../../../etc/passwd"), Contains("outside the folder of the model") || Contains("is not there"));
}

TEST_CASE("what can not be imported is named, with what else can not be") {
  const Exported exported(kNet);
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

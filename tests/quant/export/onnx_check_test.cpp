// Files that no runtime would take.
#include "quant/export/onnx_check.h"

#include <limits>

#include "quant/export/onnx_model.h"
#include "support/catch.h"
#include "support/errors.h"

using namespace qgrad;
using deploy::OnnxModel;
using deploy::OnnxType;
using test::error_of;

namespace {

constexpr int64_t kImage[] = {3, 4, 4};
using Attributes = std::vector<OnnxModel::Attribute>;

// What is wrong with a graph of one input [batch,3,4,4] whose output "y" has these dimensions.
template <class Add>
std::string complaint(std::vector<int64_t> dims, Add&& add, OnnxType type = OnnxType::float32) {
  OnnxModel model;
  model.input("x", OnnxType::float32, kImage);
  add(model);
  model.output("y", type, dims);
  return error_of([&] { deploy::check_onnx(model.bytes("g")); });
}
const std::vector<int64_t> kSame(std::begin(kImage), std::end(kImage));

Attributes window(int64_t kernel, int64_t groups) {
  return {{"kernel_shape", std::vector<int64_t>{kernel, kernel}},
          {"strides", std::vector<int64_t>{1, 1}},
          {"pads", std::vector<int64_t>{0, 0, 0, 0}},
          {"dilations", std::vector<int64_t>{1, 1}},
          {"group", groups}};
}
void add_weight(OnnxModel& model, std::vector<int64_t> dims, size_t numbers) {
  model.constant<float>("w", dims, std::vector<float>(numbers, 1.0f));
}

}  // namespace

TEST_CASE("a sound graph is accepted") {
  CHECK(complaint(kSame, [](OnnxModel& m) { m.node("Relu", {"x"}, "y"); }) == "no error");
  CHECK(complaint({2, 2, 2}, [](OnnxModel& m) {
          add_weight(m, {2, 3, 3, 3}, 54);
          m.node("Conv", {"x", "w"}, "y", window(3, 1));
        }) == "no error");
}

TEST_CASE("names that nobody made, or two, are refused") {
  CHECK_THAT(complaint(kSame, [](OnnxModel& m) { m.node("Relu", {"z"}, "y"); }),
             Contains("'z', which y (Relu) asks for, was not made before"));
  CHECK_THAT(complaint(kSame,
                       [](OnnxModel& m) {
                         m.node("Relu", {"a"}, "y");
                         m.node("Relu", {"x"}, "a");
                       }),
             Contains("'a', which y (Relu) asks for"));
  CHECK_THAT(complaint(kSame,
                       [](OnnxModel& m) {
                         m.node("Relu", {"x"}, "y");
                         m.scalar("y", 1.0f);
                       }),
             Contains("'y' is made twice"));
  CHECK_THAT(complaint(kSame, [](OnnxModel& m) { m.node("Relu", {"x"}, "z"); }), Contains("'y', which the graph"));
  CHECK_THAT(complaint(kSame,
                       [](OnnxModel& m) {
                         m.node("Cast", {""}, "y", {{"to", int64_t{1}}});
                       }),
             Contains("'', which y (Cast) asks for"));
}

TEST_CASE("constants that are no numbers, or not as many as they say, are refused with their name") {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
    CHECK_THAT(complaint(kSame,
                         [&](OnnxModel& m) {
                           m.scalar("bad", bad);
                           m.node("Mul", {"x", "bad"}, "y");
                         }),
               Contains("bad: holds"));
  CHECK_THAT(complaint(kSame,
                       [](OnnxModel& m) {
                         add_weight(m, {2, 3, 3, 3}, 53);
                         m.node("Conv", {"x", "w"}, "y", window(3, 1));
                       }),
             Contains("w: expected 216 bytes for dimensions [2, 3, 3, 3], got 212"));
}

TEST_CASE("steps of zero and zero points of another type are refused") {
  const auto quantized = [](float step, auto zero_point) {
    return complaint(
        kSame,
        [&](OnnxModel& m) {
          m.scalar("step", step);
          m.scalar("zero", zero_point);
          m.node("QuantizeLinear", {"x", "step", "zero"}, "y");
        },
        OnnxType::uint8);
  };
  CHECK(quantized(0.5f, uint8_t{3}) == "no error");
  CHECK_THAT(quantized(0.0f, uint8_t{3}), Contains("its step is 0"));
  CHECK_THAT(quantized(0.5f, int8_t{3}), Contains("input 2 has type 3, expected 2"));
}

TEST_CASE("shapes that do not fit an operator, or are not what is declared, are refused") {
  CHECK_THAT(complaint({2, 2, 2},
                       [](OnnxModel& m) {
                         add_weight(m, {2, 2, 3, 3}, 36);
                         m.node("Conv", {"x", "w"}, "y", window(3, 1));
                       }),
             Contains("weights [2, 2, 3, 3] in 1 groups do not fit [1, 3, 4, 4]"));
  CHECK_THAT(complaint({2, 3, 3},
                       [](OnnxModel& m) {
                         add_weight(m, {2, 3, 3, 3}, 54);
                         m.node("Conv", {"x", "w"}, "y", window(3, 1));
                       }),
             Contains("declared with type 1 and dimensions [-1, 2, 3, 3], made with 1 and [1, 2, 2, 2]"));
  CHECK_THAT(complaint(kSame,
                       [](OnnxModel& m) {
                         add_weight(m, {5}, 5);
                         m.node("Add", {"x", "w"}, "y");
                       }),
             Contains("can not be broadcast"));
  CHECK_THAT(complaint(kSame,
                       [](OnnxModel& m) {
                         m.node("Transpose", {"x"}, "y", {{"perm", std::vector<int64_t>{0, 2, 2, 1}}});
                       }),
             Contains("[0, 2, 2, 1] is no order of dimensions"));
  CHECK_THAT(complaint(kSame, [](OnnxModel& m) { m.node("Softmax", {"x"}, "y"); }), Contains("unknown operator"));
}

TEST_CASE("products, choices and largest numbers have the dimensions that theirs ask for") {
  const auto bytes = [](const char* op, std::vector<int64_t> second, OnnxType type, std::vector<int64_t> dims) {
    return complaint(
        dims,
        [&](OnnxModel& m) {
          m.node("Cast", {"x"}, "a", {{"to", static_cast<int64_t>(OnnxType::uint8)}});
          m.constant<uint8_t>("b", second,
                              std::vector<uint8_t>(static_cast<size_t>(second[1] * second[2] * second[3]), 1));
          m.scalar("zero", uint8_t{0});
          if (std::string_view(op) == "MatMulInteger") return void(m.node(op, {"a", "b", "zero", "zero"}, "y"));
          m.node("Cast", {"b"}, "mask", {{"to", static_cast<int64_t>(OnnxType::boolean)}});
          m.node(op, {"mask", "a", "a"}, "y");
        },
        type);
  };
  CHECK(bytes("MatMulInteger", {1, 3, 4, 2}, OnnxType::int32, {3, 4, 2}) == "no error");
  CHECK_THAT(bytes("MatMulInteger", {1, 3, 5, 2}, OnnxType::int32, {3, 4, 2}), Contains("have no product"));
  CHECK_THAT(bytes("MatMulInteger", {1, 2, 4, 2}, OnnxType::int32, {3, 4, 2}), Contains("have no product"));
  CHECK(bytes("Where", {1, 3, 4, 4}, OnnxType::uint8, kSame) == "no error");
  CHECK_THAT(bytes("Where", {1, 3, 4, 1}, OnnxType::uint8, kSame), Contains("inputs 0 and 1 have dimensions"));
  CHECK_THAT(complaint({1, 4, 4},
                       [](OnnxModel& m) {
                         m.node("ReduceMax", {"x"}, "y", {{"axes", std::vector<int64_t>{1}}});
                       }),
             Contains("input 0 has type 1, expected 6"));
}

TEST_CASE("bytes that end early are refused") {
  OnnxModel model;
  model.node("Relu", {"x"}, "y");
  const std::string bytes = model.bytes("g");
  for (size_t size = 1; size < bytes.size(); ++size)
    CHECK(error_of([&] { deploy::check_onnx(bytes.substr(0, size)); }) != "no error");
}

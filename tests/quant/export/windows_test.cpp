// Windows of layers, and those that programs have.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/ops.h"
#include "engine/program_file.h"
#include "nn/init.h"
#include "nn/layers/container.h"
#include "nn/layers/conv_transpose.h"
#include "nn/layers/norm.h"
#include "nn/layers/shape.h"
#include "quant/export/every_layer.h"
#include "quant/export/lowering.h"
#include "quant/export/onnx.h"
#include "quant/export/simulation.h"
#include "support/catch.h"
#include "support/errors.h"

namespace windows_test {

using namespace qgrad;

namespace {

// A net with this layer behind a convolution, quantized.
ModulePtr net_with(ModulePtr layer, const Json& config = Json::object()) {
  auto net = std::make_unique<Sequential>();
  net->add("conv", std::make_unique<Conv2d>(square_conv(3, 4, 3, 1, 1)));
  net->add("layer", std::move(layer));
  net->add("pool", std::make_unique<GlobalAvgPool2d>());
  net->add("flatten", std::make_unique<Flatten>());
  initialize(*net, 1, ConvInit::uniform_fan_in);
  return test::quantized(std::move(net), config, test::images(4, 1));
}

std::string why_no_program(const ModulePtr& model) {
  return test::error_of([&] { deploy::lower(*model, test::images(1, 2)); });
}

}  // namespace

TEST_CASE("windows that programs do not have are refused") {
  CHECK_THAT(why_no_program(net_with(std::make_unique<MaxPool2d>(Pool2dOptions{.dilation_h = 2}))),
             Contains("layer") && Contains("a maximum with dilation 2x1"));
}

namespace {

// The program of a net with this layer, which computes what the net does.
deploy::Program check_agrees(ModulePtr layer, const Json& config = Json::object()) {
  const ModulePtr model = net_with(std::move(layer), config);
  const deploy::Engine engine(deploy::lower(*model, test::images(1, 2)).program);
  const test::Agreement agreement = test::compare_with_simulation(*model, engine, test::images(5, 3));
  CHECK(agreement.integers > 0);
  CHECK(agreement.differing == 0);
  return engine.program();
}

// Whether the layer is this operation on bytes, and the file for other runtimes can be written.
bool becomes(deploy::OpKind kind, ModulePtr layer, const Json& config = Json::object()) {
  const deploy::Program program = check_agrees(std::move(layer), config);
  CHECK(deploy::onnx_model(program, {}).size() > 1000);
  CHECK(deploy::program_bytes(deploy::program_from_bytes(deploy::program_bytes(program), "test")) ==
        deploy::program_bytes(program));
  const auto op = std::ranges::find(program.ops, kind, &deploy::Op::kind);
  return op != program.ops.end() && program.tensors[static_cast<size_t>(op->output)].name == "layer" &&
         program.tensors[static_cast<size_t>(op->inputs[0])].type == deploy::Type::byte;
}

const std::vector<Json> kConfigs{
    Json::object(), {{"mode", "ASYMMETRIC_UNSIGNED"}, {"bits_activations", 4}}, {{"clip_acts", "AVG"}}};

// A layer that stays in float gives nearly what the net does.
void check_in_float(ModulePtr layer) {
  const Json in_float = {{"overrides", {{"layer", {{"bits_weights", nullptr}, {"bits_activations", nullptr}}}}}};
  const ModulePtr model = net_with(std::move(layer), in_float);
  const deploy::Program program = deploy::lower(*model, test::images(1, 2)).program;
  CHECK(deploy::float_sums_before_integers(program) == std::vector<std::string>{"layer"});
  CHECK(deploy::onnx_model(program, {}).size() > 1000);
  const deploy::Engine engine(program);
  const Tensor x = test::images(5, 3), expected = (*model)(x);
  Tensor y = Tensor::empty(expected.shape());
  engine.run(x.data(), y.mutable_data());
  CHECK(squared_distance(y, expected).item() < 1e-4f * sum(square(expected)).item());
}

}  // namespace

TEST_CASE("transposed convolutions become convolutions of stretched images") {
  for (const int64_t kernel : {2, 3})
    for (const int64_t stride : {1, 2, 3})
      for (const int64_t padding : {0, 1, 2})
        for (const int64_t groups : {1, 2}) {
          CAPTURE(kernel, stride, padding, groups);
          ConvTranspose2dConfig config{.in = 4, .out = 6, .kernel_h = kernel, .kernel_w = kernel};
          config.options.stride_h = stride;
          config.options.padding_h = config.options.padding_w = padding;
          config.options.dilation_w = 2;
          config.options.groups = groups;
          check_agrees(std::make_unique<ConvTranspose2d>(config));
        }
}

TEST_CASE("a transposed convolution that stretches nothing is written to a file as others are") {
  const ConvTranspose2dConfig config{.in = 4, .out = 4, .kernel_h = 1, .kernel_w = 1};
  CHECK(deploy::onnx_model(check_agrees(std::make_unique<ConvTranspose2d>(config)), {}).size() > 1000);
}

TEST_CASE("transposed convolutions in float give nearly the same") {
  ConvTranspose2dConfig config{.in = 4, .out = 4};
  config.options.stride_h = 2;
  check_in_float(std::make_unique<ConvTranspose2d>(config));
}

TEST_CASE("averages over what lies inside the image are exact sums of integers") {
  for (const Json& config : kConfigs)
    for (const int64_t kernel : {2, 3, 7})
      for (const bool ceil : {false, true}) {
        CAPTURE(config.dump(), kernel, ceil);
        const Pool2dOptions inside{.kernel_h = kernel,
                                   .kernel_w = 3,
                                   .stride_h = 2,
                                   .padding_h = kernel / 2,
                                   .padding_w = 1,
                                   .ceil = ceil,
                                   .count_padding = false};
        CHECK(becomes(deploy::OpKind::resample, std::make_unique<AvgPool2d>(inside), config));
      }
  // A last window that reaches beyond the padding.
  CHECK(becomes(deploy::OpKind::resample,
                std::make_unique<AvgPool2d>(
                    Pool2dOptions{.kernel_h = 3, .kernel_w = 3, .stride_h = 2, .stride_w = 2, .ceil = true})));
}

TEST_CASE("linear interpolation is an exact sum of integers") {
  for (const Json& config : kConfigs)
    for (const auto coordinates :
         {ResizeCoordinates::half_pixel, ResizeCoordinates::asymmetric, ResizeCoordinates::align_corners,
          ResizeCoordinates::pytorch_half_pixel, ResizeCoordinates::half_pixel_symmetric})
      for (const Json& size : {Json{16, 16}, Json{11, 5}, Json{8, 3}}) {
        CAPTURE(config.dump(), static_cast<int>(coordinates), size.dump());
        ResizeConfig resize;
        resize.size = size.get<std::vector<int64_t>>();
        resize.options.mode = ResizeMode::linear;
        resize.options.coordinates = coordinates;
        CHECK(becomes(deploy::OpKind::resample, std::make_unique<Resize>(resize), config));
      }
}

TEST_CASE("averages and interpolation in float give nearly the same") {
  check_in_float(std::make_unique<AvgPool2d>(
      Pool2dOptions{.kernel_h = 3, .kernel_w = 3, .padding_h = 1, .padding_w = 1, .count_padding = false}));
  ResizeConfig resize;
  resize.size = {11, 14};
  resize.options.mode = ResizeMode::linear;
  check_in_float(std::make_unique<Resize>(resize));
}

TEST_CASE("layer norms of channels have their moments from integers") {
  for (const Json& config : kConfigs)
    for (const bool affine : {false, true}) {
      CAPTURE(config.dump(), affine);
      CHECK(becomes(deploy::OpKind::layer_norm,
                    std::make_unique<LayerNorm>(LayerNormConfig{.shape = {4}, .affine = affine}), config));
    }
  CHECK_THAT(why_no_program(net_with(std::make_unique<LayerNorm>(LayerNormConfig{.shape = {8, 8, 4}}))),
             Contains("layer") && Contains("programs have no operation for it"));
}

namespace {

// A sum behind a stem, a batch norm of what several layers gave, and a convolution behind it.
struct Preactivation final : UnaryModule {
  Child stem = child<Conv2d>("stem", square_conv(3, 8, 3, 1, 1)), other = child<Conv2d>("other", square_conv(3, 8, 1));
  Child add = child<EltwiseAdd>("add"), norm = child<BatchNorm2d>("norm", 8), relu = child<ReLU>("relu");
  Child conv = child<Conv2d>("conv", square_conv(8, 4, 3)), pool = child<GlobalAvgPool2d>("pool");
  Child flat = child<Flatten>("flat");
  std::string_view kind() const override { return "Preactivation"; }

 protected:
  Tensor forward(const Tensor& x) override { return flat(pool(conv(relu(norm(add(stem(x), other(x))))))); }
};

ModulePtr preactivation() {
  auto net = std::make_unique<Preactivation>();
  initialize(*net, 1, ConvInit::uniform_fan_in);
  auto& norm = *net->norm.as<BatchNorm2d>();
  norm.weight.set_raw(test::normal_tensor({8}, 5));
  norm.bias.set_raw(test::normal_tensor({8}, 6));
  norm.running_mean.set(test::normal_tensor({8}, 7));
  return net;
}

}  // namespace

TEST_CASE("a batch norm that no layer takes up is a convolution of its own, without an error of its weights") {
  for (const bool per_channel : {true, false})
    for (const int bits : {8, 4}) {
      CAPTURE(per_channel, bits);
      const Json config = {{"per_channel_wts", per_channel}, {"bits_weights", bits}};
      const ModulePtr model = test::quantized(preactivation(), config, test::images(4, 1));
      CHECK(find_module(*model, "norm")->kind() == "RangeLinearQuantParamLayerWrapper");
      const deploy::Engine engine(deploy::lower(*model, test::images(1, 2)).program);
      const test::Agreement agreement = test::compare_with_simulation(*model, engine, test::images(5, 3));
      CHECK(agreement.layers >= 5);
      CHECK(agreement.differing == 0);
      CHECK(agreement.logits_differing == 0);
    }
}

TEST_CASE("options of windows that make no difference keep the integer form") {
  check_agrees(std::make_unique<AvgPool2d>(Pool2dOptions{.count_padding = false}));
  check_agrees(std::make_unique<AvgPool2d>(Pool2dOptions{.ceil = true}));
  check_agrees(std::make_unique<MaxPool2d>(Pool2dOptions{.ceil = true, .count_padding = false}));
}

TEST_CASE("windows may go further at the end of the image than at its start, or less far") {
  for (const auto& [start, end] : {std::pair(0, 1), std::pair(2, 0), std::pair(1, 2)})
    for (const int64_t stride : {1, 2}) {
      CAPTURE(start, end, stride);
      Conv2dConfig config = square_conv(4, 8, 3, stride, start);
      config.options.padding_end_h = config.options.padding_end_w = end;
      check_agrees(std::make_unique<Conv2d>(config));
    }
  check_agrees(std::make_unique<MaxPool2d>(Pool2dOptions{.kernel_h = 3, .kernel_w = 3, .ceil = true}));
  check_agrees(std::make_unique<AvgPool2d>(Pool2dOptions{.padding_end_h = 1, .padding_end_w = 1}));
  check_agrees(std::make_unique<GlobalMaxPool2d>());
}

TEST_CASE("a window of a program that starts behind the image, or leaves positions out, is refused") {
  const ModulePtr model = net_with(std::make_unique<MaxPool2d>(2));
  deploy::Program program = deploy::lower(*model, test::images(1, 2)).program;
  const auto pool = std::ranges::find(program.ops, deploy::OpKind::max_pool, &deploy::Op::kind);
  REQUIRE(pool != program.ops.end());
  int32_t& height = program.tensors[static_cast<size_t>(pool->output)].height;
  for (const int32_t wrong : {3, 5}) {
    height = wrong;
    CHECK_THAT(test::error_of([&] { deploy::validate(program); }),
               Contains(fmt::format("the window gives 4 to 4 rows and 4 to 4 columns, the output is {}x4", wrong)));
  }
}

}  // namespace windows_test

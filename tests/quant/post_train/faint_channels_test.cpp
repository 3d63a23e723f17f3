// Biases and grids that the steps of a layer's sums are too fine for: nothing is cut off, and the engine agrees.
#include <cmath>
#include <nlohmann/json.hpp>

#include "nn/fold.h"
#include "quant/export/every_layer.h"
#include "quant/export/lowering.h"
#include "quant/export/simulation.h"
#include "quant/post_train/equalization.h"
#include "quant/simulation/param_layer.h"
#include "support/catch.h"
#include "support/errors.h"

using namespace qgrad;
using test::error_of;
using test::every_layer;
using test::images;
using test::quantized;

namespace {

const Json kModes[] = {"SYMMETRIC",
                       "SYMMETRIC_RESTRICTED",
                       "ASYMMETRIC_UNSIGNED",
                       "ASYMMETRIC_SIGNED",
                       {{"activations", "ASYMMETRIC_SIGNED"}, {"weights", "SYMMETRIC_MIDRISE"}}};

struct Faint {
  const char* layer;
  bool whole_layer;  // else channel 1 alone
  float strength;    // the largest weight
  float constant;    // the bias
};

// The network with a channel, or a whole layer, of such weights and biases.
ModulePtr planted(const Faint& faint) {
  ModulePtr net = every_layer();
  const auto [weight, bias] = layer_parameters(*find_module(*net, faint.layer));
  Tensor w = weight.raw().clone(), b = bias.raw().clone();
  const auto channels = static_cast<size_t>(w.dim(-1));
  float largest = 0;
  for (const float value : w.data()) largest = std::max(largest, std::fabs(value));
  for (size_t i = 0; i < w.data().size(); ++i)
    if (faint.whole_layer || i % channels == 1) w.mutable_data()[i] *= faint.strength / largest;
  for (size_t c = 0; c < channels; ++c)
    if (faint.whole_layer || c == 1) b.mutable_data()[c] = c % 2 ? faint.constant : -faint.constant / 2;
  weight.set_raw(w), bias.set_raw(b);
  return net;
}

// Signal to noise of the network's outputs, in dB.
double agreement(Module& quantized, Module& reference, const Tensor& x) {
  const Tensor is = quantized(x), should_be = reference(x);
  double signal = 1e-30, noise = 1e-30;
  for (size_t i = 0; i < is.data().size(); ++i) {
    signal += should_be.data()[i] * should_be.data()[i];
    noise += (is.data()[i] - should_be.data()[i]) * (is.data()[i] - should_be.data()[i]);
  }
  return 10 * std::log10(signal / noise);
}

void check_engine(Module& model, const Tensor& x) {
  const test::Agreement agreed =
      test::compare_with_simulation(model, deploy::Engine(deploy::lower(model, images(1, 2)).program), x);
  INFO("first layer that differs: " << agreed.first);
  CHECK(agreed.differing == 0);
  CHECK(agreed.logits_differing == 0);
}

}  // namespace

TEST_CASE("faint channels with biases are as good as channels without weights, at every strength") {
  const Tensor x = images(4, 3);
  for (const char* layer : {"stem", "depthwise", "strided", "fc"})
    for (const bool whole_layer : {false, true})
      for (const Json& mode : kModes)
        for (const char* rounding : {"distiller", "onnx"})
          for (const bool per_channel : {false, true}) {
            const Json settings = {{"mode", mode}, {"rounding", rounding}, {"per_channel_wts", per_channel}};
            const auto run = [&](float strength) {
              const Faint faint{layer, whole_layer, strength, 2.0f};
              const ModulePtr reference = planted(faint), model = quantized(planted(faint), settings, images(8, 1));
              if (settings.at("rounding") == "onnx") check_engine(*model, x);
              return agreement(*model, *reference, x);
            };
            const double silent = std::min(run(0), 60.0);  // what gives constants alone can be exact
            for (const float strength : {1e-4f, 1e-5f, 1e-6f, 1e-8f, 1e-20f, 1e-37f}) {
              INFO(layer << (whole_layer ? ", all of it, " : ", ") << strength << " " << settings.dump());
              CHECK(run(strength) > silent - 3);
            }
          }
}

TEST_CASE("faint channels hold their biases in dynamic quantization too") {
  const Tensor x = images(4, 3);
  const auto run = [&](float strength, const Json& mode) {
    const Faint faint{"stem", false, strength, 2.0f};
    const ModulePtr reference = planted(faint);
    ModulePtr model = planted(faint);
    PostTrainLinearQuantizer quantizer(read_config<PostTrainLinearConfig>(
        {{{"rounding", "distiller"}, {"mode", mode}, {"per_channel_wts", true}}, "", "quantizer"}));
    quantizer.prepare(model, nullptr, images(1, 2));
    model->set_training(false);
    return agreement(*model, *reference, x);
  };
  for (const Json& mode : kModes)
    for (const float strength : {1e-5f, 1e-7f, 1e-20f}) {
      INFO(strength << " " << mode);
      CHECK(run(strength, mode) > std::min(run(0, mode), 60.0) - 3);
    }
}

TEST_CASE("sums that accumulators do not hold are an error that names the layer") {
  const auto error = [](const Json& settings) {
    const ModulePtr model = quantized(every_layer(), settings, images(4, 1));
    return error_of([&] { (*model)(images(2, 3)); });
  };
  CHECK_THAT(error({{"bits_accum", 10}}), Contains("stem") && Contains("10 bits"));
  CHECK_THAT(error({{"bits_weights", 16}, {"bits_activations", 16}}), Contains("fewer bits"));
  CHECK_THAT(error({{"bits_weights", 32}, {"bits_activations", 32}, {"rounding", "onnx"}}), Contains("fewer bits"));
  CHECK(error({{"bits_weights", 8}, {"bits_activations", 8}}) == "no error");
  CHECK(error({{"bits_weights", 12}, {"bits_activations", 10}}) == "no error");
}

TEST_CASE("more bits than sums can use do not make a network worse") {
  const ModulePtr reference = every_layer();
  const auto run = [&](int bits_weights, int bits_activations) {
    const ModulePtr model = quantized(
        every_layer(), {{"bits_weights", bits_weights}, {"bits_activations", bits_activations}}, images(8, 1));
    return agreement(*model, *reference, images(8, 1));
  };
  const double eight = run(8, 8);
  for (const auto& [weights, activations] : {std::pair(10, 8), {16, 8}, {24, 8}, {8, 10}, {10, 10}, {12, 12}}) {
    INFO(weights << " bits of weights, " << activations << " of activations");
    CHECK(run(weights, activations) > eight - 1);
  }
}

TEST_CASE("equalization makes no bias of a faint channel huge, whether other channels have biases or not") {
  for (const bool others : {true, false})
    for (const float strength : {1e-1f, 1e-3f, 1e-5f, 1e-20f}) {
      const ModulePtr net = planted({"stem", false, strength, 0.5f});
      const auto largest_bias = [&] {
        const Tensor bias = layer_parameters(*find_module(*net, "stem")).bias.raw();
        return std::ranges::max(bias.data(), {}, [](float b) { return std::fabs(b); });
      };
      const float before = std::fabs(largest_bias());
      if (!others) {
        const std::span<float> biases = layer_parameters(*find_module(*net, "stem")).bias.raw().mutable_data();
        for (float& b : biases) b = std::fabs(b) == before ? b : 0;
      }
      equalize_cross_layer(*net, Graph::trace(*net, images(1, 2)));
      INFO((others ? "beside others, " : "alone, ") << strength);
      CHECK(std::fabs(largest_bias()) <= before * 4);
    }
}

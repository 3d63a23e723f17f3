// Equalization, scale and bias correction, and learned rounding: what they promise of weights, means and errors.
#include "quant/post_train/corrections.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "core/ops.h"
#include "core/parallel.h"
#include "nn/checkpoint.h"
#include "nn/layers/activation.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "nn/models/architecture.h"
#include "quant/post_train/equalization.h"
#include "quant/post_train/linear.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/gradcheck.h"

namespace corrections_test {

using namespace qgrad;
using test::error_of;

namespace {

Conv2dConfig depthwise(int64_t channels) {
  Conv2dConfig config = square_conv(channels, channels, 3, 1, 1);
  config.options.groups = channels;
  return config;
}

// Three convolutions in a chain, the second depthwise, and two fully connected layers.
ModulePtr make_net(bool batch_norm = true) {
  auto net = std::make_unique<Sequential>();
  net->add("conv1", std::make_unique<Conv2d>(square_conv(3, 4, 3, 1, 1, /*bias=*/false)));
  if (batch_norm) net->add("bn1", std::make_unique<BatchNorm2d>(4));
  net->add("relu1", std::make_unique<ReLU>())
      .add("conv2", std::make_unique<Conv2d>(depthwise(4)))
      .add("relu2", std::make_unique<ReLU>())
      .add("conv3", std::make_unique<Conv2d>(square_conv(4, 5, 3, 2, 1)))
      .add("relu3", std::make_unique<ReLU6>())
      .add("flat", std::make_unique<Flatten>())
      .add("fc1", std::make_unique<Linear>(45, 6))
      .add("fc2", std::make_unique<Linear>(6, 3));
  uint64_t seed = 10;
  for (Parameter* p : all_parameters(*net)) p->set_raw(test::normal_tensor(p->raw().shape(), seed++, 0.3f));
  net->set_training(false);
  return net;
}

// Positive, so that the layers' inputs are correlated, as those of real images are; of uncorrelated ones rounding to
// nearest is the best.
std::vector<Tensor> images() {
  return {test::uniform_tensor({4, 6, 6, 3}, 1, 0, 2), test::uniform_tensor({4, 6, 6, 3}, 2, 0, 2),
          test::uniform_tensor({3, 6, 6, 3}, 3, 0, 2)};
}

struct Quantized {
  ModulePtr model, reference;
  std::unique_ptr<PostTrainLinearQuantizer> quantizer;
  void correct() {
    quantizer->correct(
        *model, *reference, images(), [](const std::string&, size_t, size_t) {}, nullptr);
  }
  RangeLinearQuantParamLayerWrapper& layer(const char* path) {
    return dynamic_cast<RangeLinearQuantParamLayerWrapper&>(*find_module(*model, path));
  }
};

Quantized quantized(const Json& config) {
  Quantized result{
      make_net(), make_net(),
      std::make_unique<PostTrainLinearQuantizer>(read_config<PostTrainLinearConfig>({config, "", "quantizer"}))};
  for (ModulePtr* model : {&result.model, &result.reference}) result.quantizer->prepare_float(*model, images()[0]);
  result.quantizer->set_stats(collect_quant_stats(*result.model, [&] {
    for (const Tensor& batch : images()) (*result.model)(batch);
  }));
  result.quantizer->prepare(result.model, nullptr, images()[0]);
  result.model->set_training(false);
  result.reference->set_training(false);
  return result;
}

float largest_magnitude(const Tensor& x) {
  float largest = 0;
  for (const float value : x.data()) largest = std::max(largest, std::fabs(value));
  return largest;
}

// Mean square of the layer's error against the float model behind the ReLU, before it is put on the output's grid.
double layer_error(Quantized& q, const char* path, const Tensor& x) {
  const auto& layer = q.layer(path);
  const Tensor y = layer.activated(q.layer(path).sums(x)), r = layer.activated((*find_module(*q.reference, path))(x));
  double total = 0;
  for (size_t i = 0; i < y.data().size(); ++i) total += std::pow(y.data()[i] - r.data()[i], 2);
  return total / static_cast<double>(y.data().size());
}

const Json kFourBits = {{"bits_activations", 8}, {"bits_weights", 4}, {"mode", "ASYMMETRIC_UNSIGNED"}};

Json with(Json config, const Json& more) {
  config.update(more);
  return config;
}

}  // namespace

TEST_CASE("equalization leaves the float model's output as it was, up to rounding") {
  const ModulePtr original = make_net();
  ModulePtr equalized = make_net();
  PostTrainLinearQuantizer(read_config<PostTrainLinearConfig>({{{"cross_layer_equalization", true}}, "", ""}))
      .prepare_float(equalized, images()[0]);
  for (const Tensor& batch : images()) {
    const Tensor expected = (*original)(batch), y = (*equalized)(batch);
    const float size = largest_magnitude(expected);
    for (size_t i = 0; i < y.data().size(); ++i) CHECK(std::fabs(y.data()[i] - expected.data()[i]) <= 2e-6f * size);
  }
}

TEST_CASE("equalization gives channels equal ranges in both layers, and once is enough") {
  ModulePtr net = make_net(/*batch_norm=*/false);
  const Graph graph = Graph::trace(*net, images()[0]);
  const std::vector<EqualizedPair> pairs = equalize_cross_layer(*net, graph);
  std::vector<std::string> names;
  for (const auto& [first, second] : pairs) names.push_back(first + " " + second);
  CHECK(names == std::vector<std::string>{"conv1 conv2", "conv2 conv3", "fc1 fc2"});
  const auto range = [](const Tensor& w, size_t channel, size_t stride, size_t channels) {
    float largest = 0;
    for (size_t i = 0; i < w.data().size(); ++i)
      if (i / stride % channels == channel) largest = std::max(largest, std::fabs(w.data()[i]));
    return largest;
  };
  const Tensor conv1 = find_module(*net, "conv1")->parameters()[0]->raw(),
               conv2 = find_module(*net, "conv2")->parameters()[0]->raw(),
               conv3 = find_module(*net, "conv3")->parameters()[0]->raw();
  for (size_t c = 0; c < 4; ++c) {
    const float of_conv1 = range(conv1, c, 1, 4), of_conv2 = range(conv2, c, 1, 4), of_conv3 = range(conv3, c, 5, 4);
    CHECK(of_conv1 == Approx(of_conv2).epsilon(3e-3));
    CHECK(of_conv2 == Approx(of_conv3).epsilon(3e-3));
  }
  CHECK(equalize_cross_layer(*net, graph).empty());
}

TEST_CASE("a long chain is equalized to the end") {
  ModulePtr net = Registry<Architecture>::create({{{"class", "plain20"}}, "", "model"})->build(3);
  net->set_training(false);
  PostTrainLinearQuantizer quantizer(
      read_config<PostTrainLinearConfig>({{{"cross_layer_equalization", true}}, "", "quantizer"}));
  const Tensor image = test::normal_tensor({1, 32, 32, 3}, 1);
  quantizer.prepare_float(net, image);
  quantizer.set_stats(collect_quant_stats(*net, [&] { (*net)(image); }));
  CHECK(error_of([&] { quantizer.prepare(net, nullptr, image); }) == "no error");
}

TEST_CASE("statistics from before equalization are an error") {
  ModulePtr net = make_net();
  PostTrainLinearQuantizer quantizer(
      read_config<PostTrainLinearConfig>({{{"cross_layer_equalization", true}}, "", "quantizer"}));
  quantizer.set_stats(collect_quant_stats(*net, [&] { (*net)(images()[0]); }));
  CHECK_THAT(error_of([&] { quantizer.prepare(net, nullptr, images()[0]); }),
             Contains("statistics must be collected after prepare_float"));
}

// Means and standard deviations of what every layer with weights gives, by channel, in the quantized model and in the
// float model; how exact a bias can be.
struct LayerMoments final : CallObserver {
  struct Channel {
    double count = 0, sum = 0, squares = 0;
    double mean() const { return sum / count; }
    double std() const { return std::sqrt(squares / count - mean() * mean()); }
  };
  std::map<std::string, std::vector<Channel>> is, should_be;
  std::map<std::string, double> step;

  explicit LayerMoments(Quantized& q) {
    const Observing observing(*this);
    for (const Tensor& batch : images()) {
      (*q.model)(batch);
      (*q.reference)(batch);
    }
    REQUIRE(is.size() == 5);
  }
  static void add(std::vector<Channel>& channels, const Tensor& y) {
    channels.resize(static_cast<size_t>(y.dim(-1)));
    for (size_t i = 0; i < y.data().size(); ++i) {
      Channel& channel = channels[i % channels.size()];
      channel.count += 1;
      channel.sum += y.data()[i];
      channel.squares += double{y.data()[i]} * y.data()[i];
    }
  }
  void leave(Module& module, Inputs x, const Tensor& y) override {
    if (auto* wrapper = dynamic_cast<RangeLinearQuantParamLayerWrapper*>(&module)) {
      add(is[wrapper->path()], wrapper->sums(x[0]));
      step[wrapper->path()] = 1 / wrapper->integer_sums(wrapper->input_grid(0, x[0])).scale[0];
    } else if (module.kind() == "Conv2d" || module.kind() == "Linear") {
      add(should_be[module.path()], y);
    }
  }
  // The largest of difference(channel as it is, as it should be, the step of its bias).
  template <class F>
  double farthest(F&& difference) const {
    double distance = 0;
    for (const auto& [path, channels] : is)
      for (size_t c = 0; c < channels.size(); ++c)
        distance = std::max(distance, std::fabs(difference(channels[c], should_be.at(path)[c], step.at(path))));
    return distance;
  }
  double steps_between_means() const {
    return farthest([](const Channel& a, const Channel& b, double in) { return (a.mean() - b.mean()) / in; });
  }
  double share_between_stds() const {
    return farthest([](const Channel& a, const Channel& b, double) { return a.std() / b.std() - 1; });
  }
};

TEST_CASE("after bias correction every layer's outputs have the means of the float model's") {
  Quantized q = quantized(with(kFourBits, {{"bits_weights", 3}, {"bias_correction", true}}));
  CHECK(LayerMoments(q).steps_between_means() > 10);
  q.correct();
  // Half a step in the bias that was, half a step in the new one.
  CHECK(LayerMoments(q).steps_between_means() <= 1.001);
}

TEST_CASE("after scale correction every layer's outputs vary as the float model's do") {
  Quantized q =
      quantized(with(kFourBits, {{"bits_weights", 2}, {"per_channel_wts", true}, {"scale_correction", true}}));
  CHECK(LayerMoments(q).share_between_stds() > 0.3);
  q.correct();
  CHECK(LayerMoments(q).share_between_stds() < 1e-4);
}

TEST_CASE("the gradients of soft rounding and of its penalty are right") {
  SoftRounding rounding{Tensor::from({3, 4}, test::integer_values(12, 5)), {{2, 3, 5, 7}, {0, 1, -1, 2}, {-4, 3}}};
  const Tensor v = test::uniform_tensor({3, 4}, 6, -1.5f, 1.5f);
  CHECK(test::gradcheck([&](test::Inputs x) { return softly_rounded(x[0], rounding); }, {v}) == "");
  for (const float beta : {2.0f, 5.0f})
    CHECK(test::gradcheck([&](test::Inputs x) { return rounding_penalty(x[0], beta); }, {v}) == "");
}

TEST_CASE("the penalty of rounding is greatest in the middle and zero where rounding is decided") {
  CHECK(rounding_penalty(Tensor::scalar(0), 2).item() == Approx(1));
  CHECK(rounding_penalty(Tensor::from({2}, std::vector<float>{-10, 10}), 2).item() == 0);
}

TEST_CASE("learned rounding moves weights to a neighbour on the grid and lessens the layer's error") {
  const Json config =
      with(kFourBits, {{"bits_weights", 3}, {"learned_rounding", {{"iterations", 400}, {"batch_size", 4}}}});
  Quantized nearest = quantized(config), learned = quantized(config);
  learned.correct();
  for (const char* path : {"conv1", "conv2", "conv3", "fc1", "fc2"}) {
    INFO(path);
    const ChannelGrid grid = learned.layer(path).weight().grid();
    CHECK(grid.scale == nearest.layer(path).weight().grid().scale);
    const Tensor w = find_module(*learned.reference, path)->parameters()[0]->raw();
    const std::span<const float> q = learned.layer(path).weight().q().data();
    for (size_t i = 0; i < q.size(); ++i) {
      const float exact = std::clamp(grid.scale[0] * w.data()[i] - grid.zero_point[0], 0.0f, 7.0f);
      CHECK(std::fabs(q[i] - exact) < 1);
      CHECK(q[i] == std::nearbyint(q[i]));
    }
  }
  CHECK(largest_magnitude(sub(learned.layer("fc1").weight().q(), nearest.layer("fc1").weight().q())) == 1);
  double before = 0, after = 0;
  for (const Tensor& batch : images()) {
    before += layer_error(nearest, "conv1", batch);
    after += layer_error(learned, "conv1", batch);
  }
  CHECK(after < 0.7 * before);
}

TEST_CASE("learned rounding gives the same integers on any number of threads") {
  const Json config = with(kFourBits, {{"learned_rounding", {{"iterations", 30}, {"batch_size", 4}}}});
  const int before = num_threads();
  std::vector<std::vector<uint32_t>> results;
  for (const int threads : {1, 3}) {
    set_num_threads(threads);
    Quantized q = quantized(config);
    q.correct();
    results.push_back(test::bits(q.layer("fc2").weight().q().data()));
    const auto conv = test::bits(q.layer("conv3").weight().q().data());
    results.back().insert(results.back().end(), conv.begin(), conv.end());
  }
  set_num_threads(before);
  CHECK(results[0] == results[1]);
}

TEST_CASE("a corrected model rebuilt from its checkpoint computes the same bits") {
  const std::filesystem::path file = std::filesystem::temp_directory_path() / "qgrad_corrected.safetensors";
  const Json resolved = Registry<Quantizer>::resolve(
      {with({{"class", "PostTrainLinearQuantizer"}},
            with(kFourBits, {{"cross_layer_equalization", true},
                             {"scale_correction", true},
                             {"bias_correction", true},
                             {"learned_rounding", {{"iterations", 20}, {"batch_size", 4}}},
                             {"bits_sums", 8},
                             {"reconstruction", {{"iterations", 5}, {"network_iterations", 5}}}})),
       "", "quantizer"});
  Json without_class = resolved;
  without_class.erase("class");
  Quantized q = quantized(without_class);
  q.correct();
  save_checkpoint(file, *q.model, {{"quantizer", q.quantizer->self_contained(resolved).json()}});

  const Checkpoint checkpoint = read_checkpoint(file);
  ModulePtr again = make_net();
  for (Parameter* p : all_parameters(*again)) p->set_raw(Tensor::zeros(p->raw().shape()));
  Registry<Quantizer>::create({checkpoint.config.at("quantizer"), "", "quantizer"})
      ->prepare(again, nullptr, Tensor::zeros({1, 6, 6, 3}));
  load_state(*again, checkpoint);
  CHECK(test::bits((*again)(images()[2]).data()) == test::bits((*q.model)(images()[2]).data()));
  std::filesystem::remove(file);
}

}  // namespace corrections_test

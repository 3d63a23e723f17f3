// Block reconstruction: where units begin and end, what they learn, and that the result is what runs.
#include "quant/post_train/reconstruction.h"

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "core/ops.h"
#include "core/parallel.h"
#include "core/tape.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "quant/export/every_layer.h"
#include "quant/export/lowering.h"
#include "quant/export/simulation.h"
#include "quant/post_train/learning_layer.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/gradcheck.h"

namespace reconstruction_test {

using namespace qgrad;
using test::error_of;

namespace {

std::vector<Tensor> batches() { return {test::images(12, 1), test::images(12, 2), test::images(8, 3)}; }

const Json kThreeBits = {{"bits_weights", 3},
                         {"bits_activations", 3},
                         {"mode", {{"weights", "SYMMETRIC"}, {"activations", "ASYMMETRIC_UNSIGNED"}}},
                         {"per_channel_wts", true}};
const Json kFew = {{"iterations", 30}, {"network_iterations", 10}, {"batch_size", 8}};

// The net of every layer, quantized and reconstructed.
struct Net {
  ModulePtr model = test::every_layer(), reference = test::every_layer();

  explicit Net(const Json& more = {}) {
    Json config = kThreeBits;
    if (!more.is_null()) config.update(more);
    model = test::quantized(std::move(model), config, test::images(32, 1));
  }
  void reconstruct(const Json& config) {
    qgrad::reconstruct(*model, *reference, batches(), read_config<ReconstructionConfig>({config, "", ""}),
                       [](const std::string&, size_t, size_t) {});
  }
  // Mean square distance of the outputs from the float model's.
  double error() {
    double total = 0;
    for (const Tensor& x : batches()) total += squared_distance((*model)(x), (*reference)(x)).item();
    return total;
  }
  int64_t differing_integers() {
    const deploy::Lowered lowered = deploy::lower(*model, test::images(1, 5));
    return test::compare_with_simulation(*model, deploy::Engine(lowered.program), test::images(8, 6)).differing;
  }
};

Tensor parameter_at(Module& model, const std::string& path) {
  for (const Parameter* p : all_parameters(model))
    if (p->path() == path) return p->raw();
  fail("no parameter {}", path);
}

}  // namespace

TEST_CASE("reconstruction brings a network's outputs nearer to the float network's") {
  Net nearest, learned, without_network, without_units;
  learned.reconstruct(
      {{"iterations", 150}, {"network_iterations", 50}, {"batch_size", 8}, {"outputs_are_classes", false}});
  without_network.reconstruct({{"iterations", 150}, {"network_iterations", 0}, {"batch_size", 8}});
  without_units.reconstruct({{"iterations", 0},
                             {"network_iterations", 150},
                             {"network_lr", 1},
                             {"batch_size", 8},
                             {"outputs_are_classes", false}});
  CHECK(learned.error() < 0.6 * nearest.error());
  CHECK(without_network.error() < 0.6 * nearest.error());
  CHECK(without_units.error() < 0.8 * nearest.error());
}

TEST_CASE("numbers count by what the float network's outputs know of them") {
  for (const bool classes : {true, false}) {
    const Json config = {{"iterations", 150}, {"batch_size", 8}, {"outputs_are_classes", classes}};
    Json fisher = config;
    fisher["fisher"] = true;
    Net nearest, plain, weighed;
    plain.reconstruct(config);
    weighed.reconstruct(fisher);
    CHECK(weighed.error() < 0.7 * nearest.error());
    CHECK(weighed.error() != plain.error());
  }
}

TEST_CASE("units of every size bring the outputs nearer, with one program for both") {
  const std::string unit = GENERATE("layer", "block", "stage");
  const bool fisher = GENERATE(false, true);
  Net nearest, learned;
  learned.reconstruct({{"unit", unit}, {"iterations", 150}, {"batch_size", 8}, {"fisher", fisher}, {"drop", 0.25}});
  CAPTURE(unit, fisher, learned.error(), nearest.error());
  CHECK(learned.error() < 0.7 * nearest.error());
  CHECK(learned.differing_integers() == 0);
}

TEST_CASE("with Fisher information nothing is learned of a channel that the outputs do not depend on") {
  const auto net = [] {
    auto made = std::make_unique<Sequential>();
    made->add("conv", std::make_unique<Conv2d>(square_conv(3, 2, 1, 1, 0)))
        .add("reads", std::make_unique<Conv2d>(square_conv(2, 4, 1, 1, 0)));
    for (Parameter* p : all_parameters(*made)) p->set_raw(test::normal_tensor(p->raw().shape(), 7, 0.3f));
    const std::span<float> reads = (*made)[1]->weighted_sum()->weight.raw().mutable_data();
    std::ranges::fill(reads.last(4), 0.0f);  // nothing of channel 1
    return made;
  };
  for (const bool fisher : {false, true}) {
    const ModulePtr reference = net(), model = test::quantized(net(), kThreeBits, test::images(32, 1));
    const auto channels = [&] {
      std::array<std::vector<float>, 2> of;
      const Tensor weight = parameter_at(*model, "conv.weight");
      for (size_t i = 0; i < weight.data().size(); ++i) of[i % 2].push_back(weight.data()[i]);
      return of;
    };
    const auto before = channels();
    reconstruct(*model, *reference, batches(),
                {.iterations = 100, .batch_size = 8, .lr_weights = 0.1f, .fisher = fisher},
                [](const std::string&, size_t, size_t) {});
    CHECK(channels()[0] != before[0]);
    CHECK((channels()[1] == before[1]) == fisher);
  }
}

namespace {

// Keeps in memory, and stops the run after so many units.
struct Kept final : KeptCorrections {
  std::optional<NamedTensors> last;
  int saves = 0, stop_after = -1;

  std::optional<NamedTensors> load() override { return last; }
  void save(const NamedTensors& learned) override {
    last = learned;
    for (auto& [name, tensor] : *last) tensor = tensor.clone();
    if (++saves == stop_after) throw std::runtime_error("stopped");
  }
};

}  // namespace

TEST_CASE("a reconstruction that was stopped goes on from its last unit, to the same bits") {
  const std::string unit = GENERATE("layer", "block");
  const auto config =
      read_config<ReconstructionConfig>({{{"unit", unit}, {"iterations", 20}, {"network_iterations", 5}}, "", ""});
  const auto run = [&](Net& net, Kept& kept) {
    qgrad::reconstruct(
        *net.model, *net.reference, batches(), config, [](const std::string&, size_t, size_t) {}, &kept);
  };
  Net whole;
  Kept all;
  run(whole, all);
  REQUIRE(all.saves > 3);
  for (const int stop_after : {1, all.saves / 2, all.saves}) {
    Kept kept;
    kept.stop_after = stop_after;
    Net stopped, again;
    CHECK_THROWS_WITH(run(stopped, kept), "stopped");
    kept.stop_after = -1;
    run(again, kept);
    CAPTURE(unit, stop_after);
    CHECK(kept.saves == all.saves);  // no unit was learned twice
    for (const Tensor& x : batches()) CHECK(test::bits((*again.model)(x)) == test::bits((*whole.model)(x)));
  }
  Kept other;
  other.last = all.last;
  other.last->pop_back();
  Net refused;
  CHECK_THAT(error_of([&] { run(refused, other); }), Contains("what an earlier run kept has no"));
}

TEST_CASE("outputs that are no classes are learned by their squared error") {
  Net nearest, learned;
  learned.reconstruct({{"iterations", 100}, {"batch_size", 8}, {"outputs_are_classes", false}});
  CHECK(learned.error() < 0.6 * nearest.error());
}

TEST_CASE("a reconstructed network's program computes the simulation's integers") {
  Net net;
  net.reconstruct(kFew);
  CHECK(net.differing_integers() == 0);
}

TEST_CASE("layers that move numbers are on the grid that they came on, after reconstruction") {
  Net net;
  net.reconstruct(kFew);
  const auto grid = [&](const char* path) {
    return *dynamic_cast<RangeLinearQuantWrapper&>(*find_module(*net.model, path)).output_grid();
  };
  CHECK(grid("part") == grid("tanh"));
  CHECK(grid("pad") == grid("tanh"));
  CHECK(grid("max_pool") == grid("concat"));
}

TEST_CASE("reconstruction gives the same numbers on any number of threads") {
  const int before = num_threads();
  std::vector<std::vector<uint32_t>> results;
  for (const int threads : {1, 3}) {
    set_num_threads(threads);
    Net net;
    net.reconstruct(kFew);
    std::vector<uint32_t> bits;
    for (const Parameter* p : all_parameters(*net.model))
      for (const uint32_t b : test::bits(p->raw().data())) bits.push_back(b);
    for (const Buffer* b : all_buffers(*net.model))
      for (const uint32_t v : test::bits((*b)().data())) bits.push_back(v);
    results.push_back(std::move(bits));
  }
  set_num_threads(before);
  CHECK(results[0] == results[1]);
}

TEST_CASE("a learning layer computes what its wrapper does afterwards") {
  Net net;
  auto& wrapper = dynamic_cast<RangeLinearQuantWrapper&>(*find_module(*net.model, "stem"));
  const Tensor x = test::images(4, 7), before = wrapper(x);
  Tensor learning;
  {
    LearningLayer layer(wrapper, *find_module(*net.reference, "stem"));
    LearningLayer::Parameters learned;
    layer.add_to(learned);
    CHECK(test::bits(wrapper(x).data()) == test::bits(before.data()));
    for (Parameter* step : learned.steps) step->raw().mutable_data()[0] += 0.1f;
    for (Parameter* other : learned.others)
      for (float& value : other->raw().mutable_data()) value += 0.05f;
    learned.weights[0]->raw().mutable_data()[0] += 1;
    learned.weights[0]->restrain();
    learning = wrapper(x);
    layer.finish();
  }
  const Tensor after = wrapper(x);
  CHECK(test::bits(after.data()) != test::bits(before.data()));
  const float step = wrapper.output_grid()->step();
  int64_t differing = 0;
  for (size_t i = 0; i < after.data().size(); ++i)
    differing += std::fabs(after.data()[i] - learning.data()[i]) > step / 2;
  CHECK(differing <= after.numel() / 1000);  // sums of floats next to a tie
}

TEST_CASE("the step of a learned grid has the gradient of its levels") {
  ParameterOwner owner;
  LearnedStep step(owner, {.scale = 2, .zero_point = -3, .qmin = 0, .qmax = 7});  // -1.5 .. 2
  step.parameter()->raw().set_requires_grad(true);
  Tensor x = Tensor::from({4}, std::vector<float>{-9, 9, 0.6f, -0.1f});
  x.set_requires_grad(true);
  Tape tape;
  {
    const Tape::Recording recording(tape);
    const Tensor y = step.quantized(x, x, nullptr);
    CHECK(std::vector<float>(y.data().begin(), y.data().end()) == std::vector<float>{-1.5f, 2, 0.5f, 0});
    tape.backward(sum(y));
  }
  CHECK(step.parameter()->raw().grad().item() == Approx(-1.5 + 2 - 0.1 + 0.1));
  CHECK(std::vector<float>(x.grad().data().begin(), x.grad().data().end()) == std::vector<float>{0, 0, 1, 1});
}

TEST_CASE("the gradient of the steps of weights is right") {
  const Tensor v = Tensor::from({3, 2}, test::integer_values(6, 5));
  const ChannelGrid params{{2, 3}, {1, -1}};
  CHECK(test::gradcheck([&](test::Inputs g) { return on_learned_grid(v, g[0], params); },
                        {test::uniform_tensor({2}, 6, -1, 1)}) == "");
}

TEST_CASE("as many numbers are dropped as asked for, and of those no gradient reaches the step") {
  const float share = GENERATE(0.0f, 0.25f, 0.5f, 0.8125f, 1.0f);
  Dropping dropping(share, 1, "here");
  ParameterOwner owner;
  LearnedStep step(owner, {.scale = 1, .zero_point = 0, .qmin = 0, .qmax = 7});
  const Tensor x = Tensor::full({10000}, 2.3f), y = step.quantized(x, x, &dropping);
  const auto left = std::ranges::count(y.data(), 2.3f);
  CHECK(std::abs(static_cast<double>(left) / 10000 - share) < 0.02);
  CHECK(std::ranges::count(y.data(), 2.0f) == 10000 - left);
}

TEST_CASE("reconstruction of what can not be learned is an error") {
  struct Twice final : UnaryModule {
    std::string_view kind() const override { return "Twice"; }
    Child conv = child<Conv2d>("conv", square_conv(3, 3, 3, 1, 1));
    Tensor forward(const Tensor& x) override { return conv(conv(x)); }
  };
  const auto run = [](Module& model, Module& reference) {
    return error_of([&] { reconstruct(model, reference, batches(), {}, [](const std::string&, size_t, size_t) {}); });
  };
  Twice twice;
  twice.set_training(false);
  const ModulePtr quantized = test::quantized(std::make_unique<Twice>(), kThreeBits, test::images(8, 1));
  CHECK_THAT(run(*quantized, twice), Contains("conv is called more than once"));

  ModulePtr dynamic = test::every_layer();
  const ModulePtr reference = test::every_layer();
  PostTrainLinearQuantizer quantizer(read_config<PostTrainLinearConfig>({{{"rounding", "distiller"}}, "", ""}));
  quantizer.prepare(dynamic, nullptr, test::images(1, 1));
  dynamic->set_training(false);
  CHECK_THAT(run(*dynamic, *reference), Contains("needs calibration statistics"));
  CHECK_THAT(run(*reference, *reference), Contains("no layer of the model has quantized weights"));
}

TEST_CASE("what reconstruction leaves as it was is said") {
  struct Doubling final : UnaryModule {
    std::string_view kind() const override { return "Doubling"; }
    Child conv1 = child<Conv2d>("conv1", square_conv(3, 4, 3, 1, 1)),
          conv2 = child<Conv2d>("conv2", square_conv(4, 4, 3, 1, 1));
    Tensor forward(const Tensor& x) override { return conv2(mul_scalar(conv1(x), 2)); }
  };
  Doubling reference;
  reference.set_training(false);
  const auto left = [&](int network_iterations) {
    const ModulePtr quantized = test::quantized(std::make_unique<Doubling>(), kThreeBits, test::images(8, 1));
    return reconstruct(*quantized, reference, batches(),
                       {.iterations = 1, .network_iterations = network_iterations, .outputs_are_classes = false},
                       [](const std::string&, size_t, size_t) {});
  };
  CHECK(left(0) == std::vector<std::string>{"conv2"});
  CHECK(left(1).empty());
}

TEST_CASE("with bits_sums additions have their own bits, and the layers behind them read fewer") {
  Net narrow, wide(Json{{"bits_sums", 8}});
  const auto wrapper = [&](const char* path) -> RangeLinearQuantWrapper& {
    return dynamic_cast<RangeLinearQuantWrapper&>(*find_module(*wide.model, path));
  };
  CHECK(wrapper("add").output_grid()->qmax == 255);
  CHECK(wrapper("strided").output_grid()->qmax == 255);  // read by the addition
  for (const char* path : {"pad", "part", "shortcut"}) CHECK(wrapper(path).output_grid()->qmax == 255);
  CHECK(wrapper("stem").output_grid()->qmax == 7);
  CHECK(wide.error() < narrow.error());
  CHECK(wide.differing_integers() == 0);
  wide.reconstruct(kFew);
  CHECK(wide.differing_integers() == 0);
}

TEST_CASE("a layer with weights that reads a sum puts it on a grid of its own bits") {
  struct Sum final : UnaryModule {
    std::string_view kind() const override { return "Sum"; }
    Child stem = child<Conv2d>("stem", square_conv(3, 4, 3, 1, 1)), relu = child<ReLU>("relu");
    Child branch = child<Conv2d>("branch", square_conv(4, 4, 3, 1, 1)), add = child<EltwiseAdd>("add");
    Child last = child<Conv2d>("last", square_conv(4, 5, 8));
    Tensor forward(const Tensor& x) override {
      const Tensor a = relu(stem(x));
      return flatten(last(add(branch(a), a)));
    }
  };
  auto net = std::make_unique<Sum>();
  uint64_t seed = 1;
  for (Parameter* p : all_parameters(*net)) p->set_raw(test::normal_tensor(p->raw().shape(), seed++, 0.4f));
  net->set_training(false);
  Json config = kThreeBits;
  config["bits_sums"] = 8;
  const ModulePtr model = test::quantized(std::move(net), config, test::images(8, 1));
  const auto wrapper = [&](const char* path) -> RangeLinearQuantWrapper& {
    return dynamic_cast<RangeLinearQuantWrapper&>(*find_module(*model, path));
  };
  CHECK(wrapper("stem").output_grid()->qmax == 255);
  for (const char* path : {"branch", "last"}) {
    CHECK(wrapper(path).quantization().inputs[0].requantized);
    Tensor arriving = test::images(1, 1);
    arriving.set_grid({1, 0, 0, 255});
    CHECK(wrapper(path).input_grid(0, arriving).qmax == 7);
  }
  CHECK(!wrapper("add").quantization().inputs[0].requantized);
  const deploy::Lowered lowered = deploy::lower(*model, test::images(1, 5));
  const test::Agreement agreement =
      test::compare_with_simulation(*model, deploy::Engine(lowered.program), test::images(8, 6));
  CHECK(agreement.layers == 4);
  CHECK(agreement.differing == 0);
}

}  // namespace reconstruction_test

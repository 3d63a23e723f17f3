// qgrad bench fake-quant: the quantization op of training, beside a plain copy in the same chunks.
#include <cstring>
#include <nlohmann/json.hpp>

#include "apps/bench/bench.h"
#include "core/kernels/table.h"
#include "core/parallel.h"
#include "core/tape.h"
#include "quant/train/ste.h"

namespace qgrad {
namespace {

struct FakeQuantOptions {
  int64_t elements = 1 << 20;
  std::string direction = "forward";
  int64_t per_channel = 1;
};

// 8 bits over -3 .. 3, so that some of the normally distributed inputs are outside; the channels' scales differ a
// little.
ChannelGrid grid_of(int64_t channels) {
  ChannelGrid grid({}, std::vector<float>(static_cast<size_t>(channels), 0.0f),
                   quantized_range(8, LinearQuantMode::symmetric));
  for (int64_t c = 0; c < channels; ++c)
    grid.scale.push_back(symmetric_grid(8, 3 + 0.01f * static_cast<float>(c), /*restricted=*/false).scale);
  return grid;
}

void run(const FakeQuantOptions& options, const BenchOptions& bench_options) {
  if (options.elements % options.per_channel != 0)
    throw CLI::ValidationError("--per-channel", "has to divide --elements");
  Tensor x = normal_tensor({options.elements / options.per_channel, options.per_channel}, "bench fake-quant");
  x.set_requires_grad(options.direction == "backward");
  const ChannelGrid grid = grid_of(options.per_channel);
  SteOptions ste;
  if (options.per_channel == 1) ste.saturation = ValueRange{-3, 3};
  Tape tape;
  Tensor loss, copy;
  const Tensor gradient = options.direction == "backward" ? normal_tensor(x.shape(), "bench gradient") : Tensor();

  BenchCase bench{.name = "fake-quant",
                  .batch = options.elements,
                  .unit = "M elements/s",
                  .work = static_cast<double>(options.elements) / 1e6,
                  .details = [&](double) -> Json {
                    return {{"elements", options.elements},
                            {"direction", options.direction},
                            {"per_channel", options.per_channel > 1 ? Json(options.per_channel) : Json(nullptr)}};
                  }};
  if (options.direction == "forward") {
    bench.run = [&] { linear_quantize_ste(x, grid, ste); };
  } else if (options.direction == "backward") {
    bench.prepare = [&] {
      x.set_grad({});
      const Tape::Recording recording(tape);
      loss = loss_with_gradient(linear_quantize_ste(x, grid, ste), gradient.clone());
    };
    bench.run = [&] { tape.backward(loss); };
  } else {
    bench.run = [&] {
      copy = Tensor::empty(x.shape());
      const float* from = x.data().data();
      float* to = copy.mutable_data().data();
      parallel_for(options.elements, kElementwiseGrain, [&](int64_t begin, int64_t end) {
        std::memcpy(to + begin, from + begin, static_cast<size_t>(end - begin) * sizeof(float));
      });
      copy = {};
    };
  }
  run_bench(bench, bench_options);
}

}  // namespace

void add_fake_quant_bench(CLI::App& bench) {
  CLI::App& command =
      *bench.add_subcommand("fake-quant", "M elements/s of 8-bit fake quantization, as the op of a training step");
  const auto bench_options = add_bench_options(command);
  const auto options = std::make_shared<FakeQuantOptions>();
  command.add_option("--elements", options->elements, "float32 numbers in the tensor")
      ->check(whole_number(1, 1 << 28))
      ->capture_default_str();
  command.add_option("--direction", options->direction, "forward, backward, or copy: a plain copy for comparison")
      ->check(CLI::IsMember({"forward", "backward", "copy"}))
      ->capture_default_str();
  command.add_option("--per-channel", options->per_channel, "channels, each with a scale of its own; 1: one scale")
      ->check(whole_number(1, 1 << 20))
      ->capture_default_str();
  command.callback([=] { run(*options, *bench_options); });
}

}  // namespace qgrad

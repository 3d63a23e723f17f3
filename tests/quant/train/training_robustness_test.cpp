// Every quantizer survives learning rates that are far too small or far too large.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/ops.h"
#include "core/tape.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "nn/models/architecture.h"
#include "nn/optim/sgd.h"
#include "quant/quantizer.h"
#include "support/catch.h"

using namespace qgrad;

TEST_CASE("no quantizer's training breaks at learning rates from 1e-4 to 1") {
  Config digits{{{"class", "digits"}}, "", "dataset"};
  const auto dataset = open_dataset(digits, std::nullopt);
  std::vector<Json> quantizers{{{"class", "QuantAwareTrainRangeLinearQuantizer"}, {"batch_norm_folding", "simulated"}}};
  for (const std::string& name : Registry<Quantizer>::instance().names())
    if (name != "PostTrainLinearQuantizer" && !name.starts_with("Test")) quantizers.push_back({{"class", name}});
  for (const Json& quantizer : quantizers)
    for (const float lr : {1e-4f, 1e-2f, 1.0f})
      for (const int bits : {2, 4}) {
        INFO(quantizer.dump() << ", " << bits << " bits, learning rate " << lr);
        const Json model_config = {{"class", "convnet"}, {"width", 4}};
        ModulePtr model = Registry<Architecture>::create({model_config, "", "model"})->build(1);
        Sgd optimizer({.lr = lr, .momentum = 0.9f, .weight_decay = 1e-4f});
        optimizer.add_param_group({.name = "default", .parameters = all_parameters(*model)});
        Json config = quantizer;
        config.update({{"bits_activations", bits}, {"bits_weights", bits}});
        Registry<Quantizer>::create({config, "", "quantizer"})->prepare(model, &optimizer, Tensor::zeros({1, 8, 8, 1}));
        Loader loader(dataset->train(), all_indices(dataset->train().size()), Transform({}, dataset->image_shape(), 1),
                      {.batch_size = 8, .shuffle = true, .drop_last = true, .threads = 0, .seed = 1});
        loader.start_epoch(0);
        for (int step = 0; step < 200; ++step) {
          std::optional<Batch> batch = loader.next();
          if (!batch) loader.start_epoch(1), batch = loader.next();
          optimizer.zero_grad();
          Tape tape;
          Tensor loss;
          {
            const Tape::Recording recording(tape);
            loss = softmax_cross_entropy((*model)(batch->images), batch->labels);
          }
          INFO("step " << step);
          REQUIRE(std::isfinite(loss.item()));
          tape.backward(loss);
          optimizer.step();
        }
        for (const Parameter* p : all_parameters(*model)) {
          INFO(p->path());
          REQUIRE(std::ranges::all_of(p->raw().data(), [](float v) { return std::isfinite(v); }));
        }
      }
}

// Layers and bits.
#include "apps/plan.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/report/table.h"
#include "tasks/quantization.h"

namespace qgrad {

std::string layer_bits_text(const Json& layers, const Json& quantizer) {
  using enum Table::Align;
  const bool of_inputs = quantizer.value("quantized_activations", "outputs") == "inputs";
  Table bits{{{"quantization", left},
              {"kind", left},
              {fmt::format("bits of weights/{}/bias", of_inputs ? "inputs" : "activations"), left},
              {"by override", left}},
             {}};
  const auto text = [](const Json& b) { return b.is_null() ? std::string("-") : std::to_string(b.get<int>()); };
  for (const Json& layer : layers)
    bits.rows.push_back({layer.at("path").get<std::string>(), layer.at("kind").get<std::string>(),
                         fmt::format("{}/{}/{}", text(layer.at("bits_weights")), text(layer.at("bits_activations")),
                                     text(layer.at("bits_bias"))),
                         layer.at("pattern").is_null() ? "" : layer.at("pattern").get<std::string>()});
  return to_text(bits);
}

void print_plan(const CommonOptions& options, Module& model, const Quantizer* quantizer, const Json& config,
                Json about) {
  std::string text;
  for (const auto& [key, value] : about.items()) text += fmt::format("{}: {}\n", key, json_line(value));
  text += "\n" + to_string(model);
  if (quantizer) {
    about["layers"] = resolved_layers(*quantizer);
    text += "\n" + layer_bits_text(about["layers"], config);
  }
  print_result(options, about, text + "\nnothing was done: --dry-run\n");
}

void print_plan(const CommonOptions& options, const ExperimentConfig& experiment, const Config& quantizer,
                const Task& task, Json about) {
  about.update({{"checkpoint", *experiment.checkpoint}, {"data", task.describe()}});
  ModulePtr model = Registry<Architecture>::create(experiment.model)->make();
  const auto prepared = Registry<Quantizer>::create(quantizer);
  prepared->forgo_stats();
  prepared->prepare(model, nullptr, example_inputs(experiment.model, task.description()));
  print_plan(options, *model, prepared.get(), quantizer.json(), std::move(about));
}

}  // namespace qgrad

// qgrad inspect FILE: what a checkpoint or a config describes: modules, parameters, graph, per-layer quantization.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/plan.h"
#include "apps/report/table.h"
#include "engine/program_file.h"
#include "nn/graph.h"
#include "tasks/image_settings.h"
#include "tasks/model_file.h"
#include "tasks/quantization.h"

namespace qgrad {
namespace {

struct Inspected {
  ModulePtr model;
  std::unique_ptr<Quantizer> quantizer;
  Json about;
  DataDescription data;
};

// A config of any command: the model as it would be built and prepared with the quantizer.
Inspected inspect_config(const Config& config) {
  Inspected result;
  if (config.has("data")) result.data.image = configured_image(config.at("data").at("dataset"));
  const Config model = with_data(config.at("model"), result.data);
  result.model = build_model(model, 1, std::nullopt);
  result.about = {{"model", model.json()}};
  if (config.has("quantizer") && !config.at("quantizer").json().is_null()) {
    Config quantizer = config.at("quantizer");
    result.about["quantizer"] = Registry<Quantizer>::resolve(quantizer);
    result.quantizer = Registry<Quantizer>::create(quantizer);
    result.quantizer->forgo_stats();
    result.quantizer->prepare(result.model, nullptr, example_inputs(model, result.data));
  }
  return result;
}

Inspected inspect_checkpoint(const std::string& file) {
  ModelFile loaded = load_model(file, std::nullopt);
  Json about = {{"model", loaded.experiment.model.json()}};
  if (loaded.quantizer_config) about["quantizer"] = config_for_results(loaded.quantizer_config);
  about["trained_on"] = write_config(loaded.trained_on.data);
  return {std::move(loaded.model), std::move(loaded.quantizer), std::move(about), std::move(loaded.trained_on.data)};
}

Json graph_json(Module& model, std::span<const Tensor> example) {
  Json nodes = Json::array();
  const Graph graph = Graph::trace(model, example);
  for (const GraphNode& node : graph.nodes()) {
    Json inputs = Json::array(), shape = Json::array();
    for (const size_t p : node.preds) inputs.push_back(graph[p].name);
    for (const int64_t d : node.output_shape.dims()) shape.push_back(d);
    nodes.push_back({{"name", node.name}, {"kind", node.kind}, {"inputs", inputs}, {"output_shape", shape}});
  }
  return nodes;
}

std::string text_of(const Json& result, Module& model) {
  using enum Table::Align;
  Table graph{{{"graph", left}, {"kind", left}, {"output", left}, {"inputs", left}}, {}};
  for (const Json& node : result.at("graph"))
    graph.rows.push_back({node.at("name").get<std::string>(), node.at("kind").get<std::string>(),
                          node.at("output_shape").dump(),
                          fmt::format("{}", fmt::join(node.at("inputs").get<std::vector<std::string>>(), ", "))});
  std::string out =
      fmt::format("{}\n{} parameters\n\n{}", to_string(model), result.at("parameters").get<int64_t>(), to_text(graph));
  if (!result.contains("layers")) return out;
  return out + "\n" + layer_bits_text(result.at("layers"), result.at("quantizer"));
}

void run_inspect(const std::string& file, const CommonOptions& options) {
  const bool is_config = std::filesystem::path(file).extension() == ".json";
  check(is_config || (options.set.empty() && !options.quick), "{}: --set and --quick are for configs", file);
  check(is_config || !deploy::is_program_file(file),
        "{}: an integer program; `qgrad evaluate` and `qgrad predict` take it", file);
  Inspected inspected = is_config ? inspect_config(read_parts_of_config(file, options, {"data", "model", "quantizer"}))
                                  : inspect_checkpoint(file);
  const Config model_config{inspected.about.at("model"), file, "model"};
  int64_t parameters = 0;
  for (const Parameter* p : all_parameters(*inspected.model)) parameters += p->raw().numel();
  Json result = inspected.about;
  result["parameters"] = parameters;
  result["graph"] = graph_json(*inspected.model, example_inputs(model_config, inspected.data));
  if (inspected.quantizer) result["layers"] = resolved_layers(*inspected.quantizer);
  print_result(options, result, text_of(result, *inspected.model));
}

const Subcommand inspect_command{
    "inspect", "graph, parameters and per-layer quantization of a checkpoint or config",
    [](CLI::App& command) {
      const auto options = add_common_options(command, {"--set", "--quick"});
      const auto file = std::make_shared<std::string>();
      command.add_option("CHECKPOINT|CONFIG", *file, "safetensors file, or JSON config of any command")->required();
      command.callback([=] { run_inspect(*file, *options); });
    },
    "qgrad inspect examples/cifar10_resnet20/w4a4.safetensors\n"
    "qgrad inspect CONFIG --set quantizer.bits_weights=4"};

}  // namespace

}  // namespace qgrad

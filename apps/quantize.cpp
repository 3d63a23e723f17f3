// qgrad quantize CONFIG, or MODEL --images FOLDER: post-training quantization: calibrate, prepare, evaluate, save.
#include <fmt/format.h>
#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <span>

#include "apps/command.h"
#include "apps/export.h"
#include "apps/plan.h"
#include "apps/report/report.h"
#include "apps/run_facts.h"
#include "quant/post_train/layer_report.h"
#include "quant/simulation/layer.h"
#include "tasks/agreement.h"
#include "tasks/corrections_file.h"
#include "tasks/deployment.h"
#include "tasks/image_settings.h"
#include "tasks/layer_facts.h"
#include "tasks/output_folder.h"
#include "tasks/predictions.h"
#include "tasks/quantization.h"

namespace qgrad {
namespace {

constexpr size_t kLayersPrinted = 8;

struct QuantizeCommandConfig : ExperimentConfig {
  ClassConfig<Quantizer> quantizer;
  std::optional<CalibrationConfig> calibration = CalibrationConfig{};
};
void fields(Fields& v, QuantizeCommandConfig& c) {
  fields(v, static_cast<ExperimentConfig&>(c));
  v("quantizer", c.quantizer, {.help = "the quantizer's class and settings", .required = true});
  v("calibration", c.calibration, {.help = "images or statistics that set the ranges; null: dynamic quantization"});
}

// The command line of a network and a folder of pictures, in place of a config.
struct QuantizeOptions {
  std::string file;
  std::optional<std::string> images;
  std::string labels = "none", bits = "8";
  std::vector<float> mean, std;
};

// "8", or "4,8": of weights and activations.
std::pair<int, int> bits_of(const std::string& text) {
  int weights = 0, activations = 0;
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, weights);
  auto last = first;
  activations = weights;
  if (first.ec == std::errc() && first.ptr != end && *first.ptr == ',')
    last = std::from_chars(first.ptr + 1, end, activations);
  const auto fits = [](int bits) { return bits >= 2 && bits <= 8; };
  check(last.ec == std::errc() && last.ptr == end && fits(weights) && fits(activations),
        "--bits {}: expected 2 to 8, or two of them, as 4,8, for weights and activations", text);
  return {weights, activations};
}

// Of weights: so few that it counts whether there are as many levels above zero as below.
constexpr int kFewBits = 4;

// The config that says the same.
Config config_of(const QuantizeOptions& chosen) {
  check(!chosen.mean.empty() && !chosen.std.empty(),
        "--images: give --mean and --std too, those of byte / 255 that the network was trained with (0 and 1 where it "
        "takes byte / 255 itself): the file does not say them");
  const auto [weights, activations] = bits_of(chosen.bits);
  Json quantizer{
      {"class", "PostTrainLinearQuantizer"},
      {"bits_weights", weights},
      {"bits_activations", activations},
      {"mode",
       {{"activations", "ASYMMETRIC_UNSIGNED"}, {"weights", weights <= kFewBits ? "SYMMETRIC_MIDRISE" : "SYMMETRIC"}}},
      {"per_channel_wts", true},
      {"clip_acts", "MSE"},
      {"scale_correction", true},
      {"bias_correction", true}};
  if (std::min(weights, activations) < 8)
    quantizer.update(
        {{"also_clip_weights", true}, {"bits_sums", 8}, {"reconstruction", {{"network_iterations", 200}}}});
  return {{{"name", std::filesystem::path(chosen.file).stem().string()},
           {"checkpoint", chosen.file},
           {"data",
            {{"dataset", {{"class", "image_folder"}, {"dir", *chosen.images}, {"labels", chosen.labels}}},
             {"transforms", {{"mean", chosen.mean}, {"std", chosen.std}}},
             {"validation", 0}}},
           {"quantizer", quantizer}},
          chosen.file,
          ""};
}

Table layer_table(std::span<const LayerError> layers) {
  using enum Table::Align;
  Table table{{{"layer, worst first", left}, {"SQNR dB"}, {"mean sq error"}, {"saturated"}, {"cosine"}}, {}};
  for (const LayerError& layer : layers)
    table.rows.push_back({layer.path, fmt::format("{:.2f}", layer.sqnr_db),
                          fmt::format("{:.4g}", layer.mean_squared_error),
                          fmt::format("{:.3f} %", 100 * layer.saturation), fmt::format("{:.5f}", layer.cosine)});
  return table;
}

std::string layers_text(const std::vector<LayerError>& layers) {
  if (layers.empty()) return "";  // of a quantizer that has no layers of integers
  const size_t shown = std::min(kLayersPrinted, layers.size());
  std::string text = to_text(layer_table(std::span(layers).first(shown)));
  if (shown < layers.size()) text += fmt::format("and {} more in results.json\n", layers.size() - shown);
  return text + "\n";
}

// Accuracy before and after, and of the program.
std::string accuracy_text(const Metrics& before, const Metrics& after, int64_t bytes, const Deployment& program) {
  Table table{{{"", Table::Align::left}, {"top-1 %"}, {"top-5 %"}, {"loss"}, {"bytes"}, {"images/s"}}, {}};
  const auto add = [&](const char* name, const Metrics& m, const std::string& size, const std::string& speed) {
    table.rows.push_back({name, fmt::format("{:.2f}", m.top1()), fmt::format("{:.2f}", m.top5()),
                          fmt::format("{:.5f}", m.loss()), size, speed});
  };
  const auto rate = [&](double speed) { return program.refused.empty() ? fmt::format("{:.0f}", speed) : ""; };
  add("float", before, "", "");
  add("quantized", after, std::to_string(bytes), rate(program.simulated_images_per_second));
  if (program.refused.empty())
    add("program", program.metrics, std::to_string(program.bytes), rate(program.images_per_second));
  return to_text(table) + (program.refused.empty() ? "" : fmt::format("no program: {}\n", program.refused));
}

Json to_json(const std::vector<OutputAgreement>& outputs) {
  Json list = Json::array();
  for (const OutputAgreement& output : outputs) list.push_back(output.to_json());
  return list;
}

// The network of a config, quantized: its files in the folder, its results, and what is printed of them.
class QuantizeRun {
 public:
  QuantizeRun(const QuantizeCommandConfig& config, const ImageTask& data, OutputFolder& folder)
      : config_(config),
        data_(data),
        folder_(folder),
        resolved_(resolved_config(config, data)),
        run_facts_(run_facts(data, resolved_)) {}

  void run() {
    ModulePtr model = build_model(config_.model, config_.seed, config_.checkpoint);
    check_statistics(*model, config_.quantizer, config_.calibration);
    const bool has_labels = !data_.dataset().class_names().empty();
    std::optional<Predictions> before;
    if (has_labels) before = float_predictions(*model, data_, "float");
    CorrectionsFile kept(folder_, what_counts());
    const Quantized quantized = quantize_model(model, {.architecture = config_.model,
                                                       .quantizer = config_.quantizer,
                                                       .task = data_,
                                                       .label = "calibration",
                                                       .calibration = config_.calibration,
                                                       .kept = &kept});
    const std::vector<LayerError> layers = layer_report(*model, *quantized.reference, quantized.images);
    facts_ = {{"layers", qgrad::to_json(layer_facts(*model, *quantized.reference, quantized.images[0]))}};
    for (const char* earlier : {"results.json", "report.html"}) folder_.remove(earlier);  // of files that are replaced
    write_json(folder_.to_write("config.json"), resolved_);
    write_json(folder_.to_write("layer_quant_params.json"), layer_quant_params(*model));
    if (const QuantStats* stats = quantized.quantizer->stats_after_prepare())
      write_stats(folder_.to_write("quant_stats_after_prepare_model.json"), *stats);
    const int64_t bytes = packed_bytes(*model, quantized.quantizer.get());
    results_ = {{"name", config_.name},
                {"seed", config_.seed},
                {"dataset", data_.describe()},
                {"model", config_.model.json()},
                {"quantizer", config_for_results(quantized.config)}};
    text_ = layers_text(layers);
    checkpoint_ = folder_.to_write("model.safetensors");
    if (has_labels)
      judge_by_labels(*model, *before, quantized, bytes);
    else
      judge_by_agreement(*model, quantized);
    results_["model_bytes"] = bytes;
    results_["layers"] = qgrad::to_json(layers);
    results_["checkpoint"] = checkpoint_.string();
    write_json(folder_.to_write("report.json"), facts_);
    write_results();
    folder_.remove(CorrectionsFile::kName);
  }

  // An ONNX file and a program beside the checkpoint; where the network has no such form, why not.
  void write_exports(CommonOptions options) {
    ModelFile file = load_model(checkpoint_, std::nullopt);
    try {
      program_of(file);
    } catch (const Error& e) {
      results_["export"] = {{"refused", e.what()}};
      text_ += fmt::format("neither ONNX nor a program: {}\n", e.what());
      for (const char* earlier : {"model.onnx", "model.qgi"}) folder_.remove(earlier);
      return write_results();
    }
    options.set.clear();  // which is for the config
    Exported exported = export_checkpoint({.checkpoint = checkpoint_.string(),
                                           .onnx = (folder_.path() / "model.onnx").string(),
                                           .program = (folder_.path() / "model.qgi").string()},
                                          options);
    results_["export"] = std::move(exported.results);
    text_ += exported.text;
    write_results();
  }

  void print(const CommonOptions& options) const {
    print_result(options, results_, fmt::format("{}{}\n{}\n", text_, checkpoint_.string(), page_.string()));
  }

 private:
  // What corrections depend on: not on the compiler or the instruction set.
  Json what_counts() const {
    Json of{{"config", resolved_}};
    for (const char* key : {"version", "commit", "data_crc32c", "files_crc32c"})
      if (run_facts_.contains(key)) of[key] = run_facts_.at(key);
    return of;
  }

  void write_results() {
    qgrad::write_results(folder_, "quantize", results_, run_facts_);
    page_ = write_report(folder_, quantization_report(results_, facts_));
  }

  void judge_by_labels(Module& model, const Predictions& before, const Quantized& quantized, int64_t bytes) {
    const Predictions after = predictions(model, data_, "quantized");
    save_model(checkpoint_, model, config_, data_, quantized.config, after.metrics.to_json());
    const Deployment program = deploy_checkpoint(checkpoint_, data_, "program");
    results_["float"] = before.metrics.to_json();
    results_["quantized"] = after.metrics.to_json();
    results_["program"] = program.to_json();
    facts_["confusion"] = confusion(data_, after.classes);
    facts_["images"] = lost_images(data_, before.classes, after.classes);
    text_ += accuracy_text(before.metrics, after.metrics, bytes, program);
  }

  // Of images without labels, with the float network.
  void judge_by_agreement(Module& model, const Quantized& quantized) {
    const auto simulated = [&](const Tensor& images) { return model.call(std::span(&images, 1)); };
    const auto outputs = agreement(*quantized.reference, simulated, data_.test(), "quantized");
    save_model(checkpoint_, model, config_, data_, quantized.config, outputs[0].to_json());
    results_["agreement"] = to_json(outputs);
    text_ += agreement_text(outputs);
  }

  const QuantizeCommandConfig& config_;
  const ImageTask& data_;
  OutputFolder& folder_;
  const Json resolved_, run_facts_;
  Json results_, facts_;  // of results.json, and of report.json: what the report says beyond it
  std::string text_;
  std::filesystem::path checkpoint_, page_;
};

void run_quantize(const QuantizeOptions& chosen, const CommonOptions& options) {
  const std::string& file = chosen.file;
  auto config =
      read_command_config<QuantizeCommandConfig>(chosen.images ? config_of(chosen) : Config::read(file), options);
  if (!config.checkpoint)
    config_error(file, "'checkpoint' is missing: post-training quantization needs a trained model");
  if (!is_post_training(config.quantizer))
    config_error(config.quantizer.where(), "this quantizer works by training; use `qgrad train`");
  OutputFolder folder(output_folder(options.out, config.name));
  folder.check_results_are_of("quantize");
  folder.check_spares({*config.checkpoint, config.calibration ? config.calibration->statistics.value_or("") : ""},
                      {"model.safetensors", "quant_stats_after_prepare_model.json"});
  const auto task = open_task(config, options.data);
  config.model = with_data(config.model, task->description());
  const ImageTask& data = images_of(*task);
  check_can_write(folder.path() / "results.json");
  check_calibration(data, config.calibration, file, "calibration", has_corrections(config.quantizer));
  check_post_training(config, config.quantizer, data, config.calibration);
  if (options.dry_run)
    return print_plan(options, config, config.quantizer, *task, {{"folder", folder.path().string()}});
  QuantizeRun quantization(config, data, folder);
  quantization.run();
  if (chosen.images) quantization.write_exports(options);
  quantization.print(options);
}

const Subcommand quantize_command = [] {
  register_config("quantize", config_kind<QuantizeCommandConfig>());
  return Subcommand(
      "quantize", "post-training quantization: calibrate, prepare, evaluate, save",
      [](CLI::App& command) {
        const auto options =
            add_common_options(command, {"--set", "--out", "--data", "--seed", "--quick", "--dry-run"});
        const auto chosen = std::make_shared<QuantizeOptions>();
        command
            .add_option("CONFIG|MODEL", chosen->file,
                        "JSON config; or with --images a float network: ONNX model or checkpoint")
            ->required();
        CLI::Option* images =
            command.add_option("--images", chosen->images, "folder of pictures, in place of a config");
        const auto with_images = [&](CLI::Option* option) { option->needs(images); };
        with_images(command.add_option("--labels", chosen->labels, "of the pictures: folders, or none")
                        ->check(CLI::IsMember({"folders", "none"})));
        with_images(command.add_option("--bits", chosen->bits, "of weights and activations: 8, 4, or two, as 4,8"));
        with_images(
            command.add_option("--mean", chosen->mean, "of byte / 255, one for each channel: 0.485,0.456,0.406")
                ->delimiter(','));
        with_images(command.add_option("--std", chosen->std, "the same of the deviation")->delimiter(','));
        command.callback([=] { run_quantize(*chosen, *options); });
      },
      "qgrad quantize configs/cifar10_resnet20_post_train.json --dry-run\n"
      "qgrad quantize net.onnx --images pictures --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --bits 4,8");
}();

}  // namespace

}  // namespace qgrad

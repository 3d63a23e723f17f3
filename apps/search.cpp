// qgrad search CONFIG: searches quantization parameters on calibration images, and writes a config for qgrad quantize.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/bit_search.h"
#include "apps/command.h"
#include "apps/plan.h"
#include "apps/processes.h"
#include "apps/report/report.h"
#include "apps/run_facts.h"
#include "quant/post_train/greedy_search.h"
#include "quant/post_train/lapq.h"
#include "tasks/image_settings.h"
#include "tasks/metrics.h"
#include "tasks/output_folder.h"
#include "tasks/progress.h"
#include "tasks/quantization.h"

namespace qgrad {
namespace {

struct SearchConfig {
  std::optional<LapqConfig> lapq;
  std::optional<GreedyConfig> greedy;
  std::optional<BitsConfig> bits;
};
void fields(Fields& v, SearchConfig& c) {
  v("lapq", c.lapq, {.help = "scales or clipping values, one after another"});
  v("greedy", c.greedy, {.help = "clip modes, layer by layer"});
  v("bits", c.bits, {.help = "bits of every layer, under budgets or a limit of what they may cost"});
}

struct SearchCommandConfig : ExperimentConfig {
  ClassConfig<Quantizer> quantizer;
  CalibrationConfig calibration;
  SearchConfig search;
};
void fields(Fields& v, SearchCommandConfig& c) {
  fields(v, static_cast<ExperimentConfig&>(c));
  v("quantizer", c.quantizer, {.help = "the quantizer's class and settings", .required = true});
  v("calibration", c.calibration, {.help = "images that set the ranges, and that the search goes by"});
  v("search", c.search, {.help = "one of lapq, greedy and bits", .required = true});
}

// Calibration images with their labels, in memory.
class CalibrationAccuracy {
 public:
  CalibrationAccuracy(const ImageTask& data, const CalibrationConfig& config) {
    Loader loader = data.calibration(config);
    loader.start_epoch(0);
    while (auto batch = loader.next()) batches_.push_back(std::move(*batch));
  }
  Metrics operator()(Module& model) const {
    Metrics metrics;
    for (const Batch& batch : batches_) metrics.add(model(batch.images), batch.labels);
    return metrics;
  }
  const Tensor& first_images() const { return batches_.at(0).images; }

 private:
  std::vector<Batch> batches_;
};

SearchResult search_lapq(const SearchCommandConfig& config, const ImageTask& data, const CalibrationAccuracy& judge) {
  const LapqConfig& lapq = *config.search.lapq;
  Config searched = config.quantizer;
  if (!Registry<Quantizer>::resolve(searched).contains("quant_params"))
    config_error(searched.where("class"), "lapq finds \"quant_params\", which PostTrainLinearQuantizer has, and {} not",
                 searched.json().at("class").get<std::string>());
  Json& quantizer = searched.json();
  quantizer["save_fp_weights"] = quantizer["also_clip_weights"] = true;
  quantizer["clip_acts"] = lapq.init >= LapqInit::l1 ? "NONE" : enum_name(lapq.init);
  if (quantizer.contains("overrides"))
    for (auto& [pattern, settings] : quantizer["overrides"].items())
      for (const char* key : {"clip_acts", "clip_n_stds", "clip_percentile"}) settings.erase(key);
  ModulePtr model = build_model(config.model, config.seed, config.checkpoint);
  check_statistics(*model, config.quantizer, config.calibration);
  const Config uncorrected = without_corrections(searched);
  const Quantized quantized = quantize_model(model, {.architecture = config.model,
                                                     .quantizer = uncorrected,
                                                     .task = data,
                                                     .label = "calibration",
                                                     .calibration = config.calibration});
  Progress progress("search", lapq.max_evaluations, "evaluations");
  const LapqResult result = lapq_search(
      *model, *quantized.reference, judge.first_images(), [&](Module& m) { return judge(m).loss(); }, lapq,
      [&](double loss, int evaluations) { progress.update(evaluations, fmt::format("loss {:.5f}", loss)); });
  quantizer["quant_params"] = result.quant_params;
  return {quantizer,
          {{"first_loss", result.first_loss}, {"loss", result.loss}, {"evaluations", result.evaluations}},
          fmt::format("loss on the calibration images: {:.5f} at first, {:.5f} found, {} evaluations\n",
                      result.first_loss, result.loss, result.evaluations)};
}

SearchResult search_greedy(const SearchCommandConfig& config, const ImageTask& data, const CalibrationAccuracy& judge) {
  const Config base = without_corrections(config.quantizer);
  const auto quantizer = Registry<Quantizer>::create(base);
  const auto float_model = [&] {
    ModulePtr model = build_model(config.model, config.seed, config.checkpoint);
    model->set_training(false);
    check_statistics(*model, config.quantizer, config.calibration);
    quantizer->prepare_float(model, data.example());
    return model;
  };
  const QuantStats stats = calibration_stats(*float_model(), data, config.calibration, "calibration");
  // Wrong answers; of equals the lower loss.
  const auto cost = [&](Module& m) {
    const Metrics metrics = judge(m);
    return (100 - metrics.top1()) + 1e-6 * metrics.loss();
  };
  GreedyResult result = greedy_search(base.json(), float_model, stats, data.example(), cost, *config.search.greedy,
                                      [](const std::string& path, size_t done, size_t all) {
                                        note(fmt::format("search  {} ({} of {})", path, done, all));
                                      });
  add_corrections(config.quantizer, result.quantizer);
  return {
      result.quantizer,
      {{"calibration_top1", 100 - result.cost}, {"evaluations", result.evaluations}},
      fmt::format("top1 on the calibration images: {:.2f}, {} evaluations\n", 100 - result.cost, result.evaluations)};
}

SearchResult found_by(const SearchCommandConfig& config, const ImageTask& data, const std::filesystem::path& folder) {
  if (config.search.bits)
    return search_bits(*config.search.bits, config, config.quantizer, config.calibration, data, folder);
  const CalibrationAccuracy judge(data, config.calibration);
  return config.search.lapq ? search_lapq(config, data, judge) : search_greedy(config, data, judge);
}

void run_search(const std::string& config_file, const CommonOptions& options) {
  auto config = read_command_config<SearchCommandConfig>(config_file, options);
  if (!config.checkpoint) config_error(config_file, "'checkpoint' is missing: the search needs a trained model");
  if (!is_post_training(config.quantizer))
    config_error(config.quantizer.where(),
                 "this quantizer works by training; a search is for those that quantize after it");
  const SearchConfig& search = config.search;
  if (search.lapq.has_value() + search.greedy.has_value() + search.bits.has_value() != 1)
    config_error(config_file + ": search", "expected exactly one of 'lapq', 'greedy' and 'bits'");
  if (!search.lapq) check_measures(config.calibration);
  if (search.bits) check_bits(*search.bits, config_file + ": search.bits");
  const auto shared = shared_folder(output_folder(options.out, config.name));
  OutputFolder& folder = *shared;
  if (is_first_process()) folder.check_results_are_of("search");
  folder.check_spares({config_file, *config.checkpoint}, {"config.json", "quantize.json", "results.json"});
  const auto task = open_task(config, options.data);
  if (!search.bits) check_labelled(*task);
  config.model = with_data(config.model, task->description());
  const ImageTask& data = images_of(*task);
  check_can_write(folder.path() / "results.json");
  check_calibration(data, config.calibration, config_file, "calibration", has_corrections(config.quantizer));
  check_post_training(config, config.quantizer, data, config.calibration);
  if (options.dry_run) {
    if (is_first_process())
      print_plan(options, config, config.quantizer, *task,
                 {{"search", write_config(search)}, {"folder", folder.path().string()}});
    return;
  }
  Json experiment = resolved_config(config, data);
  const Json facts = run_facts(data, experiment);
  check_alike(experiment, facts, nullptr);
  if (!is_first_process() && !search.bits) return;  // one evaluation depends on the other
  const SearchResult found = found_by(config, data, folder.path());
  if (!is_first_process()) return;

  for (const char* earlier : {"results.json", "report.html", "quantize.json"}) folder.remove(earlier);
  write_json(folder.to_write("config.json"), experiment);
  experiment.erase("search");
  experiment["name"] = config.name + "_quantized";  // a folder of its own
  experiment["quantizer"] = found.quantizer;
  const std::string file = folder.to_write("quantize.json").string();
  write_json(file, experiment);
  Json results = {{"name", config.name},
                  {"seed", config.seed},
                  {"dataset", data.describe()},
                  {"model", config.model.json()},
                  {"config", file}};
  results.update(found.report);
  write_results(folder, "search", results, facts);
  const std::filesystem::path page = write_report(folder, search_report(results));
  print_result(options, results, fmt::format("{}{}\n{}\n", found.text, file, page.string()));
}

const Subcommand search_command = config_command<SearchCommandConfig>(
    "search", "search quantization parameters; writes a config for `qgrad quantize`", run_search,
    "qgrad search configs/cifar10_resnet20_search_bits.json --out out/bits\n"
    "qgrad quantize out/bits/quantize.json",
    {"--dry-run"});

}  // namespace

}  // namespace qgrad

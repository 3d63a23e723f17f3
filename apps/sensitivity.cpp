// qgrad sensitivity CONFIG: which layers quantization hurts, and by how much at each number of bits.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/plan.h"
#include "apps/probes.h"
#include "apps/processes.h"
#include "apps/report/report.h"
#include "apps/run_facts.h"
#include "tasks/image_settings.h"
#include "tasks/output_folder.h"
#include "tasks/quantization.h"
#include "tasks/sensitivity.h"
#include "tasks/training_state.h"

namespace qgrad {
namespace {

using What = Probe::What;

struct SensitivityCommandConfig : ExperimentConfig {
  ClassConfig<Quantizer> quantizer;
  CalibrationConfig calibration;
  SensitivityConfig sensitivity;
};
void fields(Fields& v, SensitivityCommandConfig& c) {
  fields(v, static_cast<ExperimentConfig&>(c));
  v("quantizer", c.quantizer, {.help = "the quantizer's class and settings", .required = true});
  v("calibration", c.calibration, {.help = "images that set the ranges, and that the network is judged by"});
  v("sensitivity", c.sensitivity, {.help = "what is measured"});
}

constexpr const char* kProbes = "probes.json";

// What was measured so far, with what.
struct Probes {
  Json config, run, probes;
};
void fields(Fields& v, Probes& c) {
  v("config", c.config, {.required = true});
  v("run", c.run, {.required = true});
  v("probes", c.probes, {.required = true});
}

// What was measured before in this folder, where the run goes on. Throws where that was with another config, but for
// what is measured, or of another network or on other data.
std::vector<Damage> measured_before(const std::filesystem::path& file, Json config, const Json& run) {
  if (!std::filesystem::exists(file)) return {};
  auto before = read_config<Probes>(Config::read(file));
  for (Json* c : {&before.config, &config}) c->erase("sensitivity");
  std::vector<std::string> differences = config_differences(before.config, config);
  std::ranges::move(source_differences(before.run, run), std::back_inserter(differences));
  check(differences.empty(), "{}: was measured with another config or other data, and can not go on with these: {}",
        file.string(), fmt::join(differences, "; "));
  std::vector<Damage> known;
  for (const Json& entry : before.probes) known.push_back(damage_of(entry));
  return known;
}

// How well the estimates rank the layers at each number of bits, against what was measured: the change of the outputs,
// of their softmax, and of the loss where there are labels.
Json ranking(const std::vector<Damage>& all, const SensitivityConfig& config) {
  Json ranking = Json::array();
  for (const int bits : config.bits) {
    std::vector<double> estimated, noise, divergence, loss;
    for (const Damage& d : all) {
      if (d.probe.what != What::weights || d.probe.bits != bits || !d.estimate) continue;
      estimated.push_back(*d.estimate);
      noise.push_back(-d.sqnr_db);
      divergence.push_back(d.divergence);
      if (d.loss) loss.push_back(*d.loss);
    }
    if (estimated.size() < 2) continue;
    ranking.push_back({{"bits", bits},
                       {"sqnr", rank_correlation(estimated, noise)},
                       {"divergence", rank_correlation(estimated, divergence)}});
    if (!loss.empty()) ranking.back()["loss"] = rank_correlation(estimated, loss);
  }
  return ranking;
}

std::string text_of(const Table& table, const std::vector<Damage>& all, const SensitivityConfig& config,
                    const Json& ranks) {
  const Damage &nothing = all[0], &everything = all[1];
  std::string text = to_text(table);
  text += fmt::format("\n{} lost with one layer's weights (W) or what it gives (A) quantized, by bits",
                      nothing.top1 ? "points of top-1" : "percent of top-1 agreement");
  if (config.spare)
    text +=
        fmt::format("; and with all but the layer, as the config says ({:.2f} with all)", lost(everything, nothing));
  text += "\n";
  for (const Json& rank : ranks) {
    text += fmt::format(
        "W{}: gradients alone rank the layers as their SQNR does to {:.2f} (Spearman), as divergence to {:.2f}",
        rank.at("bits").get<int>(), rank.at("sqnr").get<double>(), rank.at("divergence").get<double>());
    if (rank.contains("loss")) text += fmt::format(", as the loss to {:.2f}", rank.at("loss").get<double>());
    text += "\n";
  }
  return text;
}

void run_sensitivity(const std::string& config_file, const std::optional<std::filesystem::path>& resume,
                     const CommonOptions& options) {
  auto config = read_command_config<SensitivityCommandConfig>(config_file, options);
  if (!config.checkpoint) config_error(config_file, "'checkpoint' is missing: a trained model is what is measured");
  if (!is_post_training(config.quantizer))
    config_error(config.quantizer.where(), "this quantizer works by training; expected one that quantizes after it");
  check_measures(config.calibration);
  const auto shared = shared_folder(resume ? *resume : output_folder(options.out, config.name));
  OutputFolder& folder = *shared;
  if (!resume && is_first_process()) check_unused(folder.path());
  const auto task = open_task(config, options.data);
  config.model = with_data(config.model, task->description());
  const ImageTask& data = images_of(*task);
  check_calibration(data, config.calibration, config_file, "calibration");
  check_post_training(config, config.quantizer, data, config.calibration);
  if (options.dry_run && !is_first_process()) return;
  if (options.dry_run)
    return print_plan(options, config, config.quantizer, data,
                      {{"sensitivity", write_config(config.sensitivity)}, {"folder", folder.path().string()}});
  const Json resolved = resolved_config(config, data), facts = run_facts(data, resolved);
  const std::vector<Damage> known =
      resume ? measured_before(folder.path() / kProbes, resolved, facts) : std::vector<Damage>();
  check_alike(resolved, facts, known.size());
  const Sensitivity sensitivity(config, config.quantizer, config.calibration, data, config.sensitivity);
  if (is_first_process()) write_json(folder.to_write("config.json"), resolved);
  std::vector<Damage> all =
      measured(sensitivity, known, "sensitivity", folder.path(), [&](const std::vector<Damage>& so_far) {
        Probes kept{resolved, facts, Json::array()};
        for (const Damage& d : so_far) kept.probes.push_back(to_json(d));
        write_json(folder.to_write(kProbes), write_config(kept));
      });
  if (!is_first_process()) return;
  if (config.sensitivity.gradient_images > 0) {
    const std::vector<double> estimates = sensitivity.estimates();
    auto estimate = estimates.begin();
    for (Damage& d : all)
      if (d.probe.what == What::weights) d.estimate = *estimate++;
  }
  const Json ranks = ranking(all, config.sensitivity);
  Json results{{"name", config.name},
               {"seed", config.seed},
               {"dataset", data.describe()},
               {"model", config.model.json()},
               {"rank_correlation", ranks}};
  for (const Damage& d : all) results["probes"].push_back(to_json(d));
  write_results(folder, "sensitivity", results, facts);
  const Report report = sensitivity_report(results);
  const std::filesystem::path page = write_report(folder, report);
  folder.remove(kProbes);
  print_result(options, results, text_of(report.table, all, config.sensitivity, ranks) + page.string() + "\n");
}

const Subcommand sensitivity_command = resumable_command<SensitivityCommandConfig>(
    "sensitivity", "which layers quantization hurts, by bits: measured, and estimated from gradients", run_sensitivity,
    "qgrad sensitivity configs/cifar10_resnet20_sensitivity.json --out out/layers\n"
    "qgrad sensitivity --resume out/layers",
    {"--dry-run"});

}  // namespace
}  // namespace qgrad

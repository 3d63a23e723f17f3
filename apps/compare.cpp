// qgrad compare CONFIG: float, post-training and quantization-aware rows side by side.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/comparison.h"
#include "apps/report/document.h"
#include "apps/report/report.h"
#include "apps/report/results.h"
#include "core/parallel.h"
#include "tasks/deployment.h"
#include "tasks/model_file.h"
#include "tasks/output_folder.h"
#include "tasks/quantization.h"
#include "tasks/stopwatch.h"
#include "tasks/training.h"

namespace qgrad {
namespace {

// As a shell takes it for one word.
std::string shell_word(const std::string& text) {
  if (text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+.,:=/@%") ==
      std::string::npos)
    return text;
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

class ComparisonRun {
 public:
  // `command`: how the results are made. With `resume`, rows that the folder's results have are kept; rows that were
  // not begun may be changed in config.json, and others added.
  ComparisonRun(CompareCommandConfig config, std::string config_file, const CommonOptions& options,
                std::filesystem::path folder, std::string command, bool resume)
      : config_(std::move(config)),
        file_(std::move(config_file)),
        folder_(std::move(folder)),
        output_(folder_),
        task_(open_task(config_, options.data)),
        resume_(resume),
        command_(std::move(command)) {
    if (!resume_) check_unused(folder_);
    written_ = resolved_config(config_, *task_);
    const std::filesystem::path results = folder_ / "results.json";
    if (!resume_ || !std::filesystem::exists(results)) return;
    const Config finished = Config::read(results);
    check_results(finished);
    command_ = finished.json().at("command").get<std::string>();
    for (const Json& row : finished.json().at("rows")) known_[row.at("name").get<std::string>()] = row;
    earlier_ = finished.at("config");
  }

  Json run() {
    const std::vector<PlannedRow> rows = planned_rows(config_);
    if (earlier_) check_unchanged(rows);
    if (config_.document && task_->score() != "top1")
      config_error(file_, "'document' is for comparisons on images; results.json and report.html have it all");
    if (config_.document) check_document(*config_.document);
    ModulePtr model = placed_at(Config{nullptr, file_, config_.checkpoint ? "checkpoint" : "model"},
                                [&] { return build_model(config_.model, config_.seed, config_.checkpoint); });
    if (config_.train)
      placed_at(config_.train->place, [&] {
        check_training(*model, *make_optimizer(config_.train->optimizer, *model), *task_, *config_.train);
      });
    if (std::ranges::any_of(rows, [](const PlannedRow& row) { return is_post_training(row.quantizer); }))
      check_calibration(*task_, config_.calibration, file_, "calibration");
    order_ = {"float"};
    for (const PlannedRow& row : rows) {
      check_row(row);
      order_.push_back(row.name);
    }
    write_json(output_.to_write("config.json"), written_);
    write_results();
    add_float_row();
    for (const PlannedRow& row : rows) add_row(row);
    if (config_.document) update_document(*config_.document, results_);
    return results_;
  }

 private:
  // Whatever is wrong with a row is found before the first epoch.
  void check_row(const PlannedRow& row) const {
    if (known_.contains(row.name)) return;
    if (is_post_training(row.quantizer))
      return placed_at(row.place, [&] { check_post_training(config_, row.quantizer, *task_, config_.calibration); });
    placed_at(row.place, [&] {
      const TrainConfig tuning = fine_tuning(config_, row);
      ModulePtr model = Registry<Architecture>::create(config_.model)->make();
      const auto optimizer = make_optimizer(tuning.optimizer, *model);
      quantize_model(model, config_.model, row.quantizer, optimizer.get(), *task_, std::nullopt, row.name);
      check_training(*model, *optimizer, *task_, tuning);
    });
  }

  // Rows that are finished, or begun, must be as they were in the config that they were made with.
  void check_unchanged(const std::vector<PlannedRow>& rows) const {
    const auto check_equal = [&](const std::string& what, const Json& was, const Json& is) {
      check(was == is, "{}: {} is {}, but what is there was made with {}: compare in another folder", file_, what,
            is.dump(), was.dump());
    };
    const auto without_folder = [](Json config) {  // of the data: it may have moved
      config["data"]["dataset"].erase("dir");
      return config;
    };
    const std::vector<PlannedRow> made = planned_rows(read_config<CompareCommandConfig>(*earlier_));
    const Json before = without_folder(earlier_->json()), now = without_folder(written_);
    for (const auto& [key, value] : before.items())
      if (key != "rows" && key != "matrices" && key != "document") check_equal(key, value, now.at(key));
    for (const auto& [name, row] : known_)
      check(name == "float" || std::ranges::count(rows, name, &PlannedRow::name) > 0,
            "{}: row '{}' is finished, but is not there any more: compare in another folder", file_, name);
    for (const PlannedRow& row : rows) {
      const auto was = std::ranges::find(made, row.name, &PlannedRow::name);
      if (was == made.end() ||
          !(known_.contains(row.name) || std::filesystem::exists(folder_of(row.name) / "training.safetensors")))
        continue;
      check_equal(fmt::format("quantizer of row '{}'", row.name), was->quantizer.json(), row.quantizer.json());
      check_equal(fmt::format("train of row '{}'", row.name), was->train.json(), row.train.json());
    }
  }

  std::filesystem::path folder_of(const std::string& row) const { return folder_ / folder_name(row); }
  static std::string state_of(const std::string& row) { return folder_name(row) + "/training.safetensors"; }

  // Trainings go on where they stopped; the stopwatch then counts their earlier epochs too.
  Json train_row(const std::string& row, Module& model, Optimizer& optimizer, const TrainConfig& config,
                 Stopwatch& stopwatch) {
    const double before = stopwatch.seconds();
    const ResumePoint point{.folder = output_, .name = state_of(row), .resume = resume_, .config = {}};
    check_resumable(point, config, *task_);
    const TrainingResult result = train(model, optimizer, *task_, config, row, point);
    stopwatch = Stopwatch(before + result.seconds);
    return result.epochs_json();
  }

  void add_float_row() {
    float_checkpoint_ = (folder_of("float") / "model.safetensors").string();
    if (known_.contains("float")) return;
    Stopwatch stopwatch;
    ModulePtr model = build_model(config_.model, config_.seed, config_.checkpoint);
    Json epochs = Json::array();
    if (config_.train) {
      const auto optimizer = make_optimizer(config_.train->optimizer, *model);
      epochs = train_row("float", *model, *optimizer, *config_.train, stopwatch);
    }
    finish_row("float", "float", Json::object(), *model, nullptr, epochs, stopwatch);
  }

  void add_row(const PlannedRow& row) {
    if (known_.contains(row.name)) return;
    Stopwatch stopwatch;
    const bool post_training = is_post_training(row.quantizer);
    ModulePtr model = build_model(config_.model, config_.seed, float_checkpoint_);
    Json epochs = Json::array();
    Quantized quantized;
    if (post_training) {
      quantized = quantize_model(model, config_.model, row.quantizer, nullptr, *task_, config_.calibration, row.name,
                                 &float_statistics_);
    } else {
      const TrainConfig tuning = fine_tuning(config_, row);
      const auto optimizer = make_optimizer(tuning.optimizer, *model);
      quantized = quantize_model(model, config_.model, row.quantizer, optimizer.get(), *task_, std::nullopt, row.name);
      epochs = train_row(row.name, *model, *optimizer, tuning, stopwatch);
    }
    finish_row(row.name, post_training ? "post-train" : "quant-aware-train", row.origin, *model, &quantized, epochs,
               stopwatch);
  }

  // Evaluates on the test images, saves the row's checkpoint and the results so far.
  void finish_row(const std::string& name, const std::string& kind, const Json& origin, Module& model,
                  const Quantized* quantized, const Json& epochs, const Stopwatch& stopwatch) {
    const Json test = task_->evaluate(model, Task::Part::test, name + "  test");
    const std::optional<Config> quantizer = quantized ? std::optional(quantized->config) : std::nullopt;
    save_model(output_.to_write(folder_name(name) + "/model.safetensors"), model, config_, *task_, quantizer, test);
    const auto bits = [&](const char* key) { return quantizer ? quantizer->json().at(key) : Json(nullptr); };
    Json json = {{"name", name},
                 {"kind", kind},
                 {"bits_weights", bits("bits_weights")},
                 {"bits_activations", bits("bits_activations")}};
    json.update(test);
    json["model_bytes"] = packed_bytes(model, quantized ? quantized->quantizer.get() : nullptr);
    if (const auto* images = dynamic_cast<const ExperimentData*>(&*task_); images && quantized)
      json["program"] = deploy_checkpoint(folder_of(name) / "model.safetensors", *images, name + "  program").to_json();
    json["seconds"] = stopwatch.seconds();
    json.update(origin);
    json["quantizer"] = config_for_results(quantizer);
    json["epochs"] = epochs;
    json["checkpoint"] = (std::filesystem::path(folder_name(name)) / "model.safetensors").string();
    known_[name] = json;
    write_results();
    output_.remove(state_of(name));
  }

  void write_results() {
    Json rows = Json::array();
    double seconds = 0;
    for (const std::string& name : order_)
      if (const auto found = known_.find(name); found != known_.end()) {
        rows.push_back(found->second);
        seconds += found->second.at("seconds").get<double>();
      }
    results_ = {{"name", config_.name},          {"command", command_}, {"seed", config_.seed},
                {"threads", num_threads()},      {"seconds", seconds},  {"dataset", task_->describe()},
                {"model", config_.model.json()}, {"config", written_},  {"rows", rows}};
    write_json(output_.to_write("results.json"), results_);
    if (!rows.empty()) write_file_atomically(output_.to_write("report.html"), results_html(results_));
  }

  CompareCommandConfig config_;
  std::string file_;               // of the config
  Json written_;                   // the same, resolved
  std::optional<Config> earlier_;  // the one that the rows of a resumed comparison were made with
  std::filesystem::path folder_;
  OutputFolder output_;
  std::unique_ptr<Task> task_;
  bool resume_;
  std::string command_;
  std::vector<std::string> order_;     // the names of all rows
  std::map<std::string, Json> known_;  // results by name of row, also from before a stop
  std::string float_checkpoint_;
  std::optional<QuantStats> float_statistics_;  // what calibration measured on it, for all rows
  Json results_;
};

void run(const std::string& config_file, const std::optional<std::filesystem::path>& resume,
         const CommonOptions& options) {
  std::string command = "qgrad compare " + config_file;
  if (options.quick) command += " --quick";
  for (const std::string& setting : options.set) command += " --set " + shell_word(setting);
  if (options.seed) command += fmt::format(" --seed {}", *options.seed);
  auto config = read_command_config<CompareCommandConfig>(config_file, options);
  const auto folder = resume ? *resume : output_folder(options.out, config.name);
  ComparisonRun comparison(std::move(config), config_file, options, folder, command, resume.has_value());
  const Json results = comparison.run();
  print_result(options, results, results_table(results) + fmt::format("\n{}\n", (folder / "report.html").string()));
}

const Subcommand compare_command = resumable_command<CompareCommandConfig>(
    "compare", "float, post-training and quantization-aware rows side by side", run);

}  // namespace

}  // namespace qgrad

// qgrad compare CONFIG: float, post-training and quantization-aware rows side by side.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>

#include "apps/command.h"
#include "apps/deployment.h"
#include "apps/document.h"
#include "apps/matrix.h"
#include "apps/model_file.h"
#include "apps/quantization.h"
#include "apps/report.h"
#include "apps/stopwatch.h"
#include "apps/training.h"
#include "core/parallel.h"

namespace qgrad {
namespace {

struct RowConfig {
  std::string name;
  Config quantizer;
  Json train = Json::object();
  std::vector<uint64_t> seeds;
};
template <class V>
void fields(V& v, RowConfig& c) {
  v("name", c.name, {.help = "name of the row", .required = true});
  v("quantizer", c.quantizer, {.help = "the quantizer's class and settings", .required = true});
  v("train", c.train, {.help = "what this row's fine-tuning changes of quant_aware_train"});
  v("seeds", c.seeds, {.help = "a fine-tuning for each, with this train.seed; empty: one"});
}

// One row of the table: a RowConfig's, or that of one of its seeds, or a cell of a matrix.
struct PlannedRow {
  std::string name;
  Config quantizer;
  Json train = Json::object();
  Json place = Json::object();  // in the results: the row and seed, or the matrix and coordinates, that it is of
};

struct CompareCommandConfig : ExperimentConfig {
  std::optional<TrainConfig> train;
  std::optional<CalibrationConfig> calibration = CalibrationConfig{};
  Config quant_aware_train{Json::object(), "", "quant_aware_train"};
  std::optional<int> max_epochs;
  std::vector<RowConfig> rows;
  std::vector<MatrixConfig> matrices;
  std::optional<std::string> document;
};
template <class V>
void fields(V& v, CompareCommandConfig& c) {
  fields(v, static_cast<ExperimentConfig&>(c));
  v("train", c.train, {.help = "float training; null: use the checkpoint"});
  v("calibration", c.calibration, {.help = "images that set the ranges; null: dynamic quantization"});
  v("quant_aware_train", c.quant_aware_train, {.help = "fine-tuning of the quantization-aware rows"});
  v("max_epochs", c.max_epochs, {.help = "no fine-tuning is longer than this; null: as the rows say", .min = 1});
  v("rows", c.rows, {.help = "the quantized rows, in order"});
  v("matrices", c.matrices, {.help = "further rows: all combinations of settings"});
  v("document", c.document, {.help = "a Markdown file that gets tables; charts and results go beside it"});
}

// "post-training 4/4" -> "post-training_4-4", for a folder; no name gives "." or "..".
std::string folder_name(const std::string& row) {
  std::string name;
  for (const char c : row) {
    const bool kept = std::isalnum(static_cast<unsigned char>(c)) || c == '-' || (c == '.' && !name.empty());
    name += kept ? c : c == '/' ? '-' : '_';
  }
  return name;
}

// As a shell takes it for one word.
std::string shell_word(const std::string& text) {
  if (text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+.,:=/@%") ==
      std::string::npos)
    return text;
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

class Comparison {
 public:
  // `command`: how the results are made. With `resume`, rows that the folder's results have are kept; rows that were
  // not begun may be changed in config.json, and others added.
  Comparison(CompareCommandConfig config, std::string config_file, const CommonOptions& options,
             std::filesystem::path folder, std::string command, bool resume)
      : config_(std::move(config)),
        file_(std::move(config_file)),
        folder_(std::move(folder)),
        task_(open_task(config_, options.data)),
        resume_(resume),
        command_(std::move(command)) {
    if (!resume_) check_unused(folder_);
    written_ = resolved_config(config_, options);
    if (!resume_ || !std::filesystem::exists(folder_ / "results.json")) return;
    const Json finished = read_json(folder_ / "results.json");
    command_ = finished.at("command").get<std::string>();
    for (const Json& row : finished.at("rows")) known_[row.at("name").get<std::string>()] = row;
    earlier_ = finished.at("config");
  }

  Json run() {
    if (config_.rows.empty() && config_.matrices.empty())
      config_error(file_, "neither 'rows' nor 'matrices': there is nothing to compare with");
    const std::vector<PlannedRow> rows = planned_rows(config_, file_);
    if (!earlier_.is_null()) check_unchanged(rows);
    if (config_.train.has_value() == config_.checkpoint.has_value())
      config_error(file_, "exactly one of 'train' and 'checkpoint' must be given");
    if (config_.document && task_->score() != "top1")
      config_error(file_, "'document' is for comparisons on images; results.json and report.html have it all");
    if (config_.document) check_document(*config_.document);
    if (config_.train) {
      ModulePtr model = Registry<Architecture>::create(config_.model)->make();
      check_training(*model, *make_optimizer(config_.train->optimizer, *model), *task_, *config_.train);
    }
    read_config<TrainConfig>(config_.quant_aware_train);  // also where no row needs it
    order_ = {"float"};
    for (const PlannedRow& row : rows) {
      if (row.name.empty()) config_error(file_, "a row's name is empty");
      check_row(row);
      for (const std::string& other : order_)
        if (folder_name(row.name) == folder_name(other))
          config_error(file_, "the rows '{}' and '{}' would share the folder '{}': rename one", other, row.name,
                       folder_name(other));
      order_.push_back(row.name);
    }
    write_json(folder_ / "config.json", written_);
    write_results();
    add_float_row();
    for (const PlannedRow& row : rows) add_row(row);
    if (config_.document) update_document(*config_.document, results_);
    return results_;
  }

 private:
  // Every row by itself: those of the config, one for each seed, and those of the matrices.
  static std::vector<PlannedRow> planned_rows(const CompareCommandConfig& config, const std::string& file) {
    std::vector<PlannedRow> rows;
    for (const RowConfig& row : config.rows) {
      const auto refuse = [&](std::string_view why) { config_error(file, "row '{}': {}", row.name, why); };
      if (std::ranges::count(config.rows, row.name, &RowConfig::name) > 1) refuse("another one has its name");
      if (!row.train.is_object()) refuse(fmt::format("its train is no object, but {}", row.train.dump()));
      if (is_post_training(row.quantizer) && !(row.train.empty() && row.seeds.empty()))
        refuse("it is not trained, so that train and seeds have no effect");
      if (row.seeds.empty()) rows.push_back({row.name, row.quantizer, row.train});
      for (const uint64_t seed : row.seeds) {
        rows.push_back({.name = fmt::format("{}, seed {}", row.name, seed),
                        .quantizer = row.quantizer,
                        .train = row.train,
                        .place = {{"row", row.name}, {"seed", seed}}});
        rows.back().train["seed"] = seed;
      }
    }
    for (const MatrixConfig& matrix : config.matrices)
      for (MatrixRow& row : matrix_rows(matrix, file))
        rows.push_back({.name = fmt::format("{}: {}", matrix.title, fmt::join(row.coordinates, ", ")),
                        .quantizer = std::move(row.quantizer),
                        .place = {{"matrix", matrix.title}, {"coordinates", row.coordinates}}});
    return rows;
  }

  TrainConfig fine_tuning(const PlannedRow& row) const {
    Config merged = config_.quant_aware_train;
    merged.value.merge_patch(row.train);
    auto config = read_config<TrainConfig>(merged);
    config.epochs = std::min(config.epochs, config_.max_epochs.value_or(config.epochs));
    return config;
  }

  // Whatever is wrong in a row's config is found before the first epoch; the overrides of post-training rows need
  // calibration to be checked, and such rows are quick.
  void check_row(const PlannedRow& row) const {
    if (is_post_training(row.quantizer)) return;
    try {
      const TrainConfig tuning = fine_tuning(row);
      ModulePtr model = Registry<Architecture>::create(config_.model)->make();
      const auto optimizer = make_optimizer(tuning.optimizer, *model);
      quantize_model(model, config_.model, row.quantizer, optimizer.get(), *task_, std::nullopt, row.name);
      check_training(*model, *optimizer, *task_, tuning);
    } catch (const Error& e) {
      fail("row '{}': {}", row.name, e.what());
    }
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
    const Json before = without_folder(earlier_), now = without_folder(written_);
    for (const auto& [key, value] : before.items())
      if (key != "rows" && key != "matrices" && key != "document") check_equal(key, value, now.at(key));
    const std::string earlier_file = (folder_ / "results.json").string();
    const std::vector<PlannedRow> made =
        planned_rows(read_config<CompareCommandConfig>({earlier_, earlier_file, "config"}), earlier_file);
    for (const auto& [name, row] : known_)
      check(name == "float" || std::ranges::count(rows, name, &PlannedRow::name) > 0,
            "{}: row '{}' is finished, but is not there any more: compare in another folder", file_, name);
    for (const PlannedRow& row : rows) {
      const auto was = std::ranges::find(made, row.name, &PlannedRow::name);
      if (was == made.end() ||
          !(known_.contains(row.name) || std::filesystem::exists(folder_of(row.name) / "training.safetensors")))
        continue;
      check_equal(fmt::format("quantizer of row '{}'", row.name), was->quantizer.value, row.quantizer.value);
      check_equal(fmt::format("train of row '{}'", row.name), was->train, row.train);
    }
  }

  std::filesystem::path folder_of(const std::string& row) const { return folder_ / folder_name(row); }

  // Trainings go on where they stopped; the stopwatch then counts their earlier epochs too.
  Json train_row(const std::string& row, Module& model, Optimizer& optimizer, const TrainConfig& config,
                 Stopwatch& stopwatch) {
    const double before = stopwatch.seconds();
    const TrainingResult result =
        train(model, optimizer, *task_, config, row, ResumePoint{folder_of(row) / "training.safetensors", resume_});
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
      const TrainConfig tuning = fine_tuning(row);
      const auto optimizer = make_optimizer(tuning.optimizer, *model);
      quantized = quantize_model(model, config_.model, row.quantizer, optimizer.get(), *task_, std::nullopt, row.name);
      epochs = train_row(row.name, *model, *optimizer, tuning, stopwatch);
    }
    finish_row(row.name, post_training ? "post-train" : "quant-aware-train", row.place, *model, &quantized, epochs,
               stopwatch);
  }

  // Evaluates on the test images, saves the row's checkpoint and the results so far.
  void finish_row(const std::string& name, const std::string& kind, const Json& place, Module& model,
                  const Quantized* quantized, const Json& epochs, const Stopwatch& stopwatch) {
    const Json test = task_->evaluate(model, Task::Part::test, name + "  test");
    const std::optional<Config> quantizer = quantized ? std::optional(quantized->config) : std::nullopt;
    save_model(folder_of(name) / "model.safetensors", model, config_, quantizer, test);
    const auto bits = [&](const char* key) { return quantizer ? quantizer->value.at(key) : Json(nullptr); };
    Json json = {{"name", name},
                 {"kind", kind},
                 {"bits_weights", bits("bits_weights")},
                 {"bits_activations", bits("bits_activations")}};
    json.update(test);
    json["model_bytes"] = packed_bytes(model, quantized ? quantized->quantizer.get() : nullptr);
    if (const auto* images = dynamic_cast<const ExperimentData*>(&*task_); images && quantized)
      json["program"] = deploy_checkpoint(folder_of(name) / "model.safetensors", *images, name + "  program").to_json();
    json["seconds"] = stopwatch.seconds();
    json.update(place);
    json["quantizer"] = config_for_results(quantizer);
    json["epochs"] = epochs;
    json["checkpoint"] = (std::filesystem::path(folder_name(name)) / "model.safetensors").string();
    known_[name] = json;
    write_results();
    std::filesystem::remove(folder_of(name) / "training.safetensors");
  }

  void write_results() {
    Json rows = Json::array();
    double seconds = 0;
    for (const std::string& name : order_)
      if (const auto found = known_.find(name); found != known_.end()) {
        rows.push_back(found->second);
        seconds += found->second.at("seconds").get<double>();
      }
    results_ = {{"name", config_.name},         {"command", command_}, {"seed", config_.seed},
                {"threads", num_threads()},     {"seconds", seconds},  {"dataset", task_->describe()},
                {"model", config_.model.value}, {"config", written_},  {"rows", rows}};
    write_json(folder_ / "results.json", results_);
    if (!rows.empty()) write_file_atomically(folder_ / "report.html", results_html(results_));
  }

  CompareCommandConfig config_;
  std::string file_;  // of the config
  Json written_;      // the same, resolved
  Json earlier_;      // the one that the rows of a resumed comparison were made with
  std::filesystem::path folder_;
  std::unique_ptr<Task> task_;
  bool resume_;
  std::string command_;
  std::vector<std::string> order_;     // the names of all rows
  std::map<std::string, Json> known_;  // results by name of row, also from before a stop
  std::string float_checkpoint_;
  Json float_statistics_;  // what calibration measured on it, for all rows
  Json results_;
};

void run(const std::string& config_file, const std::optional<std::filesystem::path>& resume,
         const CommonOptions& options) {
  std::string command = "qgrad compare " + config_file;
  if (options.quick) command += " --quick";
  for (const std::string& setting : options.set) command += " --set " + shell_word(setting);
  if (options.seed) command += fmt::format(" --seed {}", *options.seed);
  auto config = read_config<CompareCommandConfig>(read_command_config(config_file, options));
  const auto folder = resume ? *resume : output_folder(options.out, config.name);
  Comparison comparison(std::move(config), config_file, options, folder, command, resume.has_value());
  const Json results = comparison.run();
  print_result(options, results, results_table(results) + fmt::format("\n{}\n", (folder / "report.html").string()));
}

}  // namespace

void add_compare_command(CLI::App& app) {
  add_resumable_command<CompareCommandConfig>(app, "compare",
                                              "float, post-training and quantization-aware rows side by side", run);
}

}  // namespace qgrad

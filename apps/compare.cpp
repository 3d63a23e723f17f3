// qgrad compare CONFIG: float, post-training and quantization-aware rows side by side.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <iterator>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/comparison.h"
#include "apps/processes.h"
#include "apps/report/document.h"
#include "apps/report/report.h"
#include "apps/report/results.h"
#include "apps/report/table.h"
#include "apps/run_facts.h"
#include "core/parallel.h"
#include "tasks/deployment.h"
#include "tasks/image_settings.h"
#include "tasks/model_file.h"
#include "tasks/output_folder.h"
#include "tasks/quantization.h"
#include "tasks/stop_signals.h"
#include "tasks/stopwatch.h"
#include "tasks/training.h"
#include "tasks/training_setup.h"
#include "tasks/training_state.h"

namespace qgrad {
namespace {

// Whether --row says to make a row: by its name, or that of all its seeds or of its matrix.
bool is_chosen(const PlannedRow& row, const std::vector<std::string>& chosen) {
  return chosen.empty() || row.is_float() || std::ranges::any_of(chosen, [&](const std::string& name) {
           return name == row.name || name == row.origin.value("row", "") || name == row.origin.value("matrix", "");
         });
}

void check_chosen(const std::vector<PlannedRow>& rows, const std::vector<std::string>& chosen) {
  std::vector<std::string> names;
  std::ranges::transform(rows, std::back_inserter(names), &PlannedRow::name);
  for (const std::string& name : chosen)
    check(std::ranges::any_of(rows, [&](const PlannedRow& row) { return !row.is_float() && is_chosen(row, {name}); }),
          "--row: there is no row '{}'{}; have: {}", name, did_you_mean(name, names), joined(names));
}

// What all rows are made with.
struct Setup {
  const CompareCommandConfig& config;
  const std::string& file;  // of the config
  const Task& task;
  OutputFolder& output;
  bool resume;

  std::filesystem::path folder_of(const std::string& row) const { return output.path() / folder_name(row); }
  std::filesystem::path checkpoint_of(const std::string& row) const { return folder_of(row) / "model.safetensors"; }
};

std::string state_of(const std::string& row) { return folder_name(row) + "/training.safetensors"; }

// The rows that are finished, before a stop too; on disk after each of them. Any thread may add to them.
class Results {
 public:
  // `header`: what results.json says beside its rows. `order`: the names of all rows.
  Results(Json header, std::vector<std::string> order, std::map<std::string, Json> finished)
      : json_(std::move(header)), order_(std::move(order)), finished_(std::move(finished)) {}

  bool has(const std::string& name) const { return finished_.contains(name); }
  const Json& json() const { return json_; }
  void add(const Json& row, OutputFolder& output) {
    const std::lock_guard lock(mutex_);
    finished_[row.at("name").get<std::string>()] = row;
    if (running_.value("name", Json()) == row.at("name")) running_ = Json::object();
    write(output);
  }
  void write(OutputFolder& output) {
    Json rows = Json::array();
    double seconds = 0;
    for (const std::string& name : order_)
      if (const auto found = finished_.find(name); found != finished_.end()) {
        rows.push_back(found->second);
        seconds += found->second.at("seconds").get<double>();
      }
    json_["seconds"] = seconds;
    json_["rows"] = rows;
    write_json(output.to_write("results.json"), json_);
    if (!rows.empty()) write_page(output);
  }
  // `row`: the one in training, as far as a report has it.
  void show(Json row, OutputFolder& output) {
    const std::lock_guard lock(mutex_);
    running_ = std::move(row);
    write_page(output);
  }

 private:
  void write_page(OutputFolder& output) const {
    Json json = json_;
    if (!running_.empty()) json["running"] = running_;
    write_report(output, comparison_report(json));
  }

  Json json_;
  std::vector<std::string> order_;
  std::map<std::string, Json> finished_;
  Json running_ = Json::object();
  std::mutex mutex_;
};

// Rows that are finished, or begun, must be as they were in the config that they were made with.
void check_unchanged(const Setup& setup, const Config& earlier, const Json& written,
                     const std::map<std::string, Json>& finished, const std::vector<PlannedRow>& rows) {
  const auto check_equal = [&](const std::string& what, const Json& was, const Json& is) {
    check(was == is, "{}: {} is {}, but what is there was made with {}: compare in another folder", setup.file, what,
          is.dump(), was.dump());
  };
  const auto without_folder = [](Json config) {  // of the data: it may have moved
    config["data"]["dataset"].erase("dir");
    return config;
  };
  const std::vector<PlannedRow> made = planned_rows(read_config<CompareCommandConfig>(earlier));
  const Json before = without_folder(earlier.json()), now = without_folder(written);
  for (const auto& [key, value] : before.items())
    if (key != "rows" && key != "matrices" && key != "document") check_equal(key, value, now.at(key));
  for (const auto& [name, row] : finished)
    check(name == "float" || std::ranges::count(rows, name, &PlannedRow::name) > 0,
          "{}: row '{}' is finished, but is not there any more: compare in another folder", setup.file, name);
  for (const PlannedRow& row : rows) {
    const auto was = std::ranges::find(made, row.name, &PlannedRow::name);
    const bool begun = finished.contains(row.name) || std::filesystem::exists(setup.output.path() / state_of(row.name));
    if (was == made.end() || !begun) continue;
    check_equal(fmt::format("quantizer of row '{}'", row.name), was->quantizer.json(), row.quantizer.json());
    check_equal(fmt::format("train of row '{}'", row.name), was->train.json(), row.train.json());
  }
}

// Whether the float network that rows start from is made here.
bool trains_float(const CompareCommandConfig& config) { return config.train || !config.checkpoint; }

// Whatever is wrong with a row is found before the first epoch.
void check_row(const Setup& setup, const PlannedRow& row) {
  const CompareCommandConfig& config = setup.config;
  placed_at(row.place, [&] {
    if (row.is_post_training()) return check_post_training(config, row.quantizer, setup.task, config.calibration);
    const auto training = training_of(config, row);
    if (!training) return;
    ModulePtr model = Registry<Architecture>::create(config.model)->make();
    const auto optimizer = make_optimizer(training->optimizer, *model);
    if (!row.is_float())
      quantize_model(model, {.architecture = config.model,
                             .quantizer = row.quantizer,
                             .task = setup.task,
                             .label = row.name,
                             .optimizer = optimizer.get()});
    check_training(*model, *optimizer, setup.task, *training);
  });
}

void check_all(const Setup& setup, const std::vector<PlannedRow>& rows, const Results& results) {
  const CompareCommandConfig& config = setup.config;
  if (config.document && setup.task.score() != "top1")
    config_error(setup.file, "'document' is for comparisons on images; results.json and report.html have it all");
  if (config.document) check_document(*config.document);
  const ModulePtr model = placed_at(Config{nullptr, setup.file, config.checkpoint ? "checkpoint" : "model"},
                                    [&] { return build_model(config.model, config.seed, config.checkpoint); });
  if (std::ranges::any_of(rows, &PlannedRow::is_post_training) ||
      (config.calibration && config.calibration->augmentations > 0))
    check_calibration(setup.task, config.calibration, setup.file, "calibration",
                      std::ranges::any_of(rows, &PlannedRow::has_corrections));
  for (const PlannedRow& row : rows) {
    if (results.has(row.name)) continue;
    check_row(setup, row);
    if (!trains_float(config) && !row.is_float())
      check_statistics(*model, row.quantizer, row.is_post_training() ? config.calibration : std::nullopt);
  }
}

std::string kind_of(const PlannedRow& row) {
  return row.is_float() ? "float" : row.is_post_training() ? "post-train" : "quant-aware-train";
}

// Of --dry-run: every row, and what each of its layers gets.
void print_rows(const Setup& setup, const std::vector<PlannedRow>& rows, const Results& results,
                const CommonOptions& options) {
  Json plan{{"data", setup.task.describe()}, {"folder", setup.output.path().string()}, {"rows", Json::array()}};
  Table table{{{"row", Table::Align::left}, {"kind", Table::Align::left}, {"W/A"}, {"epochs"}}, {}};
  for (const PlannedRow& row : rows) {
    if (!is_chosen(row, options.rows)) continue;
    const std::optional<TrainConfig> training = training_of(setup.config, row);
    Json planned{{"name", row.name}, {"kind", kind_of(row)}, {"epochs", training ? training->epochs : 0}};
    Config quantizer = row.quantizer;
    if (!row.is_float()) {
      ModulePtr model = Registry<Architecture>::create(setup.config.model)->make();
      quantizer = Registry<Quantizer>::resolve(row.quantizer);
      const auto prepared = Registry<Quantizer>::create(quantizer);
      prepared->forgo_stats();
      prepared->prepare(model, nullptr, example_inputs(setup.config.model, setup.task.description()));
      planned.update({{"quantizer", quantizer.json()}, {"layers", resolved_layers(*prepared)}});
    }
    const auto bits = [&](const char* key) {
      const Json& value = row.is_float() ? Json() : quantizer.json().at(key);
      return value.is_null() ? std::string("32") : json_line(value);
    };
    table.rows.push_back({row.name, results.has(row.name) ? "finished" : kind_of(row),
                          bits("bits_weights") + "/" + bits("bits_activations"),
                          training ? std::to_string(training->epochs) : ""});
    plan["rows"].push_back(std::move(planned));
  }
  print_result(options, plan,
               fmt::format("data: {}\nfolder: {}\n\n{}\nlayers of each row: --json\nnothing was done: --dry-run\n",
                           json_line(plan["data"]), setup.output.path().string(), to_text(table)));
}

// Makes a row's model and saves its checkpoint. `statistics`: what calibration measured on the float model, for all
// rows. Trainings go on where they stopped; their time counts the earlier epochs too.
Json finished_row(const Setup& setup, const PlannedRow& row, std::optional<QuantStats>& statistics,
                  Results& results) try {
  const CompareCommandConfig& config = setup.config;
  const std::string start = trains_float(config) ? setup.checkpoint_of("float").string() : *config.checkpoint;
  Stopwatch stopwatch;
  ModulePtr model = build_model(config.model, config.seed, row.is_float() ? config.checkpoint : start);
  const std::optional<TrainConfig> training = training_of(config, row);
  const auto optimizer = training ? make_optimizer(training->optimizer, *model) : nullptr;
  std::optional<Quantized> quantized;
  if (!row.is_float()) {
    const auto calibration = training ? std::nullopt : config.calibration;
    check_statistics(*model, row.quantizer, calibration);
    quantized = quantize_model(model, {.architecture = config.model,
                                       .quantizer = row.quantizer,
                                       .task = setup.task,
                                       .label = row.name,
                                       .calibration = calibration,
                                       .optimizer = optimizer.get(),
                                       .measured = &statistics});
  }
  const std::optional<Config> quantizer = quantized ? std::optional(quantized->config) : std::nullopt;
  const auto bits = [&](const char* key) { return quantizer ? quantizer->json().at(key) : Json(nullptr); };
  Json json = {{"name", row.name},
               {"kind", kind_of(row)},
               {"bits_weights", bits("bits_weights")},
               {"bits_activations", bits("bits_activations")}};
  Json epochs = Json::array();
  if (training) {
    const double before = stopwatch.seconds();
    ResumePoint point{.folder = setup.output, .name = state_of(row.name), .resume = setup.resume, .config = {}};
    if (is_first_process())
      point.show = [&](const TrainingResult& so_far) {
        Json running = json;
        running.update({{"epochs", so_far.epochs_json()}, {"of_epochs", training->epochs}});
        results.show(std::move(running), setup.output);
      };
    check_resumable(point, *training, setup.task);
    const StopSignals stop_signals;
    const TrainingResult result = train(*model, *optimizer, setup.task, *training, row.name, point);
    stopwatch = Stopwatch(before + result.seconds);
    epochs = result.epochs_json();
  }

  const Json test = setup.task.evaluate(*model, Task::Part::test, row.name + "  test");
  const std::string checkpoint = folder_name(row.name) + "/model.safetensors";
  save_model(setup.output.to_write(checkpoint), *model, config, setup.task, quantizer, test);
  json.update(test);
  json["model_bytes"] = packed_bytes(*model, quantized ? quantized->quantizer.get() : nullptr);
  if (const ImageTask* images = setup.task.on_images(); images && quantized)
    json["program"] = deploy_checkpoint(setup.checkpoint_of(row.name), *images, row.name + "  program").to_json();
  json["seconds"] = stopwatch.seconds();
  json.update(row.origin);
  json["quantizer"] = config_for_results(quantizer);
  json["epochs"] = epochs;
  json["checkpoint"] = checkpoint;
  return json;
} catch (const Error& e) {
  fail("row '{}': {}", row.name, e.what());
}

// The rows that an earlier run of the folder finished, by name. Throws where that was of another version, on another
// processor or with other files than this run is.
std::map<std::string, Json> rows_of(const Config& earlier, const Json& run, const std::string& file) {
  const Json made_by = earlier.json().value("run", Json());
  const std::vector<std::string> differences = source_differences(made_by, run);
  check(differences.empty(), "{}: what is there was made with others: {}: compare in another folder", file,
        fmt::join(differences, "; "));
  std::map<std::string, Json> finished;
  for (Json row : earlier.json().at("rows")) {
    if (!row.contains("run") && made_by != run) row["run"] = made_by;
    finished[row.at("name").get<std::string>()] = row;
  }
  return finished;
}

// `command`: how the results are made. With `resume`, rows that the folder's results have are kept; rows that were not
// begun may be changed in config.json, and others added. Null on other processes than the first, and of --dry-run.
Json compare(CompareCommandConfig config, const std::string& file, const CommonOptions& options,
             const std::filesystem::path& folder, std::string command, bool resume) {
  const auto shared = shared_folder(folder);
  OutputFolder& output = *shared;
  const auto task = open_task(config, options.data);
  check_labelled(*task);
  config.model = with_data(config.model, task->description());
  if (!resume && is_first_process()) check_unused(folder);
  const Setup setup{config, file, *task, output, resume};
  const Json written = resolved_config(config, *task);
  std::vector<PlannedRow> rows = planned_rows(config);
  const Json run = run_facts(*task, written);
  std::map<std::string, Json> finished;
  if (resume && std::filesystem::exists(folder / "results.json")) {
    const Config earlier = Config::read(folder / "results.json");
    check_results(earlier);
    command = earlier.json().at("command").get<std::string>();
    finished = rows_of(earlier, run, file);
    check_unchanged(setup, earlier.at("config"), written, finished, rows);
  }
  check_alike(written, run, finished);
  check_chosen(rows, options.rows);
  rows.insert(rows.begin(), {.name = "float", .place = config.train ? config.train->place : Config{}});
  std::vector<std::string> names;
  for (const PlannedRow& row : rows) {
    names.push_back(row.name);
    output.check_spares(files_of(run), {folder_name(row.name) + "/model.safetensors"});
  }
  const Json header = {{"name", config.name},          {"command", command}, {"seed", config.seed},
                       {"threads", num_threads()},     {"seconds", 0},       {"dataset", task->describe()},
                       {"model", config.model.json()}, {"run", run},         {"config", written}};
  Results results(header, names, std::move(finished));
  check_all(setup, rows, results);
  if (options.dry_run) {
    if (is_first_process()) print_rows(setup, rows, results, options);
    return nullptr;
  }
  std::optional<QuantStats> statistics;
  const auto finish = [&](const Json& row) {
    results.add(row, output);
    output.remove(state_of(row.at("name").get<std::string>()));
  };
  if (is_first_process()) {
    write_json(output.to_write("config.json"), written);
    results.write(output);
    for (const std::string& name : names)
      if (results.has(name)) output.remove(state_of(name));  // where it was stopped before that
    if (trains_float(config) && !results.has(rows[0].name)) finish(finished_row(setup, rows[0], statistics, results));
  }
  wait_for_first_process();
  std::vector<int64_t> left;
  for (size_t i = 0; i < rows.size(); ++i)
    if (!results.has(rows[i].name) && is_chosen(rows[i], options.rows)) left.push_back(static_cast<int64_t>(i));
  share_work(
      folder, left, [&](int64_t i) { return finished_row(setup, rows[static_cast<size_t>(i)], statistics, results); },
      [&](int64_t, const Json& row) { finish(row); });
  if (!is_first_process()) return nullptr;
  const bool finished_all = std::ranges::all_of(rows, [&](const PlannedRow& row) { return results.has(row.name); });
  if (config.document && finished_all) update_document(*config.document, results.json());
  return results.json();
}

void run(const std::string& config_file, const std::optional<std::filesystem::path>& resume,
         const CommonOptions& options) {
  std::string command = "qgrad compare " + config_file;
  if (options.quick) command += " --quick";
  for (const std::string& setting : options.set) command += " --set " + shell_word(setting);
  if (options.seed) command += fmt::format(" --seed {}", *options.seed);
  const auto config = read_command_config<CompareCommandConfig>(config_file, options);
  const auto folder = resume ? *resume : output_folder(options.out, config.name);
  const Json results = compare(config, config_file, options, folder, command, resume.has_value());
  if (results.is_null()) return;
  print_result(options, results, results_table(results) + fmt::format("\n{}\n", (folder / "report.html").string()));
}

const Subcommand compare_command = resumable_command<CompareCommandConfig>(
    "compare", "float, post-training and quantization-aware rows side by side", run,
    "qgrad compare configs/digits_compare.json\n"
    "qgrad compare configs/digits_compare.json --row 'QAT 2/2'    # then --resume makes the others\n"
    "qgrad compare --resume out/digits_compare",
    {"--dry-run", "--row"});

}  // namespace

}  // namespace qgrad

// The sections of a schedule, one after another.
#include "apps/distiller/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/distiller/learning_rate.h"
#include "quant/quantizer.h"
#include "tasks/experiment.h"

namespace qgrad {
namespace {

// --- the file, as Distiller reads it (config.py, policy.py) ---

// What a policy acts on: an instance of a section, by its name.
struct PolicyTarget {
  std::string instance_name;
};
void fields(Fields& v, PolicyTarget& t) { v("instance_name", t.instance_name, {.required = true}); }

struct SchedulePolicy {
  std::optional<PolicyTarget> quantizer, lr_scheduler;
  Config pruner, regularizer, extension;
  int starting_epoch = 0, frequency = 1;
  std::optional<int> ending_epoch;
  std::optional<std::vector<int>> epochs;
};
void fields(Fields& v, SchedulePolicy& p) {
  v("quantizer", p.quantizer);
  v("lr_scheduler", p.lr_scheduler);
  v("pruner", p.pruner);
  v("regularizer", p.regularizer);
  v("extension", p.extension);
  v("starting_epoch", p.starting_epoch, {.min = 0});
  v("ending_epoch", p.ending_epoch, {.min = 1});
  v("frequency", p.frequency, {.min = 1});
  v("epochs", p.epochs);
}

struct ScheduleSections {
  std::optional<int> version;
  Config quantizers = Config::object("quantizers"), lr_schedulers = Config::object("lr_schedulers");
  Config pruners = Config::object("pruners"), regularizers = Config::object("regularizers"),
         extensions = Config::object("extensions");
  std::vector<Placed<SchedulePolicy>> policies;
};
void fields(Fields& v, ScheduleSections& s) {
  v("version", s.version);
  v("quantizers", s.quantizers);
  v("lr_schedulers", s.lr_schedulers);
  v("pruners", s.pruners);
  v("regularizers", s.regularizers);
  v("extensions", s.extensions);
  v("policies", s.policies);
}

// --- what is made of it ---

// The model of an architecture's name: "resnet20" for "resnet20_cifar"; null where qgrad has none.
std::optional<std::string> model_of(std::string arch) {
  if (const size_t data = arch.find("_cifar"); data != std::string::npos) arch.erase(data, 6);
  const std::vector<std::string> known = Registry<Architecture>::instance().names();
  return std::ranges::find(known, arch) != known.end() ? std::optional(arch) : std::nullopt;
}

bool is_for_cifar(const std::optional<std::string>& arch) { return arch && arch->find("_cifar") != std::string::npos; }

// "a|b", but not "(a|b)".
bool has_alternatives(const std::string& pattern) {
  int depth = 0;
  for (const char c : pattern) {
    depth += c == '(' ? 1 : c == ')' ? -1 : 0;
    if (c == '|' && depth == 0) return true;
  }
  return false;
}

std::string class_of(const Config& quantizer) {
  std::string name;
  read_onto(name, quantizer.at("class"));
  return name;
}

bool approximates_scales(const Json& settings) {
  return std::ranges::any_of(settings.items(), [](const auto& member) {
    if (member.key() == "scale_approx_mult_bits") return !member.value().is_null();
    return member.value().is_object() && approximates_scales(member.value());
  });
}

class ScheduleConversion {
 public:
  ScheduleConversion(const Config& schedule, const DistillerCommandLine& line)
      : line_(line), place_(schedule.place()), sections_(read_config<ScheduleSections>(schedule)) {}

  ConvertedSchedule converted(const std::string& name) {
    leave_out_what_qgrad_lacks();
    const std::optional<Config> quantizer = the_quantizer();
    if (!quantizer && sections_.lr_schedulers.json().empty())
      config_error(place_.where(), "neither a quantizer nor one of lr_schedulers: nothing that qgrad has");
    config_["name"] = name;
    add_data();
    add_model();
    if (quantizer && class_of(*quantizer) == "PostTrainLinearQuantizer")
      add_post_training(*quantizer);
    else
      add_training(quantizer);
    if (quantizer) try_on_model(quantizer->place());
    return {std::move(config_), std::move(notes_)};
  }

 private:
  void note(const std::string& where, const std::string& why) { notes_.push_back(where + ": " + why); }

  void leave_out_what_qgrad_lacks() {
    leave_out(sections_.pruners, "qgrad does not prune");
    leave_out(sections_.regularizers, "qgrad has no regularizer but weight_decay");
    leave_out(sections_.extensions, "qgrad has nothing like it");
    for (const auto& policy : sections_.policies) {
      if (policy.quantizer) sections_.quantizers.at(policy.quantizer->instance_name);  // throws where there is none
      const bool is_other = !policy.pruner.is_null() || !policy.regularizer.is_null() || !policy.extension.is_null();
      if (is_other) note(policy.place.where(), "left out, as what it acts on");
      if (!is_other && !policy.quantizer && !policy.lr_scheduler)
        config_error(policy.place.where(), "expected a quantizer, an lr_scheduler, or another that it acts on");
    }
  }

  void leave_out(const Config& section, const char* why) {
    section.expect_object();
    for (const auto& [name, settings] : section.json().items())
      note(section.where(name), fmt::format("left out: {}", why));
  }

  std::optional<Config> the_quantizer() {
    sections_.quantizers.expect_object();
    const Json& all = sections_.quantizers.json();
    if (all.empty()) return std::nullopt;
    if (all.size() > 1)
      config_error(sections_.quantizers.where(), "expected one quantizer, as Distiller does, got {}", all.size());
    Config quantizer = sections_.quantizers.at(all.begin().key());
    quantizer.expect_object();
    quantizer.json() = renamed(quantizer.json());
    note_other_overrides(quantizer);
    return quantizer;
  }

  static Json renamed(const Json& quantizer) {
    Json out = Json::object();
    for (const auto& [key, value] : quantizer.items())
      if (key != "overrides" || !value.is_null()) out[key == "bits_parameters" ? "bits_weights" : key] = value;
    out = without_fp16(out);
    if (!out.contains("overrides") || !out["overrides"].is_object()) return out;
    for (Json& settings : out["overrides"]) settings = without_fp16(settings);
    return out;
  }

  // Distiller's older word for 16 bits in `fpq_module`.
  static Json without_fp16(Json settings) {
    if (!settings.is_object() || !settings.contains("fp16") || !settings["fp16"].is_boolean()) return settings;
    if (settings["fp16"].get<bool>() && settings.value("fpq_module", Json()).is_null()) settings["fpq_module"] = 16;
    settings.erase("fp16");
    return settings;
  }

  // Those by which Distiller does another thing than is written.
  void note_other_overrides(const Config& quantizer) {
    if (!quantizer.has("overrides")) return;
    const Config overrides = quantizer.at("overrides");
    overrides.expect_object();
    for (const auto& [pattern, settings] : overrides.json().items()) {
      if (has_alternatives(pattern))
        note(overrides.where(pattern),
             "every alternative matches whole paths; in Distiller the first one matches the beginning of a path, and "
             "the last one the end");
      if (!settings.is_object() || !settings.contains("input_overrides")) continue;
      for (const auto& [input, of_input] : settings["input_overrides"].items())
        if (of_input.is_object() && !of_input.contains("from_output"))
          note(overrides.at(pattern).at("input_overrides").where(input),
               "taken as written; Distiller confuses signed and unsigned integers there");
    }
  }

  void add_data() {
    if (is_for_cifar(line_.arch))
      config_["data"] = {{"dataset", {{"class", "cifar10"}}},
                         {"transforms", {{"mean", {0.5}}, {"std", {0.5}}, {"crop_padding", 4}, {"flip", true}}},
                         {"validation", line_.validation_split}};
    else
      note("data", "to be added: a schedule does not name them");
  }

  void add_model() {
    const std::optional<std::string> model = line_.arch ? model_of(*line_.arch) : std::nullopt;
    if (model)
      config_["model"] = {{"class", *model}};
    else if (line_.arch)
      note("model", fmt::format("to be added: qgrad has no '{}'; an ONNX file as \"checkpoint\" says it", *line_.arch));
    else
      note("model", "to be added: a schedule does not name it, --arch does");
  }

  void add_post_training(Config quantizer) {
    leave_out(sections_.lr_schedulers, "nothing is trained");
    for (const auto& policy : sections_.policies)
      if (policy.quantizer || policy.lr_scheduler) note(policy.place.where(), "left out: nothing is trained");
    note("checkpoint", "to be added: the trained network");
    const bool is_static = quantizer.has("model_activation_stats") && !quantizer.at("model_activation_stats").is_null();
    if (is_static)
      note(quantizer.where("model_activation_stats"),
           "left out: 512 training images are measured; to keep the file, convert it too and name the result in "
           "calibration.statistics");
    config_["calibration"] = is_static ? Json{{"images", 512}} : Json();
    quantizer.json().erase("model_activation_stats");
    // ONNX's arithmetic has no form for these.
    if (!is_static || approximates_scales(quantizer.json())) quantizer.json()["rounding"] = "distiller";
    config_["quantizer"] = quantizer.json();
  }

  void add_training(const std::optional<Config>& quantizer) {
    config_["train"] = {
        {"epochs", line_.epochs},
        {"batch_size", line_.batch_size},
        {"optimizer",
         {{"class", "SGD"}, {"lr", line_.lr}, {"momentum", line_.momentum}, {"weight_decay", line_.weight_decay}}}};
    if (const std::optional<Json> schedule = the_schedule()) config_["train"]["schedule"] = *schedule;
    if (!quantizer) return;
    note_policies_of(*quantizer);
    note_ignored_mode(*quantizer);
    config_["quantizer"] = with_clips_of_distiller(*quantizer);
  }

  // Where the schedule says none; those of qgrad are measured.
  static Json with_clips_of_distiller(const Config& quantizer) {
    Json settings = quantizer.json();
    const std::string name = class_of(quantizer);
    if (name == "PACTQuantizer") settings.emplace("act_clip_init_val", 8.0);
    if (name == "DorefaQuantizer" || name == "WRPNQuantizer") settings.emplace("act_clip_val", 1.0);
    return settings;
  }

  void note_ignored_mode(const Config& quantizer) {
    const std::string name = class_of(quantizer);
    const bool is_range_linear = name == "QuantAwareTrainRangeLinearQuantizer" || name == "NCFQuantAwareTrainQuantizer";
    const bool is_given = quantizer.has("mode");
    if (!is_range_linear || (is_given && quantizer.json().at("mode") == "ASYMMETRIC_UNSIGNED")) return;
    note(quantizer.where("mode"),
         fmt::format("{}; Distiller has computed ASYMMETRIC_UNSIGNED since December 2019, whatever is written",
                     is_given ? "taken as written" : "SYMMETRIC, which is the default of both"));
  }

  void note_policies_of(const Config& quantizer) {
    bool is_used = false;
    for (const auto& policy : sections_.policies) {
      if (!policy.quantizer) continue;
      is_used = true;
      if (policy.starting_epoch > 0)
        note(policy.place.where("starting_epoch"),
             "left out: Distiller quantizes from the first epoch on all the same; to begin later, set "
             "train.quantization.quantize_from");
      if (policy.frequency > 1 || policy.epochs || policy.ending_epoch.value_or(line_.epochs) < line_.epochs)
        note(policy.place.where(), "all epochs are quantized; Distiller fails in those that its policy leaves out");
    }
    if (!is_used) note(quantizer.where(), "no policy names it, so Distiller does not quantize; here it does");
  }

  // That of the one policy for learning rates.
  std::optional<Json> the_schedule() {
    sections_.lr_schedulers.expect_object();
    std::optional<Json> schedule;
    std::string used;
    for (const auto& policy : sections_.policies) {
      if (!policy.lr_scheduler) continue;
      if (schedule) config_error(policy.place.where(), "a second policy for learning rates: qgrad has one schedule");
      used = policy.lr_scheduler->instance_name;
      schedule = converted_learning_rate(sections_.lr_schedulers.at(used), line_.epochs, line_.lr);
      check_covers(policy, *schedule);
      if (schedule->at("class") == "cosine" || schedule->at("class") == "polynomial")
        note(sections_.lr_schedulers.where(used), "falls with every step; Distiller's falls once an epoch");
    }
    for (const auto& [name, settings] : sections_.lr_schedulers.json().items())
      if (name != used) note(sections_.lr_schedulers.where(name), "left out: no policy names it");
    return schedule;
  }

  // A policy sets the learning rate of the epoch after each of its own; before its first one and behind its last one
  // the learning rate stays.
  void check_covers(const Placed<SchedulePolicy>& policy, const Json& schedule) const {
    if (policy.frequency > 1 || policy.epochs)
      config_error(policy.place.where(), "expected epochs in a row: qgrad's schedules leave none out");
    const int first = policy.starting_epoch, last = policy.ending_epoch.value_or(line_.epochs);
    if (!schedule.contains("milestones") && (first > 0 || last < line_.epochs - 1))
      config_error(policy.place.where(),
                   "expected all of {} epochs: qgrad's schedules go from the first to the last one", line_.epochs);
    if (!schedule.contains("milestones")) return;
    for (const double milestone : schedule["milestones"])
      if (milestone < line_.epochs && ((first > 0 && milestone <= first) || milestone > last))
        config_error(policy.place.where(), "its epochs, {} to {}, miss the milestone {}", first, last, milestone);
  }

  // Throws where settings are wrong, or where the model is known, have no effect on it. place: in the file.
  void try_on_model(Config place) {
    place.json() = config_.at("quantizer");
    const auto quantizer = Registry<Quantizer>::create(place);
    if (!config_.contains("model")) return;
    const Config model{config_.at("model"), "", "model"};
    ModulePtr network = build_model(model, 1, std::nullopt);
    quantizer->forgo_stats();
    quantizer->prepare(network, nullptr, example_inputs(model, {}));
  }

  DistillerCommandLine line_;
  Config place_;
  ScheduleSections sections_;
  Json config_ = Json::object();
  std::vector<std::string> notes_;
};

}  // namespace

ConvertedSchedule convert_schedule(const Config& schedule, const std::string& name, const DistillerCommandLine& line) {
  return ScheduleConversion(schedule, line).converted(name);
}

}  // namespace qgrad

// qgrad verify OUT: whether a finished run's models give its numbers again, and what is different from then.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/command.h"
#include "apps/report/table.h"
#include "apps/run_facts.h"
#include "tasks/agreement.h"
#include "tasks/deployment.h"
#include "tasks/model_file.h"
#include "tasks/progress.h"
#include "tasks/quantization.h"

namespace qgrad {
namespace {

namespace fs = std::filesystem;

// What results say of a model that the run left: its metrics, and those of its program, null where there are none; or
// of images without labels, how each output agrees with that of the float network. `run`: what made it.
struct Claim {
  std::string what;
  fs::path checkpoint;
  Json metrics, program, agreement, run;
};

// One for each model, by the form that a command gives its results.
std::vector<Claim> claims_of(const fs::path& folder, const Json& results) {
  std::vector<Claim> claims;
  const auto object = [](const Json& of, const char* key) {
    return of.contains(key) && of.at(key).is_object() ? of.at(key) : Json();
  };
  const Json run = object(results, "run");
  const auto add = [&](const std::string& what, const fs::path& checkpoint, const Json& metrics, const Json& program) {
    if (metrics.is_object()) claims.push_back({what, checkpoint, metrics, program, nullptr, run});
  };
  for (const Json& row : results.value("rows", Json::array())) {
    add(row.at("name"), folder / row.at("checkpoint").get<std::string>(), row, object(row, "program"));
    if (row.contains("run")) claims.back().run = row.at("run");
  }
  add("test", folder / "model.safetensors", object(results, "test"), Json());
  add("folded", folder / "model_folded.safetensors", object(results, "folded"), Json());
  add("quantized", folder / "model.safetensors", object(results, "quantized"), object(results, "program"));
  if (const Json agreement = results.value("agreement", Json()); agreement.is_array())
    claims.push_back({"quantized", folder / "model.safetensors", nullptr, nullptr, agreement, run});
  check(!claims.empty(), "{}: says nothing of a model: expected results of train, quantize or compare",
        (folder / "results.json").string());
  return claims;
}

// What images without labels say of a quantized model again, in the order of its outputs.
std::vector<OutputAgreement> agreement_of(const ModelFile& file, const Config& config, const ImageTask& images,
                                          const std::string& label) {
  const ModulePtr reference = float_reference(config, images);
  const auto quantized = [&](const Tensor& x) { return file.model->call(std::span(&x, 1)); };
  return agreement(*reference, quantized, images.test(), label);
}

// A number or a fact, then and now.
struct Line {
  std::string what;
  Json then, now;
  bool agrees() const { return then == now; }
};

Json json_of(const std::vector<Line>& lines) {
  Json json = Json::object();
  for (const Line& line : lines) json[line.what] = {{"then", line.then}, {"now", line.now}, {"agrees", line.agrees()}};
  return json;
}

class Verification {
 public:
  Verification(const fs::path& folder, std::optional<std::string> data) : data_(std::move(data)) {
    const Config results = Config::read(folder / "results.json");
    results.expect_object(" of results");
    for (const Claim& claim : placed_at(results.place(), [&] { return claims_of(folder, results.json()); }))
      verify(claim);
  }

  size_t differing() const {
    return errors_.size() + static_cast<size_t>(std::ranges::count(numbers_, false, &Line::agrees));
  }
  size_t size() const { return errors_.size() + numbers_.size(); }
  Json json() const {
    return {
        {"agrees", differing() == 0}, {"run", json_of(facts_)}, {"numbers", json_of(numbers_)}, {"errors", errors_}};
  }

  std::string text() const {
    Table table{{{"", Table::Align::left}, {"then"}, {"now"}, {"", Table::Align::left}}, {}};
    const auto shown = [](const Json& value) {
      return value.is_string() ? value.get<std::string>() : value.is_null() ? "not known" : value.dump();
    };
    for (const std::vector<Line>* lines : {&facts_, &numbers_})
      for (const Line& line : *lines)
        table.rows.push_back({line.what, shown(line.then), shown(line.now), line.agrees() ? "" : "differs"});
    std::string text = to_text(table);
    for (const auto& [what, error] : errors_) text += fmt::format("{}: {}\n", what, error);
    return text;
  }

 private:
  void verify(const Claim& claim) {
    try {
      const ModelFile file = load_model(claim.checkpoint, std::nullopt);
      const auto task = open_task(file, data_);
      if (!recorded_.contains(claim.run))
        add_facts(run_facts(*task, nullptr), claim.run, recorded_.empty() ? "" : claim.what + ": ");
      recorded_.insert(claim.run);
      if (claim.agreement.is_array()) return verify_agreement(claim, file, images_of(*task));
      check_labelled(*task);
      add(claim.what, claim.metrics, evaluate(file, *task, claim.what));
      const ImageTask* images = task->on_images();
      if (claim.program.is_null() || !images) return;
      Json program = deploy_checkpoint(claim.checkpoint, *images, claim.what + ", program").to_json();
      for (const char* speed : {"images_per_second", "simulated_images_per_second"}) program.erase(speed);
      add(claim.what + ", program", claim.program, program);
    } catch (const Error& e) {
      errors_[claim.what] = e.what();
    }
  }

  void verify_agreement(const Claim& claim, const ModelFile& file, const ImageTask& images) {
    const Config config = Config::read(claim.checkpoint.parent_path() / "config.json");
    for (const OutputAgreement& output : agreement_of(file, config, images, claim.what)) {
      const Json now = output.to_json();
      const auto then = std::ranges::find_if(
          claim.agreement, [&](const Json& earlier) { return earlier.at("output") == now.at("output"); });
      add(output.name.empty() ? claim.what : output.name, then == claim.agreement.end() ? Json::object() : *then, now);
    }
  }

  void add(const std::string& what, const Json& then, const Json& now) {
    for (const auto& [key, value] : now.items())
      numbers_.push_back({fmt::format("{}: {}", what, key), then.value(key, Json()), value});
  }

  void add_facts(const Json& now, const Json& then, const std::string& prefix) {
    for (const auto& [key, value] : now.items()) {
      const Json earlier = then.is_object() ? then.value(key, Json()) : Json();
      if (value.is_object())
        add_facts(value, earlier, prefix + key + ": ");
      else
        facts_.push_back({prefix + key, earlier, value});
    }
  }

  std::optional<std::string> data_;
  std::set<Json> recorded_;  // what made the models that were looked at
  std::vector<Line> facts_, numbers_;
  std::map<std::string, std::string> errors_;  // of models that can not be evaluated
};

void run(const std::string& folder, const CommonOptions& options) {
  const Verification verification(folder, options.data);
  print_result(options, verification.json(), verification.text());
  check(verification.differing() == 0, "{}: {} of {} numbers are not those of the run", folder,
        verification.differing(), verification.size());
  note(fmt::format("{}: all {} numbers are those of the run", folder, verification.size()));
}

const Subcommand verify_command{
    "verify", "whether a finished run's models give its numbers again, to the digit",
    [](CLI::App& command) {
      const auto options = add_common_options(command, {"--data"});
      const auto folder = std::make_shared<std::string>();
      command.add_option("OUT", *folder, "folder of a run of train, quantize or compare")->required();
      command.callback([=] { run(*folder, *options); });
    },
    "qgrad verify out/digits_compare\n"
    "qgrad verify out/float --data FOLDER --json"};

}  // namespace

}  // namespace qgrad

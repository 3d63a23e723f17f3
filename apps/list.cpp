// qgrad list KIND: the classes that configs can name, with a line on each.
#include <fmt/format.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/report/table.h"
#include "data/dataset.h"
#include "data/movielens.h"
#include "nn/models/architecture.h"
#include "nn/optim/optimizer.h"
#include "nn/optim/schedule.h"
#include "quant/quantizer.h"

namespace qgrad {
namespace {

using Registries = std::vector<const ClassRegistry*>;

const std::map<std::string, Registries>& kinds_of_classes() {
  static const std::map<std::string, Registries> all = {
      {"quantizers", {&Registry<Quantizer>::instance()}},
      {"models", {&Registry<Architecture>::instance()}},
      {"datasets", {&Registry<Dataset>::instance(), &Registry<RatingSource>::instance()}},
      {"optimizers", {&Registry<Optimizer>::instance()}},
      {"schedules", {&Registry<Schedule>::instance()}}};
  return all;
}

void run_list(const std::string& kind, const CommonOptions& options) {
  Json classes = Json::array();
  Table table{{{"", Table::Align::left}, {"", Table::Align::left}}, {}};
  for (const ClassRegistry* registry : kinds_of_classes().at(kind))
    for (const std::string& name : registry->names()) {
      classes.push_back({{"class", name}, {"help", registry->help(name)}});
      table.rows.push_back({name, registry->help(name)});
    }
  print_result(options, classes, to_text(table));
}

const Subcommand list_command{
    "list", "the quantizers, models, datasets, optimizers or schedules that a config can name",
    [](CLI::App& command) {
      const auto options = std::make_shared<CommonOptions>();
      const auto kind = std::make_shared<std::string>();
      std::vector<std::string> kinds;
      for (const auto& [name, registries] : kinds_of_classes()) kinds.push_back(name);
      command.add_option("KIND", *kind, "what to list")->required()->check(CLI::IsMember(kinds));
      command.add_flag("--json", options->json, "print one JSON document on stdout");
      command.callback([=] { run_list(*kind, *options); });
    },
    "qgrad list quantizers\nqgrad schema train    # with all their settings"};

}  // namespace
}  // namespace qgrad

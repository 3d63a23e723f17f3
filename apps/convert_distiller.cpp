// qgrad convert-distiller FILE.yaml: a schedule of Intel's Distiller as a config, its statistics as a statistics file.
#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/distiller/schedule.h"
#include "apps/distiller/yaml.h"
#include "quant/ranges/stats.h"
#include "tasks/progress.h"

namespace qgrad {
namespace {

struct ConvertOptions {
  std::string file;
  std::optional<std::string> out;
  DistillerCommandLine line;
};

bool are_statistics(const Json& content) {
  return content.is_object() && !content.empty() && std::ranges::all_of(content, [](const Json& layer) {
           return layer.is_object() && layer.contains("inputs") && layer.contains("output");
         });
}

void run_convert(const ConvertOptions& options) {
  const Json content = read_yaml(options.file);
  ConvertedSchedule converted;
  if (are_statistics(content))
    converted.config = stats_to_json(stats_from_json(content, options.file));
  else
    converted =
        convert_schedule({content, options.file}, std::filesystem::path(options.file).stem().string(), options.line);
  for (const std::string& text : converted.notes) note(text);
  if (options.out)
    write_json(*options.out, converted.config);
  else
    fmt::print("{}", json_text(converted.config));
}

const Subcommand convert_command{
    "convert-distiller", "a schedule of Intel's Distiller as a config, or its statistics as a statistics file",
    [](CLI::App& command) {
      const auto chosen = std::make_shared<ConvertOptions>();
      DistillerCommandLine& line = chosen->line;
      command.add_option("FILE", chosen->file, "YAML file")->required();
      command.add_option("--out", chosen->out, "file to write; without it, stdout");
      command.add_option("--arch", line.arch, "as to Distiller: the network, as preact_resnet20_cifar");
      command.add_option("--epochs", line.epochs, "as to Distiller, like all that follow")
          ->check(whole_number(1, std::numeric_limits<int>::max()));
      command.add_option("--batch-size", line.batch_size, "images in a step")
          ->check(whole_number(1, std::numeric_limits<int>::max()));
      command.add_option("--lr", line.lr, "learning rate")->check(number_between(0, 1e6));
      command.add_option("--momentum", line.momentum, "of SGD")->check(number_between(0, 1));
      command.add_option("--wd", line.weight_decay, "weight decay")->check(number_between(0, 1e6));
      command.add_option("--vs", line.validation_split, "share of the training images for validation")
          ->check(number_between(0, 0.9));
      command.callback([=] { run_convert(*chosen); });
    },
    "qgrad convert-distiller preact_resnet20_cifar_pact.yaml --arch preact_resnet20_cifar --epochs 200 --wd 0.0002 "
    "--out pact.json"};

}  // namespace
}  // namespace qgrad

// qgrad predict FILE IMAGE...: classifies PNG and JPEG files with a program, or a checkpoint as a program.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "apps/command.h"
#include "apps/report/table.h"
#include "core/ops.h"
#include "engine/engine.h"
#include "tasks/deployment.h"
#include "tasks/progress.h"
#include "tasks/stopwatch.h"

namespace qgrad {
namespace {

constexpr size_t kClassesShown = 5;

// The classes with the largest probabilities, the likeliest first.
Json best_classes(const std::vector<float>& logits, const std::vector<std::string>& names) {
  const Tensor probabilities = softmax(Tensor::from({1, std::ssize(logits)}, logits));
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const size_t shown = std::min(kClassesShown, order.size());
  std::ranges::partial_sort(order, order.begin() + static_cast<int64_t>(shown), std::greater(),
                            [&](size_t i) { return logits[i]; });
  Json best = Json::array();
  for (const size_t i : std::span(order).first(shown))
    best.push_back({{"class", i},
                    {"name", names.empty() ? fmt::format("class {}", i) : names[i]},
                    {"probability", probabilities.data()[i]}});
  return best;
}

struct PredictOptions {
  std::string file;
  std::optional<std::string> config;
  std::vector<std::string> images;
};

void run(const PredictOptions& chosen, const CommonOptions& options) {
  const auto& [file, config, images] = chosen;
  const Stopwatch loading;
  const deploy::Engine engine(program_in(file, read_config_option(config, options, {"data", "model", "quantizer"})));
  const double load = 1000 * loading.seconds();
  const deploy::Program& program = engine.program();
  Json predictions = Json::array();
  using enum Table::Align;
  Table table{{{"image", left}, {"ms"}, {"inference ms"}, {"%"}, {"class", left}}, {}};
  size_t unread = 0;
  for (const std::string& path : images) try {
      const Stopwatch whole;
      const Image image = image_for(program, path);
      const Stopwatch inference;
      std::vector<float> logits(static_cast<size_t>(engine.output_count()));
      engine.run_bytes(image.pixels, logits);
      const double of_inference = 1000 * inference.seconds(), of_all = 1000 * whole.seconds();
      const Json best = best_classes(logits, program.class_names);
      predictions.push_back(
          {{"image", path}, {"best", best}, {"inference_milliseconds", of_inference}, {"milliseconds", of_all}});
      std::vector<std::string> cells{path, fmt::format("{:.2f}", of_all), fmt::format("{:.2f}", of_inference)};
      for (const Json& b : best) {
        cells.push_back(fmt::format("{:.2f}", 100 * b.at("probability").get<double>()));
        cells.push_back(b.at("name").get<std::string>());
        table.rows.push_back(std::exchange(cells, {"", "", ""}));
      }
    } catch (const Error& e) {
      note(fmt::format("qgrad: {}", e.what()));
      predictions.push_back({{"image", path}, {"error", e.what()}});
      ++unread;
    }
  print_result(options, {{"file", file}, {"load_milliseconds", load}, {"predictions", predictions}}, to_text(table));
  check(unread == 0, "{} of {} images could not be classified", unread, images.size());
}

const Subcommand predict_command{
    "predict", "classify PNG and JPEG files with a checkpoint or a program",
    [](CLI::App& command) {
      const auto options = add_common_options(command, {"--set"});
      const auto chosen = std::make_shared<PredictOptions>();
      command
          .add_option("FILE", chosen->file, "program of `qgrad export`, or checkpoint, which runs as its program does")
          ->required();
      command
          .add_option("IMAGE", chosen->images,
                      "PNG or JPEG files of any size; they are prepared as those of the training")
          ->required();
      command.add_option("--config", chosen->config, "config with data and model, for checkpoints that do not say");
      command.callback([=] { run(*chosen, *options); });
    },
    "qgrad predict net.qgi pictures/*.png\n"
    "qgrad predict out/float/best.safetensors cat.png --json"};

}  // namespace

}  // namespace qgrad

// qgrad predict PROGRAM IMAGE...: classifies PNG and JPEG files with an integer program.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <numeric>

#include "apps/command.h"
#include "core/ops.h"
#include "data/image.h"
#include "quant/deploy/engine.h"
#include "quant/deploy/file.h"

namespace qgrad {
namespace {

constexpr size_t kClassesShown = 5;

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

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

void run(const std::string& file, const std::vector<std::string>& images, const CommonOptions& options) {
  const auto start = Clock::now();
  const deploy::Engine engine(deploy::read_program(file));
  const double load = milliseconds_since(start);
  const deploy::Program& program = engine.program();
  const deploy::TensorInfo& input = program.tensors[static_cast<size_t>(program.input)];
  check(input.channels == 1 || input.channels == 3, "{}: takes {} channels, images have 1 or 3", file, input.channels);
  Json predictions = Json::array();
  std::string text;
  for (const std::string& path : images) {
    const auto image_start = Clock::now();
    const Image image = resize(read_image(path, input.channels), input.height, input.width);
    const auto run_start = Clock::now();
    std::vector<float> logits(static_cast<size_t>(engine.output_count()));
    engine.run_bytes(image.pixels, logits);
    const double inference = milliseconds_since(run_start), whole = milliseconds_since(image_start);
    const Json best = best_classes(logits, program.class_names);
    predictions.push_back(
        {{"image", path}, {"best", best}, {"inference_milliseconds", inference}, {"milliseconds", whole}});
    text += fmt::format("{}  ({:.2f} ms, {:.2f} of them inference)\n", path, whole, inference);
    for (const Json& b : best)
      text +=
          fmt::format("  {:6.2f} %  {}\n", 100 * b.at("probability").get<double>(), b.at("name").get<std::string>());
  }
  print_result(options, {{"program", file}, {"load_milliseconds", load}, {"predictions", predictions}}, text);
}

}  // namespace

void add_predict_command(CLI::App& app) {
  CLI::App& command = *app.add_subcommand("predict", "classify PNG and JPEG files with an integer program");
  const auto options = std::make_shared<CommonOptions>();
  const auto file = std::make_shared<std::string>();
  const auto images = std::make_shared<std::vector<std::string>>();
  command.add_option("PROGRAM", *file, "file of `qgrad export`")->required();
  command.add_option("IMAGE", *images, "PNG or JPEG files of any size; they are resized to the program's input")
      ->required();
  command.add_flag("--json", options->json, "print one JSON document on stdout");
  command.callback([=] { run(*file, *images, *options); });
}

}  // namespace qgrad

// qgrad bench CASE: how fast, in a form that other programs can read.
#include "apps/bench/bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <vector>

#include "apps/report/table.h"
#include "core/kernels/table.h"
#include "core/parallel.h"
#include "core/random.h"
#include "core/tape.h"
#include "tasks/stopwatch.h"

namespace qgrad {
namespace {

// The rate of runs that together take at least min_time seconds.
double repetition(const BenchCase& bench, double min_time) {
  double seconds = 0;
  int64_t runs = 0;
  for (; runs == 0 || seconds < min_time; ++runs) {
    if (bench.prepare) bench.prepare();
    const Stopwatch stopwatch;
    bench.run();
    seconds += stopwatch.seconds();
  }
  return static_cast<double>(runs) * bench.work / seconds;
}

Json result_of(const BenchCase& bench, std::vector<double> rates) {
  std::ranges::sort(rates);
  const size_t middle = rates.size() / 2;
  const double median = rates.size() % 2 ? rates[middle] : (rates[middle - 1] + rates[middle]) / 2;
  Json result = {{"case", bench.name},   {"threads", num_threads()}, {"batch", bench.batch},
                 {"isa", kernels().isa}, {"unit", bench.unit},       {"value", median},
                 {"min", rates.front()}, {"max", rates.back()},      {"repeats", rates.size()}};
  if (bench.details) result.update(bench.details(median));
  return result;
}

std::string text_of(const Json& result) {
  Table table{{{"", Table::Align::left}, {""}}, {}};
  for (const auto& [key, value] : result.items())
    table.rows.push_back({key, value.is_number_float() ? fmt::format("{:.1f}", value.get<double>())
                               : value.is_string()     ? value.get<std::string>()
                                                       : value.dump()});
  return to_text(table);
}

// A line that arrives at once, also where stdout is a pipe.
void print_line(const Json& json) {
  fmt::print("{}\n", json.dump());
  std::fflush(stdout);
}

void serve(const BenchCase& bench, const BenchOptions& options) {
  print_line({{"ready", true}});
  for (std::string line; std::getline(std::cin, line) && line != "quit";)
    print_line(result_of(bench, {repetition(bench, options.min_time)}));
}

}  // namespace

std::shared_ptr<BenchOptions> add_bench_options(CLI::App& command) {
  auto options = std::make_shared<BenchOptions>();
  options->common = add_common_options(command, {});
  command.add_option("--repeat", options->repeat, "repetitions; the value is their median")
      ->check(whole_number(1, 1000000))
      ->capture_default_str();
  command.add_option("--min-time", options->min_time, "seconds of measured work in a repetition")
      ->check(number_between(0, 3600))
      ->capture_default_str();
  command.add_flag("--serve", options->serve,
                   "print {\"ready\": true}, then time one repetition for each line read; end at \"quit\"");
  return options;
}

void run_bench(const BenchCase& bench, const BenchOptions& options) {
  repetition(bench, options.min_time);
  if (options.serve) return serve(bench, options);
  std::vector<double> rates(static_cast<size_t>(options.repeat));
  for (double& rate : rates) rate = repetition(bench, options.min_time);
  const Json result = result_of(bench, std::move(rates));
  if (options.common->json)
    print_line(result);
  else
    fmt::print("{}", text_of(result));
}

Tensor normal_tensor(const Shape& shape, const std::string& stream) {
  Tensor x = Tensor::empty(shape);
  RandomStream random(1, stream);
  for (float& value : x.mutable_data()) value = random.normal();
  return x;
}

Tensor loss_with_gradient(const Tensor& y, Tensor dy) {
  return record("loss_with_gradient", Tensor::scalar(0), {y},
                [dy = std::move(dy)](const Tensor&, Grads& dx) mutable { dx.add(0, std::move(dy)); });
}

namespace {

const Subcommand bench_command{"bench", "measure the speed of training, inference and single operations",
                               [](CLI::App& bench) {
                                 bench.require_subcommand(1);
                                 add_model_benches(bench);
                                 add_step_profile(bench);
                                 add_fake_quant_bench(bench);
                                 add_conv_bench(bench);
                                 add_kernel_bench(bench);
                               },
                               "qgrad bench inference --batch 1 --threads 1\n"
                               "qgrad bench step-profile --model mobilenet_v2 --batch 8\n"
                               "qgrad bench conv --shape 16,32,32,16,3 --json"};

}  // namespace

}  // namespace qgrad

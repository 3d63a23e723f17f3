// qgrad bench kernels: every kernel of the table by itself, on one thread, of every row that this processor can run.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/bench/bench.h"
#include "apps/report/table.h"
#include "core/kernels/cases.h"
#include "core/random.h"
#include "tasks/stopwatch.h"

namespace qgrad {
namespace {

constexpr int kRepeats = 5;
constexpr int64_t kMostCalls = int64_t{1} << 30;
constexpr size_t kMostNumbers = size_t{1} << 26, kMostChannels = 1024;  // 256 MiB an array, weights of 36 MiB

struct KernelBenchOptions {
  std::vector<std::string> families;  // none: all of them
  std::vector<size_t> shape{32, 32, 32};
  double min_time = 0.005;
};

std::vector<std::string> family_names() {
#define QGRAD_NAME(Type, name) #name,
  return {QGRAD_KERNEL_FAMILIES(QGRAD_NAME)};
#undef QGRAD_NAME
}

// Normally distributed numbers, and channels of positive ones.
struct Numbers {
  explicit Numbers(const std::vector<size_t>& shape) : height(shape[0]), width(shape[1]), channels(shape[2]) {
    RandomStream random(1, "bench kernels");
    for (auto* image : {&a, &b, &c})
      for (size_t i = 0; i < height * width * channels; ++i) image->push_back(random.normal());
    mask.assign(a.size() / 8, 0x5a);
    for (size_t i = 0; i < channels; ++i) positive.push_back(0.5f + random.uniform());
  }
  KernelNumbers view() const {
    return {.height = height,
            .width = width,
            .channels = channels,
            .a = a.data(),
            .b = b.data(),
            .c = c.data(),
            .tame = a.data(),
            .mask = mask.data(),
            .of_channels = positive.data(),
            .positive = positive.data(),
            .also = positive.data(),
            .x = 1.25f,
            .low = -1,
            .high = 2,
            .scale = 3,
            .zero_point = 1};
  }
  size_t height, width, channels;
  std::vector<float> a, b, c, positive;
  std::vector<uint8_t> mask;
};

// Microseconds of each case: the least of a few repetitions.
class Timing final : public KernelCases {
 public:
  explicit Timing(const KernelBenchOptions& options) : options_(options) {}
  struct Case {
    std::string family, kernel;
    double microseconds;
  };
  std::vector<Case> take() { return std::move(cases_); }
  bool family(const char* name) override {
    family_ = name;
    return options_.families.empty() || std::ranges::count(options_.families, family_) > 0;
  }

 private:
  void visit(const std::string& kernel, size_t count, size_t bytes_each,
             const std::function<void(void*)>& run) override {
    if (count == 0) return;
    std::vector<double> y(count * bytes_each / sizeof(double) + 1);
    run(y.data());
    const auto seconds_of = [&](int64_t calls) {
      const Stopwatch stopwatch;
      for (int64_t i = 0; i < calls; ++i) run(y.data());
      return stopwatch.seconds();
    };
    int64_t calls = 1;  // with one look at the clock
    while (seconds_of(calls) < options_.min_time && calls < kMostCalls) calls *= 2;
    double least = seconds_of(calls);
    for (int repeat = 1; repeat < kRepeats; ++repeat) least = std::min(least, seconds_of(calls));
    least *= 1e6 / static_cast<double>(calls);
    cases_.push_back({family_, kernel, least});
  }

  const KernelBenchOptions& options_;
  std::string family_;
  std::vector<Case> cases_;
};

void bench_kernels(const KernelBenchOptions& options, const CommonOptions& common) {
  if (options.shape[0] * options.shape[1] * options.shape[2] > kMostNumbers || options.shape[2] > kMostChannels)
    throw CLI::ValidationError("--shape",
                               fmt::format("expected at most {} numbers and {} channels", kMostNumbers, kMostChannels));
  const Numbers numbers(options.shape);
  Json cases = Json::array(), rows = Json::array();
  for (const Kernels* row : available_kernels()) {
    Timing timing(options);
    add_all_cases(*row, numbers.view(), timing);
    size_t i = 0;
    for (const Timing::Case& timed : timing.take()) {
      if (i == cases.size())
        cases.push_back({{"family", timed.family}, {"kernel", timed.kernel}, {"microseconds", Json::object()}});
      cases[i++]["microseconds"][row->isa] = timed.microseconds;
    }
    rows.push_back(row->isa);
  }
  Table table{{{"family", Table::Align::left}, {"kernel", Table::Align::left}}, {}};
  for (const Json& row : rows) table.columns.push_back({row});
  for (const Json& timed : cases) {
    table.rows.push_back({timed.at("family"), timed.at("kernel")});
    for (const auto& [_, microseconds] : timed.at("microseconds").items())
      table.rows.back().push_back(fmt::format("{:.2f}", microseconds.get<double>()));
  }
  const Json result = {
      {"case", "kernels"}, {"threads", 1}, {"shape", options.shape}, {"rows", rows}, {"kernels", cases}};
  print_result(common, result,
               fmt::format("microseconds of a call, one thread, images of {} x {} x {}\n\n{}", numbers.height,
                           numbers.width, numbers.channels, to_text(table)));
}

}  // namespace

void add_kernel_bench(CLI::App& bench) {
  CLI::App& command = *bench.add_subcommand("kernels",
                                            "microseconds of a call of every kernel: the least of five repetitions, on "
                                            "one thread whatever --threads says, for each "
                                            "instruction set of this processor whatever QGRAD_ISA says");
  const auto common = add_common_options(command, {});
  const auto options = std::make_shared<KernelBenchOptions>();
  command
      .add_option("--family", options->families,
                  fmt::format("only these families: {}", fmt::join(family_names(), ", ")))
      ->check(CLI::IsMember(family_names()));
  command.add_option("--shape", options->shape, "height, width and channels of the image that kernels are given")
      ->delimiter(',')
      ->expected(3)
      ->check(whole_number(1, 4096))
      ->capture_default_str();
  command.add_option("--min-time", options->min_time, "seconds of each of five repetitions")
      ->check(number_between(0, 60))
      ->capture_default_str();
  command.callback([=] { bench_kernels(*options, *common); });
}

}  // namespace qgrad

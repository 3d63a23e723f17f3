// qgrad bench step-profile: where the time of a training step goes, operation by operation.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "apps/bench/bench.h"
#include "apps/bench/workload.h"
#include "apps/report/table.h"
#include "core/kernels/table.h"
#include "core/parallel.h"
#include "tasks/stopwatch.h"

namespace qgrad {
namespace {

struct OpTimes {
  int64_t calls = 0;
  double forward = 0, backward = 0;  // seconds

  double total() const { return forward + backward; }
};

// The time since the last mark belongs to the operation that has just computed.
class StepProfile {
 public:
  explicit StepProfile(Workload& workload) : workload_(workload) {
    workload.tape.set_listener([this](std::string_view op, Tape::Pass pass) {
      OpTimes& times = ops_[std::string(op)];
      times.calls += pass == Tape::Pass::forward;
      (pass == Tape::Pass::forward ? times.forward : times.backward) += lap();
    });
  }
  ~StepProfile() { workload_.tape.set_listener({}); }
  StepProfile(const StepProfile&) = delete;
  StepProfile& operator=(const StepProfile&) = delete;

  void step() {
    mark_ = Stopwatch();
    workload_.optimizer->zero_grad();
    ops_["(gradients of parameters)"].backward += lap();
    workload_.tape.backward(workload_.forward());
    ops_["(gradients of parameters)"].backward += lap();
    workload_.optimizer->step();
    ops_["(optimizer)"].backward += lap();
    ++steps_;
  }

  double seconds() const {
    double sum = 0;
    for (const auto& [op, times] : ops_) sum += times.total();
    return sum;
  }
  int64_t steps() const { return steps_; }

  // Per step; the longest first.
  std::vector<std::pair<std::string, OpTimes>> sorted() const {
    std::vector<std::pair<std::string, OpTimes>> all(ops_.begin(), ops_.end());
    std::ranges::sort(all, std::greater(), [](const auto& op) { return op.second.total(); });
    const auto steps = static_cast<double>(steps_);
    for (auto& [op, times] : all) times = {times.calls / steps_, times.forward / steps, times.backward / steps};
    return all;
  }

 private:
  double lap() { return std::exchange(mark_, Stopwatch()).seconds(); }

  Workload& workload_;
  Stopwatch mark_;
  std::map<std::string, OpTimes> ops_;
  int64_t steps_ = 0;
};

Json profile_json(const StepProfile& profile, const ModelOptions& options, const Workload& workload) {
  const double seconds = profile.seconds() / static_cast<double>(profile.steps());
  Json ops = Json::array();
  for (const auto& [op, times] : profile.sorted())
    ops.push_back({{"op", op},
                   {"calls", times.calls},
                   {"forward_ms", 1e3 * times.forward},
                   {"backward_ms", 1e3 * times.backward},
                   {"percent", 100 * times.total() / seconds}});
  Json result = {{"case", "step-profile"},   {"threads", num_threads()},
                 {"batch", options.batch},   {"isa", kernels().isa},
                 {"unit", "images/s"},       {"value", static_cast<double>(options.batch) / seconds},
                 {"step_ms", 1e3 * seconds}, {"ops", ops}};
  result.update(describe(options, workload));
  return result;
}

std::string profile_text(const Json& result) {
  Table table{{{"operation", Table::Align::left}, {"calls"}, {"forward ms"}, {"backward ms"}, {"percent"}}, {}};
  const auto number = [](const Json& value) { return fmt::format("{:.2f}", value.get<double>()); };
  for (const Json& op : result.at("ops"))
    table.rows.push_back({op.at("op"), op.at("calls").dump(), number(op.at("forward_ms")), number(op.at("backward_ms")),
                          fmt::format("{:.1f}", op.at("percent").get<double>())});
  return fmt::format("a step: {:.1f} ms, {:.1f} images/s; {}, batch {}, {} thread(s), {}\n\n{}",
                     result.at("step_ms").get<double>(), result.at("value").get<double>(),
                     result.at("model").get<std::string>(), result.at("batch").dump(), num_threads(), kernels().isa,
                     to_text(table));
}

void profile_step(const ModelOptions& options, double min_time, const CommonOptions& common) {
  const auto workload = training_workload(options);
  StepProfile profile(*workload);
  do profile.step();
  while (profile.seconds() < min_time);
  const Json result = profile_json(profile, options, *workload);
  print_result(common, result, profile_text(result));
}

}  // namespace

void add_step_profile(CLI::App& bench) {
  CLI::App& command = *bench.add_subcommand(
      "step-profile",
      "where the time of a training step goes: every operation, forward and backward. A normalisation, addition or "
      "rectifier that waits to be done in one pass with what follows counts for what follows");
  const auto common = add_common_options(command, {});
  const auto model = add_model_options(command);
  const auto min_time = std::make_shared<double>(3);
  command.add_option("--min-time", *min_time, "seconds of steps, at least")
      ->check(number_between(0, 3600))
      ->capture_default_str();
  command.callback([=] { profile_step(*model, *min_time, *common); });
}

}  // namespace qgrad

// What the benchmarks share: timing, output, and the protocol for running against another program in turn.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>

#include "apps/command.h"
#include "core/json.h"
#include "core/tensor.h"

namespace qgrad {

struct BenchOptions {
  std::shared_ptr<CommonOptions> common;  // --threads and --json
  int repeat = 9;                         // repetitions
  double min_time = 0.3;                  // seconds of measured work in each
  bool serve = false;                     // one repetition for each line of the standard input
};

// Adds the options above to a case's subcommand.
std::shared_ptr<BenchOptions> add_bench_options(CLI::App& command);

struct BenchCase {
  std::string name;
  int64_t batch = 0;              // images, or elements where there are no images
  std::string unit;               // of the rate: "images/s"
  double work = 0;                // what one run does, in this unit without "/s"
  std::function<void()> prepare;  // before each run, not timed; may be empty
  std::function<void()> run;
  std::function<Json(double value)> details;  // further fields of the result, given the rate; may be empty
};

// Warms up, times and prints: one result, or one for each line read where options.serve.
//
// A result is {"case", "threads", "batch", "isa", "unit", "value", "min", "max", "repeats", further fields}; value is
// the median rate. With --serve, {"ready": true} is printed after warming up; then each line read is answered by the
// result of one repetition, until "quit" or the end of the input.
void run_bench(const BenchCase& bench, const BenchOptions& options);

// A tensor of numbers from the normal distribution, the same in every run.
Tensor normal_tensor(const Shape& shape, const std::string& stream);

// A scalar whose gradient with respect to y is dy, to drive one op's backward by itself. dy is handed over, so that
// the op may overwrite it as it may in a training step; keep a handle to it to forbid that.
Tensor loss_with_gradient(const Tensor& y, Tensor dy);

// One function per family of cases, each in its own file.
void add_model_benches(CLI::App& bench);  // train-step, inference
void add_step_profile(CLI::App& bench);
void add_fake_quant_bench(CLI::App& bench);
void add_conv_bench(CLI::App& bench);
void add_kernel_bench(CLI::App& bench);

}  // namespace qgrad

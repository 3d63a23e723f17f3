// qgrad bench conv: one convolution's forward pass or one of its gradients, in GFLOP/s and against a measured peak.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "apps/bench/bench.h"
#include "core/kernels/table.h"
#include "core/memory.h"
#include "core/ops.h"
#include "core/parallel.h"
#include "core/tape.h"
#include "tasks/stopwatch.h"

namespace qgrad {
namespace {

struct ConvBenchOptions {
  std::vector<int64_t> shape{16, 16, 32, 3, 1};  // in, out, size, kernel, stride
  std::string pass = "forward";
  int64_t batch = 128;
};

constexpr const char* kPeakSource =
    "gemm tile of 6x16 on operands in the first-level cache, on all threads, timed right after the case";

// The fastest this machine multiplies and adds with these kernels, in GFLOP/s: the matrix product's register tile over
// and over on 24 KiB of operands. Its loads leave the arithmetic units a little short of their limit, so it is slightly
// below what a loop without loads reaches.
double measure_peak() {
  constexpr int64_t kRows = 6, kInner = 256, kCalls = 4000, kAttempts = 9;
  const int threads = num_threads();
  double best = 0;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const Stopwatch stopwatch;
    parallel_for(threads, 1, [&](int64_t, int64_t) {
      Scratch scratch;
      float* a = scratch.take<float>(kRows * kInner);
      float* panels = scratch.take<float>(kInner * kPanel);
      float* c = scratch.take<float>(kRows * kPanel);
      std::fill_n(a, kRows * kInner, 0.5f);
      std::fill_n(panels, kInner * kPanel, 0.5f);
      for (int64_t call = 0; call < kCalls; ++call)
        kernels().gemm.multiply(
            {.rows = kRows, .inner = kInner, .columns = kPanel, .a = a, .panels = panels, .bias = nullptr, .c = c});
    });
    const double seconds = stopwatch.seconds();
    best = std::max(best, 2e-9 * kRows * kInner * kPanel * kCalls * threads / seconds);
  }
  return best;
}

// The layer, and one run of the wanted pass.
class ConvWork {
 public:
  explicit ConvWork(const ConvBenchOptions& options) : pass_(options.pass) {
    const int64_t in = options.shape[0], out = options.shape[1], size = options.shape[2], kernel = options.shape[3];
    conv_.stride_h = conv_.stride_w = options.shape[4];
    conv_.padding_h = conv_.padding_w = kernel / 2;
    x_ = normal_tensor({options.batch, size, size, in}, "bench x");
    weight_ = normal_tensor({kernel, kernel, in, out}, "bench weight");
    const Shape y = conv2d(x_, weight_, {}, conv_).shape();
    dy_ = normal_tensor(y, "bench dy");
    flops_ = 2.0 * static_cast<double>(y.numel() * kernel * kernel * in);
    x_.set_requires_grad(pass_ == "input-gradient");
    weight_.set_requires_grad(pass_ == "weight-gradient");
  }

  // Two for each multiplication, those with padding zeros included, as is usual.
  double flops() const { return flops_; }

  void prepare() {
    if (pass_ == "forward") return;
    x_.set_grad({});
    weight_.set_grad({});
    const Tape::Recording recording(tape_);
    loss_ = loss_with_gradient(conv2d(x_, weight_, {}, conv_), dy_);
  }

  void run() {
    if (pass_ == "forward")
      conv2d(x_, weight_, {}, conv_);
    else
      tape_.backward(loss_);
  }

 private:
  std::string pass_;
  Conv2dOptions conv_;
  Tensor x_, weight_, dy_, loss_;
  Tape tape_;
  double flops_ = 0;
};

void run(const ConvBenchOptions& options, const BenchOptions& bench_options) {
  ConvWork work(options);
  run_bench({.name = "conv",
             .batch = options.batch,
             .unit = "GFLOP/s",
             .work = work.flops() * 1e-9,
             .prepare = [&] { work.prepare(); },
             .run = [&] { work.run(); },
             .details = [&](double value) -> Json {
               const double peak = measure_peak();
               return {{"pass", options.pass},
                       {"shape", options.shape},
                       {"percent_of_peak", 100 * value / peak},
                       {"peak", peak},
                       {"peak_source", kPeakSource}};
             }},
            bench_options);
}

}  // namespace

void add_conv_bench(CLI::App& bench) {
  CLI::App& command = *bench.add_subcommand(
      "conv", std::string("GFLOP/s of one convolution, and percent of a measured peak (") + kPeakSource + ")");
  const auto bench_options = add_bench_options(command);
  const auto options = std::make_shared<ConvBenchOptions>();
  command
      .add_option("--shape", options->shape,
                  "in,out,size,kernel,stride: channels, square image and kernel; padding kernel/2")
      ->delimiter(',')
      ->expected(5)
      ->check(whole_number(1, 4096))
      ->capture_default_str();
  command.add_option("--pass", options->pass, "forward, input-gradient or weight-gradient")
      ->check(CLI::IsMember({"forward", "input-gradient", "weight-gradient"}))
      ->capture_default_str();
  command.add_option("--batch", options->batch, "images per batch")
      ->check(whole_number(1, 65536))
      ->capture_default_str();
  command.callback([=] { run(*options, *bench_options); });
}

}  // namespace qgrad

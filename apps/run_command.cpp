// All subcommands, and what their failures look like.
#include "apps/run_command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <exception>

#include "apps/command.h"
#include "apps/progress.h"
#include "data/dataset.h"
#include "data/movielens.h"
#include "nn/models/architecture.h"
#include "nn/optim.h"
#include "nn/schedule.h"
#include "quant/quantizer.h"

namespace qgrad {
namespace {

template <class Base>
std::string class_names() {
  return fmt::format("  {:<24}{}\n", Base::kRole, fmt::join(Registry<Base>::instance().names(), ", "));
}

}  // namespace

int run_command(int argc, char** argv) {
  CLI::App app{"qgrad: train and quantize neural networks on a CPU, driven by JSON configs"};
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "help for every subcommand");
  app.footer("Classes that configs can name:\n" + class_names<Quantizer>() + class_names<Architecture>() +
             class_names<Dataset>() + class_names<RatingSource>() + class_names<Optimizer>() + class_names<Schedule>());
  add_train_command(app);
  add_evaluate_command(app);
  add_calibrate_command(app);
  add_quantize_command(app);
  add_search_command(app);
  add_compare_command(app);
  add_inspect_command(app);
  add_export_command(app);
  add_predict_command(app);
  add_bench_command(app);
  add_schema_command(app);
  try {
    app.parse(argc, argv);
    if (std::fflush(stdout) != 0) throw Error("stdout: cannot write");
    return 0;
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  } catch (const std::exception& e) {
    note(fmt::format("qgrad: {}", e.what()));
    return 1;
  }
}

}  // namespace qgrad

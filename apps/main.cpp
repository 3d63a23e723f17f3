// The qgrad command: exit status 0 done, 1 failed with a one-line reason, 2 wrong usage.
#include <fmt/format.h>

#include <cstdio>
#include <exception>

#include "apps/command.h"
#include "apps/progress.h"

int main(int argc, char** argv) {
  CLI::App app{"qgrad: train and quantize neural networks on a CPU, driven by JSON configs"};
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "help for every subcommand");
  qgrad::add_train_command(app);
  qgrad::add_evaluate_command(app);
  qgrad::add_calibrate_command(app);
  qgrad::add_quantize_command(app);
  qgrad::add_search_command(app);
  qgrad::add_compare_command(app);
  qgrad::add_inspect_command(app);
  qgrad::add_bench_command(app);
  try {
    app.parse(argc, argv);
    if (std::fflush(stdout) != 0) throw qgrad::Error("stdout: cannot write");
    return 0;
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  } catch (const std::exception& e) {
    qgrad::note(fmt::format("qgrad: {}", e.what()));
    return 1;
  }
}

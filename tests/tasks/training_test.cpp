// Trainings that are stopped, go on, diverge and are rolled back.
#include "tasks/training.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "core/file.h"
#include "core/ranks.h"
#include "nn/layers/container.h"
#include "nn/layers/linear.h"
#include "quant/quantizer.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/temporary_folder.h"
#include "support/thread_ranks.h"
#include "tasks/divergence.h"
#include "tasks/model_file.h"
#include "tasks/small_training.h"
#include "tasks/stop_signals.h"

using namespace qgrad;
namespace fs = std::filesystem;

namespace {

// A task of which a test sees every training batch before the training does.
class Watched final : public Task {
 public:
  Watched(const Task& task, std::function<void(Batch&)> watch) : task_(task), watch_(std::move(watch)) {}
  int64_t training_examples() const override { return task_.training_examples(); }
  std::unique_ptr<Batches> training(int batch_size, const std::optional<uint64_t>& seed) const override {
    auto batches = task_.training(batch_size, seed);
    if (batch_size != test::small_training().batch_size) return batches;  // not to train on
    return std::make_unique<WatchedBatches>(std::move(batches), watch_);
  }
  bool has(Part part) const override { return task_.has(part); }
  Json evaluate(Module& model, Part part, const std::string& label) const override {
    return task_.evaluate(model, part, label);
  }
  std::string score() const override { return task_.score(); }
  Json describe() const override { return task_.describe(); }
  Json checksums() const override { return task_.checksums(); }
  DataDescription description() const override { return task_.description(); }
  Json data() const override { return task_.data(); }

 private:
  class WatchedBatches final : public Batches {
   public:
    WatchedBatches(std::unique_ptr<Batches> batches, const std::function<void(Batch&)>& watch)
        : batches_(std::move(batches)), watch_(watch) {}
    int64_t count() const override { return batches_->count(); }
    int64_t examples() const override { return batches_->examples(); }
    void start_epoch(int64_t epoch, int64_t first_batch) override { batches_->start_epoch(epoch, first_batch); }
    std::optional<Batch> next() override {
      auto batch = batches_->next();
      if (batch) watch_(*batch);
      return batch;
    }

   private:
    std::unique_ptr<Batches> batches_;
    const std::function<void(Batch&)>& watch_;
  };
  const Task& task_;
  std::function<void(Batch&)> watch_;
};

void check_same_files(const fs::path& a, const fs::path& b) {
  for (const char* name :
       {"model.safetensors", "best.safetensors", "last.safetensors", "log.jsonl", "events.out.tfevents.qgrad"}) {
    INFO(name);
    CHECK(test::bytes_of(a / name) == test::bytes_of(b / name));
  }
}

}  // namespace

TEST_CASE("a training that is stopped at any step, and again, ends with the bytes of one that is not") {
  const test::TemporaryFolder folder;
  const auto task = open_task(test::small_experiment(), std::nullopt);
  const fs::path whole = folder.path() / "whole";
  test::train_small(whole, test::small_training(), *task);
  for (int first = 1; first <= 3 * test::kSmallSteps; ++first) {
    INFO("stopped at step " << first << " and five steps later");
    const fs::path stopped = folder.path() / std::to_string(first);
    int step = 0;
    const Watched watched(*task, [&](Task::Batch&) {
      ++step;
      if (step == first || step == first + 5) std::raise(step == first ? SIGTERM : SIGINT);
    });
    int stops = 0;
    for (bool resume = false, ended = false; !ended; resume = true) {
      const StopSignals signals;
      try {
        test::train_small(stopped, test::small_training(), watched, resume);
        ended = true;
      } catch (const Stopped& e) {
        const int epoch = (step - 1) / test::kSmallSteps + 1;
        CHECK(e.what() ==
              fmt::format("stopped after step {} of epoch {}", step - (epoch - 1) * test::kSmallSteps, epoch));
        CHECK(e.exit_status() == (stops++ == 0 ? 143 : 130));
        CHECK(e.folder() == stopped.string());
      }
    }
    CHECK(step == 3 * test::kSmallSteps);  // no step is done twice
    CHECK(stops == (first + 5 <= 3 * test::kSmallSteps ? 2 : 1));
    check_same_files(whole, stopped);
  }
}

TEST_CASE("the log has a line for every so many steps and every epoch, without times") {
  const test::TemporaryFolder folder;
  const auto task = open_task(test::small_experiment(), std::nullopt);
  const TrainingResult result = test::train_small(folder.path(), test::small_training(2), *task);
  std::vector<Json> lines;
  std::istringstream text(test::bytes_of(folder.path() / "log.jsonl"));
  for (std::string line; std::getline(text, line);) lines.push_back(Json::parse(line));
  REQUIRE(lines.size() == 4);
  for (size_t epoch = 0; epoch < 2; ++epoch) {
    const Json &step = lines[2 * epoch], &whole = lines[2 * epoch + 1];
    CHECK(step.at("epoch") == epoch + 1);
    CHECK(step.at("step") == 3);
    CHECK(step.at("loss").get<double>() > 0);
    CHECK(whole.at("epoch") == epoch + 1);
    CHECK(whole.at("loss") == result.epochs[epoch].train_loss);
    CHECK(whole.at("validation") == result.epochs[epoch].validation);
    CHECK_FALSE(whole.contains("seconds"));
  }
}

TEST_CASE("lines of a log that are behind the state are dropped, and one that was cut off") {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "log.jsonl";
  write_file_atomically(file, "one\ntwo\nthr");
  {
    LineFile log(file, 9);
    CHECK(log.lines() == 2);
    log.add("three");
    log.flush();
  }
  CHECK(test::bytes_of(file) == "one\ntwo\nthree\n");
  LineFile(file, 1).add("other");
  CHECK(test::bytes_of(file) == "one\nother\n");
  LineFile(file, 0).add("new");
  CHECK(test::bytes_of(file) == "new\n");
}

TEST_CASE("checkpoints of the last and the best epoch lie there while a training runs, and of as many as asked for") {
  const test::TemporaryFolder folder;
  const auto task = open_task(test::small_experiment(), std::nullopt);
  TrainConfig config = test::small_training(4);
  config.keep_epochs = 2;
  int step = 0;
  const Watched watched(*task, [&](Task::Batch&) {
    if (++step != test::kSmallSteps + 1) return;
    CHECK(test::bytes_of(folder.path() / "last.safetensors") == test::bytes_of(folder.path() / "best.safetensors"));
    CHECK_FALSE(load_model(folder.path() / "last.safetensors", std::nullopt).guessed);
  });
  test::train_small(folder.path(), config, watched);
  CHECK(step == 4 * test::kSmallSteps);
  for (const int epoch : {1, 2, 3, 4})
    CHECK(fs::exists(folder.path() / fmt::format("epoch_{:04}.safetensors", epoch)) == (epoch > 2));
  CHECK(test::bytes_of(folder.path() / "last.safetensors") == test::bytes_of(folder.path() / "epoch_0004.safetensors"));
}

TEST_CASE("a training shows its epochs so far, those before a stop too") {
  const test::TemporaryFolder folder;
  const auto task = open_task(test::small_experiment(), std::nullopt);
  const auto shown = [&] { return Json::parse(test::bytes_of(folder.path() / "shown.json")); };
  test::train_small(folder.path(), test::small_training(2), *task);
  CHECK(shown().size() == 2);
  int step = 0;
  const Watched watched(*task, [&](Task::Batch&) {
    if (++step == test::kSmallSteps + 1) CHECK(shown().size() == 3);
  });
  const TrainingResult result = test::train_small(folder.path(), test::small_training(4), watched, /*resume=*/true);
  CHECK(shown() == result.epochs_json());
}

TEST_CASE("a second signal ends the process") {
  const pid_t child = fork();
  if (child == 0) {
    const StopSignals signals;
    std::raise(SIGINT);
    if (StopSignals::received() == SIGINT) std::raise(SIGTERM);
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGTERM);
}

TEST_CASE("what the caller ignores is no wish to stop, and afterwards signals are as they were") {
  const auto before = std::signal(SIGINT, SIG_IGN);
  {
    const StopSignals signals;
    std::raise(SIGINT);
    CHECK(StopSignals::received() == 0);
  }
  CHECK(std::signal(SIGINT, before) == SIG_IGN);
}

namespace {

// Spoils the batch of these steps, counted from 1 over all attempts.
Watched spoilt(const Task& task, int& step, const std::set<int>& steps) {
  return Watched(task, [&step, steps](Task::Batch& batch) {
    if (steps.contains(++step)) batch.inputs[0].mutable_data()[0] = std::numeric_limits<float>::infinity();
  });
}

}  // namespace

TEST_CASE("a training that diverges stops with epoch, step, place and the last good state, which is there") {
  const test::TemporaryFolder folder;
  const auto task = open_task(test::small_experiment(), std::nullopt);
  int step = 0;
  const std::string error = test::error_of(
      [&] { test::train_small(folder.path(), test::small_training(), spoilt(*task, step, {test::kSmallSteps + 2})); });
  CHECK_THAT(error, Contains("training broke: ") && Contains("in epoch 2, step 2 (learning rate ") &&
                        Contains("the numbers of the inputs are the first that are not finite") &&
                        Contains("the last good state is " + (folder.path() / "training.safetensors").string()));
  const fs::path whole = folder.path() / "whole";
  test::train_small(whole, test::small_training(), *task);
  test::train_small(folder.path(), test::small_training(), *task, /*resume=*/true);
  check_same_files(whole, folder.path());
}

TEST_CASE("a training that diverges is rolled back to the epoch's start, with half the learning rate, stopped or not") {
  const test::TemporaryFolder folder;
  const auto task = open_task(test::small_experiment(), std::nullopt);
  TrainConfig config = test::small_training();
  config.on_divergence = OnDivergence::rollback;
  config.schedule = Config{{{"class", "constant"}}, "", "schedule"};
  int step = 0;
  const TrainingResult result = test::train_small(folder.path() / "whole", config,
                                                  spoilt(*task, step, {test::kSmallSteps + 2, test::kSmallSteps + 5}));
  CHECK(step == 3 * test::kSmallSteps + 2 + 3);
  CHECK(result.epochs[0].lr == 0.1f);
  CHECK(result.epochs[1].lr == 0.025f);
  CHECK(result.epochs[2].lr == 0.025f);
  CHECK_THAT(test::bytes_of(folder.path() / "whole" / "log.jsonl"),
             Contains(R"("rollback":)") && Contains(R"("lr_factor":0.25)"));

  for (const int stop : {test::kSmallSteps + 1, test::kSmallSteps + 4, test::kSmallSteps + 7}) {
    INFO("stopped at step " << stop);
    const fs::path stopped = folder.path() / std::to_string(stop);
    int steps = 0;
    const Watched broken = spoilt(*task, steps, {test::kSmallSteps + 2, test::kSmallSteps + 5});
    const Watched watched(broken, [&](Task::Batch&) {
      if (steps == stop) std::raise(SIGTERM);
    });
    {
      const StopSignals signals;
      CHECK_THROWS_AS(test::train_small(stopped, config, watched), Stopped);
    }
    test::train_small(stopped, config, watched, /*resume=*/true);
    check_same_files(folder.path() / "whole", stopped);
  }
}

TEST_CASE("a training that diverges again and again stops after ten rollbacks") {
  const test::TemporaryFolder folder;
  const auto task = open_task(test::small_experiment(), std::nullopt);
  TrainConfig config = test::small_training();
  config.on_divergence = OnDivergence::rollback;
  int step = 0;
  const Watched broken(*task, [&](Task::Batch& batch) {
    ++step;
    batch.inputs[0].mutable_data()[0] = std::numeric_limits<float>::quiet_NaN();
  });
  CHECK_THAT(test::error_of([&] { test::train_small(folder.path(), config, broken); }), Contains("training broke: "));
  CHECK(step == 11);
}

TEST_CASE("the first layer whose output is not finite, and a gradient that is not, are found by their path") {
  Sequential model;
  model.add("first", std::make_unique<Linear>(2, 2)).add("second", std::make_unique<Linear>(2, 2));
  const Tensor x = Tensor::full({1, 2}, 1);
  CHECK(broken_layer(model, {&x, 1}).empty());
  CHECK(broken_gradient(model).empty());
  Parameter& bias = *find_module(model, "second")->parameters()[1];
  bias.raw().mutable_data()[0] = std::numeric_limits<float>::infinity();
  CHECK(broken_layer(model, {&x, 1}) == "second (Linear)");
  bias.raw().set_grad(Tensor::full({2}, -std::numeric_limits<float>::infinity()));
  CHECK(broken_gradient(model) == "second.bias");
  const Tensor nan = Tensor::full({1, 2}, std::numeric_limits<float>::quiet_NaN());
  CHECK(broken_layer(model, {&nan, 1}) == "the inputs");
}

namespace {

// The files of a training on `count` ranks, of which the first writes.
void run_on_ranks(int count, const fs::path& path, const TrainConfig& config, const Task& task, bool resume = false) {
  test::on_ranks(count, [&](int) { test::train_small(path, config, task, resume); });
}

}  // namespace

TEST_CASE("a training on several ranks writes the bytes of one process, also when it goes on with another number") {
  const test::TemporaryFolder folder;
  const auto task = open_task(test::small_experiment(), std::nullopt);
  const fs::path alone = folder.path() / "alone";
  test::train_small(alone, test::small_training(), *task);
  for (const int count : {2, 3, 16}) {
    INFO(count << " ranks");
    const fs::path together = folder.path() / std::to_string(count);
    run_on_ranks(count, together, test::small_training(), *task);
    check_same_files(alone, together);
  }
  int step = 0;
  const fs::path stopped = folder.path() / "stopped";
  const Watched watched(*task, [&](Task::Batch&) {
    if (ranks()->rank() == 1 && ++step == test::kSmallSteps + 2) std::raise(SIGTERM);  // of one of them
  });
  {
    const StopSignals signals;
    CHECK_THROWS_AS(run_on_ranks(2, stopped, test::small_training(), watched), Stopped);
  }
  run_on_ranks(3, stopped, test::small_training(), *task, /*resume=*/true);
  check_same_files(alone, stopped);
}

TEST_CASE("numbers of one rank that are not finite are seen by all: they name the layer, or are rolled back") {
  const test::TemporaryFolder folder;
  const auto task = open_task(test::small_experiment(), std::nullopt);
  const int broken_rank = GENERATE(0, 1);
  const auto spoil = [&](std::array<int, 2>& steps) {
    return Watched(*task, [&](Task::Batch& batch) {
      const int rank = ranks() ? ranks()->rank() : broken_rank;
      if (++steps[static_cast<size_t>(rank)] == test::kSmallSteps + 2 && rank == broken_rank)
        batch.inputs[0].mutable_data()[0] = std::numeric_limits<float>::infinity();
    });
  };
  TrainConfig config = test::small_training();
  std::array<int, 2> of_stopped{}, of_alone{}, of_together{};
  const auto stopped = spoil(of_stopped), alone = spoil(of_alone), together = spoil(of_together);
  std::array<std::string, 2> errors;
  test::on_ranks(2, [&](int rank) {
    errors[static_cast<size_t>(rank)] =
        test::error_of([&] { test::train_small(folder.path() / "stopped", config, stopped); });
  });
  for (const std::string& error : errors)
    CHECK_THAT(error, Contains("the loss became") && Contains("in epoch 2, step 2") &&
                          Contains("the numbers of the inputs are the first that are not finite") &&
                          Contains("the last good state is"));
  config.on_divergence = OnDivergence::rollback;
  if (broken_rank == 0) test::train_small(folder.path() / "alone", config, alone);
  run_on_ranks(2, folder.path() / "together", config, together);
  CHECK(of_together[0] == 3 * test::kSmallSteps + 2);
  if (broken_rank == 0) check_same_files(folder.path() / "alone", folder.path() / "together");
}

TEST_CASE("an error of one rank ends the training of all, which goes on from the state before it") {
  const test::TemporaryFolder folder;
  const auto task = open_task(test::small_experiment(), std::nullopt);
  TrainConfig config = test::small_training();
  config.on_divergence = OnDivergence::rollback;  // which is no answer to it
  const fs::path alone = folder.path() / "alone";
  test::train_small(alone, config, *task);
  for (const int broken_rank : {0, 1}) {
    const fs::path together = folder.path() / std::to_string(broken_rank);
    int step = 0;
    const Watched broken(*task, [&](Task::Batch&) {
      if (ranks()->rank() == broken_rank && ++step == test::kSmallSteps + 2) fail("a picture can not be read");
    });
    CHECK(test::error_of([&] { run_on_ranks(2, together, config, broken); }) == "a picture can not be read");
    run_on_ranks(3, together, config, *task, /*resume=*/true);
    check_same_files(alone, together);
  }
}

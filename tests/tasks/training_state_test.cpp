// States of trainings whose metadata is not what it should be.
#include "tasks/training_state.h"

#include <nlohmann/json.hpp>

#include "nn/checkpoint.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

using namespace qgrad;

TEST_CASE("a training's state with metadata of another type is refused with file, key and value") {
  const test::TemporaryFolder folder;
  const std::string file = (folder.path() / "training.safetensors").string();
  const ModulePtr model = build_model({{{"class", "convnet"}, {"width", 4}}, "", "model"}, /*seed=*/1, std::nullopt);
  const auto optimizer = make_optimizer({{{"class", "SGD"}}, "", "optimizer"}, *model);
  TrainingState state;
  state.best = model_state(*model);
  state.result.epochs = {{.epoch = 1, .lr = 0.1f}};
  state.result.best_epoch = 1;
  save_training_state(file, *model, *optimizer, state);
  CHECK(load_training_state(file, *model, *optimizer).result.epochs[0].lr == 0.1f);

  const TensorFile saved = read_safetensors(file);
  const Json good = Json::parse(saved.metadata.at("qgrad_training"));
  const auto error_with = [&](const Json::json_pointer& at, const Json& value) {
    TensorFile changed = saved;
    Json log = good;
    log[at] = value;
    changed.metadata["qgrad_training"] = log.dump();
    write_safetensors(file, changed);
    return test::error_of([&] { load_training_state(file, *model, *optimizer); });
  };
  const std::string place = file + " (metadata 'qgrad_training'): ";
  CHECK(error_with(Json::json_pointer("/best_score"), "x") == place + "best_score: expected a number, got \"x\"");
  CHECK(error_with(Json::json_pointer("/epochs"), 5) == place + "epochs: expected a list, got 5");
  CHECK(error_with(Json::json_pointer("/epochs/0/lr"), nullptr) == place + "epochs[0].lr: expected a number, got null");
  CHECK(error_with(Json::json_pointer("/best_epoch"), -1) == place + "best_epoch: expected at least 0, got -1");
  CHECK(error_with(Json::json_pointer(""), Json::array()) ==
        place.substr(0, place.size() - 1) + " expected an object, got a list");
}

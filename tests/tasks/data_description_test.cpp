// Data, models, checkpoints, programs, teachers and trainings: wherever two of them meet, what one says differently is
// an error that names both.
#include "tasks/data_description.h"

#include <map>
#include <nlohmann/json.hpp>

#include "engine/small_program.h"
#include "support/catch.h"
#include "support/image_files.h"
#include "support/temporary_folder.h"
#include "tasks/deployment.h"
#include "tasks/distillation.h"
#include "tasks/training.h"
#include "tasks/training_state.h"

using namespace qgrad;
namespace fs = std::filesystem;

namespace {

using Names = std::vector<std::string>;

// Two images of every class in each part.
void write_images(const fs::path& folder, const Names& classes) {
  for (const char* part : {"train", "test"})
    for (const std::string& name : classes)
      for (const uint64_t seed : {1, 2}) {
        fs::create_directories(folder / part / name);
        test::write_png(folder / part / name / fmt::format("{}.png", seed),
                        test::random_image(Shape{8, 8, 3}, seed + name.size()));
      }
}

// A network that was trained on 8x8 colour images of a cat and a ship, and a folder for more.
struct World {
  World() {
    write_images(path("pets"), {"cat", "ship"});
    write_images(path("renamed"), {"boat", "cat"});
    write_images(path("more"), {"cat", "dog", "ship"});
    const auto task = open_task(config("pets"), std::nullopt, std::nullopt);
    const ModulePtr model = build_model(config("pets").model, 1, std::nullopt);
    save_model(checkpoint(), *model, config("pets"), *task, std::nullopt, Json::object());
  }
  fs::path path(const std::string& name) const { return folder.path() / name; }
  std::string checkpoint() const { return path("net.safetensors").string(); }

  // `changes` are merged over the data (RFC 7386).
  ExperimentConfig config(const std::string& images, const Json& changes = Json::object()) const {
    Json json = {{"name", "pets"},
                 {"data",
                  {{"dataset", {{"class", "image_folder"}, {"dir", path(images).string()}, {"size", {8, 8}}}},
                   {"transforms", {{"mean", {0.5, 0.4, 0.3}}, {"std", {0.25}}}},
                   {"validation", 0}}},
                 {"model", {{"class", "convnet"}, {"classes", 2}, {"channels", 3}, {"width", 4}}}};
    json["data"].merge_patch(changes);
    return read_config<ExperimentConfig>({json, "pets.json", ""});
  }

  test::TemporaryFolder folder;
};

// Data that a network of World is not for, in one way each, and what the error says.
struct Misfit {
  std::string images;
  Json changes;
  Names says;
};
const std::map<std::string, Misfit> kMisfits = {
    {"shape", {"pets", {{"dataset", {{"size", {4, 16}}}}}, {"4x16x3", "8x8x3"}}},
    {"channels", {"pets", {{"dataset", {{"channels", 1}}}, {"transforms", {{"mean", {0.5}}}}}, {"8x8x1", "8x8x3"}}},
    {"names", {"renamed", Json::object(), {"boat, cat", "cat, ship", "has boat", "has ship"}}},
    {"number of classes", {"more", Json::object(), {"cat, dog, ship", "cat, ship", "has dog"}}},
    {"mean", {"pets", {{"transforms", {{"mean", {0.5, 0.4, 0.2}}}}}, {"0.5, 0.4, 0.2", "0.5, 0.4, 0.3"}}},
    {"std", {"pets", {{"transforms", {{"std", {0.5}}}}}, {"0.5, 0.5, 0.5", "0.25, 0.25, 0.25"}}}};

// Every place where data meet a network: it throws where they differ.
using Meeting = void (*)(const World& world, const ExperimentConfig& with);

void start_from_checkpoint(const World& world, const ExperimentConfig& with) {
  ExperimentConfig config = with;
  config.checkpoint = world.checkpoint();
  open_task(config, std::nullopt);
}
void evaluate_with_config(const World& world, const ExperimentConfig& with) {
  const Config config{{{"data", write_config(with.data)}}, "other.json", ""};
  open_task(load_model(world.checkpoint(), config), std::nullopt);
}
void evaluate_with_folder(const World& world, const ExperimentConfig& with) {
  open_task(load_model(world.checkpoint(), std::nullopt), with.data.dataset.json().at("dir").get<std::string>());
}
void evaluate_program(const World&, const ExperimentConfig& with) {
  deploy::Program program = test::small_program();
  program.tensors[0].height = program.tensors[0].width = 8;
  program.deviation = {0.25f, 0.25f, 0.25f};
  ImageTask(with.data, 1, std::nullopt, Described{"net.qgi", describe(program)});
}
void teach(const World& world, const ExperimentConfig& with) {
  const ImageTask data(with.data, 1, std::nullopt, std::nullopt);
  const ModulePtr student = build_model(with.model, 2, std::nullopt);
  DistillationConfig config;
  config.teachers = {{.checkpoint = world.checkpoint()}};
  Distillation(config, *student, data.description());
}
void resume(const World& world, const ExperimentConfig& with) {
  OutputFolder folder(world.path("run"));
  const ResumePoint point{.folder = folder, .name = "training.safetensors", .resume = true, .config = {}};
  const ModulePtr model = build_model(with.model, 1, std::nullopt);
  const auto optimizer = make_optimizer(TrainConfig{}.optimizer, *model);
  save_training_state(folder.to_write(point.name), *model, *optimizer,
                      {.trained_on = described(world.checkpoint()).data});
  check_resumable(point, {}, ImageTask(with.data, 1, std::nullopt, std::nullopt));
}

struct Place {
  Meeting meet;
  std::string other;    // as the error calls it
  Names no_difference;  // what may differ here, or can not
};
const std::map<std::string, Place> kPlaces = {
    {"the checkpoint that a command starts from", {start_from_checkpoint, "net.safetensors", {}}},
    {"a checkpoint and the data of --config", {evaluate_with_config, "net.safetensors", {}}},
    {"a checkpoint and --data", {evaluate_with_folder, "net.safetensors", {"shape", "channels", "mean", "std"}}},
    {"a program and the data of --config", {evaluate_program, "net.qgi", {}}},
    {"a teacher and the student's data", {teach, "the teacher", {"mean", "std"}}},
    {"a training that is resumed and its data", {resume, "training.safetensors", {}}}};

}  // namespace

TEST_CASE("data that differ from those of a network are an error wherever they meet, and both are named") {
  const World world;
  for (const auto& [where, place] : kPlaces) {
    INFO(where);
    CHECK_NOTHROW(place.meet(world, world.config("pets")));
    for (const auto& [what, misfit] : kMisfits) {
      INFO(what);
      const ExperimentConfig with = world.config(misfit.images, misfit.changes);
      if (std::ranges::count(place.no_difference, what) > 0) {
        CHECK_NOTHROW(place.meet(world, with));
        continue;
      }
      CHECK_THROWS_WITH(place.meet(world, with), Contains(place.other));
      for (const std::string& says : misfit.says) CHECK_THROWS_WITH(place.meet(world, with), Contains(says));
    }
  }
}

TEST_CASE("what the config of data leaves open is as the checkpoint has it") {
  const World world;
  ExperimentConfig config = world.config("pets", {{"transforms", nullptr}});
  CHECK(open_task(config, std::nullopt)->description().mean == std::vector<float>{0.5f, 0.5f, 0.5f});
  config.checkpoint = world.checkpoint();
  const auto task = open_task(config, std::nullopt);
  CHECK(task->description().mean == std::vector<float>{0.5f, 0.4f, 0.3f});
  CHECK(task->description().std == std::vector<float>{0.25f, 0.25f, 0.25f});
  CHECK(task->data().at("transforms").at("mean") == Json{0.5, 0.4, 0.3});
}

TEST_CASE("a checkpoint's data are those that were read") {
  const World world;
  CHECK(described(world.checkpoint()).data.classes == Names{"cat", "ship"});
  CHECK(described(world.checkpoint()).data.image == std::vector<int64_t>{8, 8, 3});
  const ExperimentConfig config = world.config("renamed");
  const auto task = open_task(config, world.path("pets").string(), std::nullopt);
  const std::string file = world.path("by_option.safetensors").string();
  save_model(file, *build_model(config.model, 1, std::nullopt), config, *task, std::nullopt, Json::object());
  const ModelFile loaded = load_model(file, std::nullopt);
  CHECK(loaded.experiment.data.dataset.json().at("dir") == world.path("pets").string());
  CHECK(open_task(loaded, std::nullopt)->description().classes == Names{"cat", "ship"});
}

TEST_CASE("classes are the network's by their names, whatever order a data set has them in") {
  const World world;
  const Described other_order{"net", {.classes = {"ship", "cat"}}};
  const ExperimentConfig config = world.config("pets");
  const ImageTask plain(config.data, 1, std::nullopt, std::nullopt), ordered(config.data, 1, std::nullopt, other_order);
  CHECK(ordered.description().classes == Names{"ship", "cat"});
  const auto labels = [](const ImageTask& data) {
    Loader test = data.test();
    test.start_epoch(0);
    return test.next()->labels;
  };
  CHECK(labels(plain) == std::vector<int32_t>{0, 1, 0, 1});
  CHECK(labels(ordered) == std::vector<int32_t>{1, 0, 1, 0});
}

TEST_CASE("a config beside a checkpoint must say the model and the quantizer that it was saved with, or nothing") {
  const World world;
  const auto load = [&](const char* key, Json value) {
    Json config = {{"data", write_config(world.config("pets").data)}};
    config[key] = std::move(value);
    load_model(world.checkpoint(), Config{config, "other.json", ""});
  };
  CHECK_NOTHROW(load("model", {{"class", "convnet"}, {"width", 4}}));
  CHECK_NOTHROW(load("quantizer", nullptr));
  CHECK_THROWS_WITH(load("model", {{"class", "convnet"}, {"width", 8}}),
                    Contains("other.json: model.width: is 8, but") && Contains("was saved with 4"));
  CHECK_THROWS_WITH(load("quantizer", {{"class", "WRPNQuantizer"}}),
                    Contains("other.json: quantizer: is {") && Contains("was saved with null"));
}

TEST_CASE("images that an architecture does not take are an error with both sizes") {
  const World world;
  CHECK_THROWS_WITH(open_task(world.config("pets", {{"dataset", {{"size", {4, 16}}}}}), std::nullopt),
                    Contains("pets.json: model: ") && Contains("4x16x3") && Contains("8x8x3"));
  ExperimentConfig large = world.config("pets", {{"dataset", {{"size", {48, 48}}}}});
  large.model.json() = {{"class", "simplenet"}, {"classes", 2}};
  CHECK_THROWS_WITH(open_task(large, std::nullopt), Contains("pets.json: model: images of 48x48x3"));
  large.model.json() = {{"class", "resnet20"}, {"classes", 2}};
  CHECK(example_inputs(large.model, open_task(large, std::nullopt)->description())[0].shape() == Shape{1, 48, 48, 3});
}

TEST_CASE("a teacher sees images as it was trained to, whatever the student's normalisation is") {
  const World world;
  const ModulePtr student = build_model(world.config("pets").model, 2, std::nullopt);
  const auto loss = [&](const Json& transforms) {
    const ImageTask data(world.config("pets", {{"transforms", transforms}}).data, 1, std::nullopt, std::nullopt);
    DistillationConfig config{.weight_student = 0, .weight_distill = 1};
    config.teachers = {{.checkpoint = world.checkpoint()}};
    Distillation distillation(config, *student, data.description());
    const Tensor image = data.example(), logits = Tensor::zeros({1, 2});
    distillation.call_student({&image, 1});
    return distillation.loss(Tensor::zeros({}), logits, data, {&image, 1}, 0).item();
  };
  const float same = loss({{"mean", {0.5, 0.4, 0.3}}, {"std", {0.25}}});
  CHECK(same > 1e-6f);
  CHECK(loss({{"mean", {0.1, 0.2, 0.9}}, {"std", {1, 0.5, 2}}}) == Approx(same).epsilon(1e-4));
}

TEST_CASE("data and files that two runs know must be the same when one goes on") {
  const auto run = [](const char* json) { return Json::parse(json); };
  const Json before =
      run(R"({"version": "1", "data_crc32c": {"training": null, "evaluated": "1"}, "files_crc32c": {"a": "2"}})");
  CHECK(source_differences(before, before).empty());
  CHECK(source_differences(nullptr, before).empty());
  CHECK(source_differences(run(R"({"data_crc32c": 1, "files_crc32c": "2"})"), before).empty());
  const Json now = run(
      R"({"version": "2", "data_crc32c": {"training": "3", "evaluated": "4"}, "files_crc32c": {"a": "5", "b": "6"}})");
  CHECK(source_differences(before, now) == std::vector<std::string>{
                                               R"(data_crc32c.evaluated is "4", but was "1")",
                                               R"(files_crc32c.a is "5", but was "2")",
                                           });
}

TEST_CASE("what changes no result, and the epochs to come, may change when a training goes on") {
  const Json before = {{"seed", 1},
                       {"train", {{"epochs", 4}, {"batch_size", 8}}},
                       {"data", {{"dataset", {{"dir", "here"}}}, {"loader_threads", 1}}}};
  Json now = before;
  now["train"]["epochs"] = 9;
  now["data"]["loader_threads"] = 2;
  now["data"]["eval_batch_size"] = 10;
  now["data"]["dataset"]["dir"] = "moved";
  CHECK(config_differences(before, now).empty());
  now["seed"] = 2;
  now["train"].erase("batch_size");
  CHECK(config_differences(before, now) == Names{"seed is 2, but was 1", "train.batch_size is null, but was 8"});
}

// What configs of data sets and models leave open comes from each other, from the network, or from the images.
#include "tasks/image_settings.h"

#include <nlohmann/json.hpp>

#include "support/catch.h"
#include "support/image_files.h"
#include "support/temporary_folder.h"
#include "tasks/experiment.h"
#include "tasks/model_file.h"

using namespace qgrad;
namespace fs = std::filesystem;

namespace {

using Size = std::vector<int64_t>;

// Pictures of 12x16, two of each of three classes in both parts.
struct Pictures {
  Pictures() {
    for (const char* part : {"train", "test"})
      for (const char* name : {"a", "b", "c"}) {
        fs::create_directories(folder.path() / part / name);
        for (const uint64_t seed : {1, 2})
          test::write_png(folder.path() / part / name / fmt::format("{}.png", seed),
                          test::random_image(Shape{12, 16, 3}, seed));
      }
  }
  ExperimentConfig config(const Json& model, const Json& dataset = Json::object()) const {
    Json json = {
        {"name", "pictures"},
        {"data", {{"dataset", {{"class", "image_folder"}, {"dir", folder.path().string()}}}, {"validation", 0}}},
        {"model", model}};
    json["data"]["dataset"].update(dataset.is_null() ? Json::object() : dataset);
    return read_config<ExperimentConfig>({json, "pictures.json", ""});
  }
  Size image(const Json& model, const Json& dataset = Json::object()) const {
    return open_task(config(model, dataset), std::nullopt, std::nullopt)->description().image;
  }

  test::TemporaryFolder folder;
};

Config dataset(const Json& settings) {
  Json json = {{"class", "image_folder"}};
  if (!settings.is_null()) json.update(settings);
  return {json, "d.json", "dataset"};
}

}  // namespace

TEST_CASE("settings of a data set say the size of its images, or leave it open") {
  CHECK(configured_image(dataset({{"size", {4, 6}}})) == Size{4, 6, 3});
  CHECK(configured_image(dataset({{"size", 5}, {"channels", 1}})) == Size{5, 5, 1});
  CHECK(configured_image(dataset({{"resize", 9}, {"center_crop", 8}})) == Size{8, 8, 3});
  CHECK(configured_image(dataset({{"resize", 9}})).empty());
  CHECK(configured_image({{{"class", "digits"}}, "", ""}).empty());
}

TEST_CASE("what a data set leaves open is filled in, what it says stays") {
  const Size image{8, 10, 1};
  CHECK(with_image(dataset({}), image).json() == dataset({{"size", {8, 10}}, {"channels", 1}}).json());
  CHECK(with_image(dataset({{"resize", 9}, {"channels", 3}}), image).json() ==
        dataset({{"resize", 9}, {"channels", 3}, {"center_crop", {8, 10}}}).json());
  CHECK(with_image(dataset({{"size", 5}}), image).json().at("size") == 5);
  CHECK(with_image(dataset({}), Size{0, 0, 1}).json() == dataset({{"channels", 1}}).json());
  CHECK(with_image(dataset({}), Size{}).json() == dataset({}).json());
  CHECK(with_image({{{"class", "digits"}}, "", ""}, image).json() == Json{{"class", "digits"}});
}

TEST_CASE("images have the size that their model is for, or else their own") {
  const Pictures pictures;
  const Json convnet{{"class", "convnet"}, {"image_size", 8}, {"channels", 1}};
  CHECK(pictures.image(convnet) == Size{8, 8, 1});
  CHECK(pictures.image({{"class", "resnet20"}}) == Size{12, 16, 3});
  CHECK(pictures.image({{"class", "resnet20"}}, {{"size", 20}}) == Size{20, 20, 3});
  CHECK(pictures.image({{"class", "convnet"}}, {{"size", 12}, {"channels", 4}}) == Size{12, 12, 4});
  CHECK_THROWS_WITH(pictures.image(convnet, {{"size", 12}}), Contains("are 12x12x1") && Contains("8x8x1"));
}

TEST_CASE("a model without a number of classes has as many outputs as the data have classes") {
  const Pictures pictures;
  const ExperimentConfig config = pictures.config({{"class", "resnet20"}});
  const auto task = open_task(config, std::nullopt, std::nullopt);
  const Config model = with_data(config.model, task->description());
  CHECK(model.json().at("classes") == 3);
  CHECK(build_model(model, 1, std::nullopt)->call(example_inputs(model, task->description())).shape() == Shape{1, 3});
  CHECK_THROWS_WITH(pictures.image({{"class", "resnet20"}, {"classes", 10}}),
                    Contains("10 outputs") && Contains("3 classes"));
}

TEST_CASE("images have the size of the network that is there, with the config's way to it") {
  const Pictures pictures;
  const Described network{"net", {.image = {8, 10, 1}}};
  const auto open = [&](const Json& settings) {
    return ImageTask(pictures.config({{"class", "resnet20"}}, settings).data, 1, std::nullopt, network);
  };
  CHECK(open({}).description().image == Size{8, 10, 1});
  const ImageTask cropped = open({{"resize", 11}});
  CHECK(cropped.description().image == Size{8, 10, 1});
  CHECK(cropped.data().at("dataset").at("center_crop") == Json{8, 10});
  CHECK_THROWS_WITH(open({{"size", 12}}), Contains("12x12x1") && Contains("those of net are 8x10x1"));
}

TEST_CASE("images without labels are no data for what needs classes") {
  const Pictures pictures;
  const auto task =
      open_task(pictures.config({{"class", "resnet20"}}, {{"labels", "none"}}), std::nullopt, std::nullopt);
  CHECK(task->training_examples() == 12);
  CHECK_THROWS_WITH(check_labelled(*task), Contains("images without labels do for calibration alone"));
  const auto labelled = open_task(pictures.config({{"class", "resnet20"}}), std::nullopt, std::nullopt);
  CHECK_NOTHROW(check_labelled(*labelled));
}

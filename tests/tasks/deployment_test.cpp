// Programs beside the models they were made of.
#include "tasks/deployment.h"

#include <nlohmann/json.hpp>

#include "data/dataset.h"
#include "engine/program_file.h"
#include "engine/small_program.h"
#include "quant/export/every_layer.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/image_files.h"
#include "support/temporary_folder.h"

using namespace qgrad;

namespace {

struct Fixture {
  ModulePtr model = test::quantized(test::every_layer(), Json::object(), test::images(4, 1));
  deploy::Lowered lowered = deploy::lower(*model, test::images(1, 2));
  Tensor images = test::images(6, 3), expected = (*model)(images);

  Comparison compared(const deploy::Program& program) {
    return compare_with_model(deploy::program_bytes(program), lowered, *model, images, expected);
  }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "a program is run on images and compared with its model") {
  const Comparison comparison = compared(lowered.program);
  CHECK(comparison.images == 6);
  CHECK(comparison.outputs == 30);
  CHECK(comparison.differing == 0);
  CHECK(comparison.same_class == 6);
  CHECK_THAT(comparison.to_text(), Contains("0 of 30 outputs differ") && Contains("6 of 6 images"));
}

TEST_CASE_METHOD(Fixture, "a program that computes something else is refused") {
  deploy::Program program = lowered.program;
  for (deploy::Op& op : program.ops)
    for (int32_t& bias : op.bias) bias += 1000;
  CHECK_THAT(test::error_of([&] { compared(program); }), Contains("does not compute what the model does"));
}

TEST_CASE_METHOD(Fixture, "outputs that are no numbers are refused") {
  expected = expected.clone();
  expected.mutable_data()[7] = NAN;
  CHECK_THAT(test::error_of([&] { compared(lowered.program); }), Contains("the checkpoint's model gives nan"));
}

TEST_CASE("a program prepares a picture as its data set did") {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "a.png";
  test::write_png(file, test::pattern_image({20, 31, 4}));
  const Json settings =
      GENERATE(Json{{"size", {5, 7}}}, Json{{"resize", 9}, {"center_crop", {5, 7}}, {"background", 0}},
               Json{{"resize", {11, 8}}, {"center_crop", {5, 7}}}, Json{{"center_crop", {5, 7}}},
               Json{{"resize", {5, 7}}, {"background", 9}});
  Json json = {{"class", "image_folder"}, {"dir", folder.path().string()}, {"labels", "none"}};
  json.update(settings);
  const Config dataset{json, "d.json", "dataset"};
  deploy::Program program = test::small_program();
  program.tensors[0].height = 5, program.tensors[0].width = 7;
  program.preparation = preparation_of(dataset);
  CHECK(image_for(program, file).shape == Shape{5, 7, 3});
  CHECK(image_for(program, file).pixels == open_dataset(dataset, std::nullopt)->test().pixels);
}

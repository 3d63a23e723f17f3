// Programs beside the models they were made of.
#include "tasks/deployment.h"

#include <nlohmann/json.hpp>

#include "engine/program_file.h"
#include "quant/export/every_layer.h"
#include "support/catch.h"
#include "support/errors.h"

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

#include "nn/onnx/import.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "nn/onnx/run_imported.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/golden.h"
#include "support/npy.h"

namespace qgrad {
namespace {

namespace fs = std::filesystem;

// The largest difference as a share of the largest output.
double share_of_difference(const Tensor& got, const Tensor& expected) {
  REQUIRE(got.shape() == expected.shape());
  double worst = 0, largest = 0;
  for (size_t i = 0; i < got.data().size(); ++i) {
    worst = std::max(worst, std::fabs(double{got.data()[i]} - expected.data()[i]));
    largest = std::max(largest, std::fabs(double{expected.data()[i]}));
  }
  return worst / largest;
}

Tensor first_example(const Tensor& x) {
  std::vector<int64_t> dims(x.shape().dims().begin(), x.shape().dims().end());
  dims[0] = 1;
  const Shape one{std::span<const int64_t>(dims)};
  return Tensor::from(one, x.data().first(static_cast<size_t>(one.numel())));
}

}  // namespace

TEST_CASE("networks of PyTorch's two exporters give what they gave there, for any size of batch") {
  const fs::path folder = golden::shared_file("models/pytorch2");
  if (!golden::available(folder)) return;
  for (const char* name : {"resnet_tiny", "mobilenet_v2_tiny", "mobilenet_v3_tiny", "efficientnet_tiny",
                           "convnext_tiny", "vit_tiny", "unet_tiny", "shuffle_tiny"})
    for (const char* exporter : {"", "_ts14"}) {
      INFO(name << exporter);
      std::vector<Tensor> all, one;
      const Tensor x = test::read_npy(folder / (std::string(name) + ".input.npy"));
      const Tensor expected = test::read_npy(folder / (std::string(name) + ".output.npy"));
      try {
        const onnx::Imported imported =
            onnx::import_model(onnx::read(folder / (std::string(name) + exporter + ".onnx")), {});
        const std::string input = imported.inputs.at(0).name;
        all = test::run_imported(imported, {{input, x}});
        one = test::run_imported(imported, {{input, first_example(x)}});
      } catch (const Error& e) {
        FAIL_CHECK(e.what());
        continue;
      }
      CHECK(share_of_difference(all.at(0), expected) < 1e-5);
      CHECK(share_of_difference(one.at(0), first_example(expected)) < 1e-5);
    }
}

// NAME.onnx, NAME.input.npy and NAME.output.npy, NAME.output1.npy, ..
TEST_CASE("networks in a folder of one's own give the outputs that lie beside them", "[onnx-models]") {
  const char* folder = std::getenv("QGRAD_ONNX_MODELS");
  if (!folder) {
    std::cerr << "skipped: $QGRAD_ONNX_MODELS names no folder of ONNX models\n";
    return;
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".onnx") continue;
    const std::string stem = (entry.path().parent_path() / entry.path().stem()).string();
    INFO(stem);
    try {
      const Tensor x = test::read_npy(stem + ".input.npy");
      onnx::Model model = onnx::read(entry.path());
      const auto sizes = x.shape().dims().subspan(1);
      const std::string input = model.inputs.at(0).name;
      const onnx::Imported imported =
          onnx::import_model(std::move(model), {.sizes = {{input, {sizes.begin(), sizes.end()}}}, .known = {}});
      const std::vector<Tensor> y = test::run_imported(imported, {{imported.inputs.at(0).name, x}});
      for (size_t i = 0; i < y.size(); ++i) {
        const Tensor expected = test::read_npy(fmt::format("{}.output{}.npy", stem, i == 0 ? "" : std::to_string(i)));
        const double share = share_of_difference(y[i], expected);
        std::cerr << fmt::format("{} output {}: differs by {:.1e} of the largest\n", entry.path().stem().string(), i,
                                 share);
        CHECK(share < 1e-4);
      }
    } catch (const Error& e) {
      FAIL_CHECK(e.what());
    }
  }
}

}  // namespace qgrad

#include "nn/onnx/import.h"

#include <cmath>
#include <filesystem>

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

}  // namespace qgrad

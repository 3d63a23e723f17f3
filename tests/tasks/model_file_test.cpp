// Checkpoints that describe a network, and what of it is believed.
#include "tasks/model_file.h"

#include "nn/checkpoint.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

using namespace qgrad;

TEST_CASE("a small checkpoint that describes a network of 2^40 numbers is refused before memory is asked for") {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "net.safetensors";
  const auto described_with = [&](const char* model) {
    write_checkpoint(
        file,
        {.file = file,
         .tensors = {{"fc.weight", Tensor::zeros({2, 2})}},
         .config = {{"name", "net"}, {"model", parse_json(model, "model")}, {"trained_on", {{"image", {8, 8, 1}}}}},
         .metadata = {}});
    return test::error_of([&] { load_model(file, std::nullopt); });
  };
  CHECK_THAT(described_with(R"({"class": "network", "inputs": [{"shape": [1048576]}],
                                "nodes": [{"name": "fc", "class": "Linear", "out": 1048576}]})"),
             Contains("4398046511104 bytes more are beyond the 4294967"));
  CHECK_THAT(described_with(R"({"class": "network", "inputs": [{"shape": [100000, 100000, 3]}],
                                "nodes": [{"name": "relu", "class": "ReLU"}]})"),
             Contains("bytes more are beyond the 4294967"));
}

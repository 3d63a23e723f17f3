// The golden nets, run in float: that the reader, the layers and their layouts agree with PyTorch.
#include "support/golden_net.h"

#include <nlohmann/json.hpp>
#include "support/catch.h"

using namespace qgrad;

TEST_CASE("golden 05: the nets in float") {
  for (const char* family : {"05_a_conv_stats", "05_b_residual_stats", "05_c_concat_stats", "05_d_matmul_stats",
                             "05_e_mult_stats", "05_f_embedding_stats"}) {
    const std::vector<golden::GoldenFile> files = golden::load_all(family);
    if (files.empty()) continue;
    golden::Tally tally(std::string(family) + ", float");
    for (const auto& [name, file] : files)
      for (const Json& description : file.at("net")) {
        const ModulePtr net = golden::build_net(description);
        net->set_training(false);
        for (size_t i = 0; i < description.at("test_inputs").size(); ++i) {
          INFO(name << ", input " << i);
          const Tensor y = net->call(golden::net_inputs(description["test_inputs"][i]));
          CHECK(golden::difference(golden::file_activation(y), golden::tensor(description.at("float_outputs").at(i))) ==
                "");
          tally.add(golden::kCompared);
        }
      }
  }
}

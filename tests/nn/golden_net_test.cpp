// The golden nets, run in float: that the reader, the layers and their layouts agree with PyTorch.
#include "support/golden_net.h"
#include "support/catch.h"

using namespace qgrad;

TEST_CASE("golden 05: the nets in float") {
  for (const char* name : {"05_a_conv_stats.json", "05_b_residual_stats.json", "05_c_concat_stats.json",
                           "05_d_matmul_stats.json", "05_e_mult_stats.json", "05_f_embedding_stats.json"}) {
    const std::optional<Json> file = golden::load(name);
    if (!file) continue;
    golden::Tally tally(std::string(name) + ", float");
    for (const Json& description : file->at("net")) {
      const ModulePtr net = golden::build_net(description);
      net->set_training(false);
      for (size_t i = 0; i < description.at("test_inputs").size(); ++i) {
        INFO(name << ", input " << i);
        const Tensor y = net->call(golden::net_inputs(description["test_inputs"][i]));
        CHECK(golden::difference(golden::file_activation(y), golden::tensor(description.at("float_outputs").at(i))) ==
              "");
        tally.compared();
      }
    }
  }
}

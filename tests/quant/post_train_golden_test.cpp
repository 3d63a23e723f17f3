// PostTrainLinearQuantizer against Distiller's on six small nets, static and dynamic.
#include <fmt/format.h>

#include "quant/post_train_golden.h"
#include "support/catch.h"
#include "support/golden.h"

using namespace qgrad;

namespace {

void check_file(const char* name) {
  int with_half_range = 0;
  golden::for_each_case(name, [&](const Json& file, const Json& golden_case) {
    with_half_range += golden::check_post_train_case(file, golden_case);
    return true;
  });
  if (with_half_range) fmt::print(stderr, "golden {}: {} of them with inputs_keep_half_range\n", name, with_half_range);
}

}  // namespace

TEST_CASE("post-training quantization: golden 05_a_conv_stats") { check_file("05_a_conv_stats.json"); }
TEST_CASE("post-training quantization: golden 05_b_residual_stats") { check_file("05_b_residual_stats.json"); }
TEST_CASE("post-training quantization: golden 05_c_concat_stats") { check_file("05_c_concat_stats.json"); }
TEST_CASE("post-training quantization: golden 05_d_matmul_stats") { check_file("05_d_matmul_stats.json"); }
TEST_CASE("post-training quantization: golden 05_e_mult_stats") { check_file("05_e_mult_stats.json"); }
TEST_CASE("post-training quantization: golden 05_f_embedding_stats") { check_file("05_f_embedding_stats.json"); }
TEST_CASE("post-training quantization: golden 05_a_conv_dynamic") { check_file("05_a_conv_dynamic.json"); }
TEST_CASE("post-training quantization: golden 05_b_residual_dynamic") { check_file("05_b_residual_dynamic.json"); }
TEST_CASE("post-training quantization: golden 05_c_concat_dynamic") { check_file("05_c_concat_dynamic.json"); }
TEST_CASE("post-training quantization: golden 05_d_matmul_dynamic") { check_file("05_d_matmul_dynamic.json"); }
TEST_CASE("post-training quantization: golden 05_e_mult_dynamic") { check_file("05_e_mult_dynamic.json"); }
TEST_CASE("post-training quantization: golden 05_f_embedding_dynamic") { check_file("05_f_embedding_dynamic.json"); }

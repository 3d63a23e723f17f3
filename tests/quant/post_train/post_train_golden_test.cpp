// PostTrainLinearQuantizer against Distiller's on six small nets, static and dynamic.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "quant/post_train/post_train_golden.h"
#include "support/catch.h"
#include "support/golden.h"

using namespace qgrad;

namespace {

void check_files(const char* family) {
  int with_half_range = 0;
  golden::for_each_case(family, [&](const Json& file, const Json& golden_case) {
    with_half_range += golden::check_post_train_case(file, golden_case);
    return golden::kCompared;
  });
  if (with_half_range)
    fmt::print(stderr, "golden {}: {} of them with inputs_keep_half_range\n", family, with_half_range);
}

}  // namespace

TEST_CASE("post-training quantization: golden 05_a_conv_stats") { check_files("05_a_conv_stats"); }
TEST_CASE("post-training quantization: golden 05_b_residual_stats") { check_files("05_b_residual_stats"); }
TEST_CASE("post-training quantization: golden 05_c_concat_stats") { check_files("05_c_concat_stats"); }
TEST_CASE("post-training quantization: golden 05_d_matmul_stats") { check_files("05_d_matmul_stats"); }
TEST_CASE("post-training quantization: golden 05_e_mult_stats") { check_files("05_e_mult_stats"); }
TEST_CASE("post-training quantization: golden 05_f_embedding_stats") { check_files("05_f_embedding_stats"); }
TEST_CASE("post-training quantization: golden 05_a_conv_dynamic") { check_files("05_a_conv_dynamic"); }
TEST_CASE("post-training quantization: golden 05_b_residual_dynamic") { check_files("05_b_residual_dynamic"); }
TEST_CASE("post-training quantization: golden 05_c_concat_dynamic") { check_files("05_c_concat_dynamic"); }
TEST_CASE("post-training quantization: golden 05_d_matmul_dynamic") { check_files("05_d_matmul_dynamic"); }
TEST_CASE("post-training quantization: golden 05_e_mult_dynamic") { check_files("05_e_mult_dynamic"); }
TEST_CASE("post-training quantization: golden 05_f_embedding_dynamic") { check_files("05_f_embedding_dynamic"); }

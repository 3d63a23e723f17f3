// Reductions by name.
#include "nn/layers/reduce.h"

#include <fmt/ranges.h>

namespace qgrad {
namespace {

const RegisteredLayer<ReduceMean, ReduceConfig> reduce_mean_class{"ReduceMean"};
const RegisteredLayer<ReduceSum, ReduceConfig> reduce_sum_class{"ReduceSum"};
const RegisteredLayer<ReduceMax, ReduceConfig> reduce_max_class{"ReduceMax"};
const RegisteredLayer<ReduceMin, ReduceConfig> reduce_min_class{"ReduceMin"};

}  // namespace

void fields(Fields& v, ReduceConfig& c) {
  v("dims", c.dims, {.help = "dimensions that are reduced; none: all"});
  v("keep_dims", c.keep_dims, {.help = "whether they stay, with a size of 1"});
}

std::string Reduce::describe() const {
  return fmt::format("dims=[{}]{}", fmt::join(config_.dims, ", "), config_.keep_dims ? "" : ", keep_dims=false");
}

}  // namespace qgrad

// Forward passes of the layers with several inputs.
#include "nn/layers/eltwise.h"

namespace qgrad {
namespace {

template <class Op>
Tensor combine(std::string_view kind, Inputs x, Op op) {
  check(x.size() >= 2, "{} takes two inputs or more, got {}", kind, x.size());
  Tensor y = op(x[0], x[1]);
  for (const Tensor& next : x.subspan(2)) y = op(y, next);
  return y;
}

void check_two(std::string_view kind, Inputs x) { check(x.size() == 2, "{} takes two inputs, got {}", kind, x.size()); }

const RegisteredLayer<EltwiseAdd> add_class{"EltwiseAdd"};
const RegisteredLayer<EltwiseMult> mult_class{"EltwiseMult"};
const RegisteredLayer<EltwiseSub> sub_class{"EltwiseSub"};
const RegisteredLayer<EltwiseDiv> div_class{"EltwiseDiv"};
const RegisteredLayer<EltwiseMax> max_class{"EltwiseMax"};
const RegisteredLayer<EltwiseMin> min_class{"EltwiseMin"};
const RegisteredLayer<EltwisePow> eltwise_pow_class{"EltwisePow"};
const RegisteredLayer<Concat, ConcatConfig> concat_class{"Concat"};
const RegisteredLayer<Split, SplitConfig> split_class{"Split"};
const RegisteredLayer<Matmul> matmul_class{"Matmul"};
const RegisteredLayer<BatchMatmul> batch_matmul_class{"BatchMatmul"};

}  // namespace

void fields(Fields& v, ConcatConfig& c) {
  v("dim", c.dim, {.help = "dimension along which the inputs are joined; of images [N,H,W,C], 3 or -1: channels"});
}

void fields(Fields& v, SplitConfig& c) {
  v("dim", c.dim, {.help = "dimension that is split"});
  v("parts", c.parts, {.help = "equal parts that it is split into", .min = 1, .required = true});
  v("index", c.index, {.help = "which of the parts, from 0", .min = 0, .required = true});
}

Tensor EltwiseAdd::forward(Inputs x) { return combine(kind(), x, add); }
Tensor EltwiseMult::forward(Inputs x) { return combine(kind(), x, mul); }
Tensor EltwiseSub::forward(Inputs x) { return combine(kind(), x, sub); }
Tensor EltwiseDiv::forward(Inputs x) { return combine(kind(), x, div); }
Tensor EltwiseMax::forward(Inputs x) { return combine(kind(), x, maximum); }
Tensor EltwiseMin::forward(Inputs x) { return combine(kind(), x, minimum); }

Tensor EltwisePow::forward(Inputs x) {
  check_two(kind(), x);
  return pow(x[0], x[1]);
}

Split::Split(const SplitConfig& config) : config_(config) {
  check(config.parts > 0 && config.index >= 0 && config.index < config.parts, "Split: there is no part {} of {}",
        config.index, config.parts);
}

Tensor Split::forward(const Tensor& x) {
  const auto [dim, parts, index] = config_;
  const int64_t size = x.dim(dim), part = size / parts;
  check(size % parts == 0, "Split: dimension {} of {} does not divide into {} equal parts", dim, x.shape(), parts);
  return slice(x, dim, index * part, (index + 1) * part);
}

Tensor Matmul::forward(Inputs x) {
  check_two(kind(), x);
  return matmul(x[0], x[1]);
}

Tensor BatchMatmul::forward(Inputs x) {
  check_two(kind(), x);
  return matmul(x[0], x[1]);
}

}  // namespace qgrad

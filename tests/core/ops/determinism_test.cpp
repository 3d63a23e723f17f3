// The same bits for any number of threads, and on any instruction set where kernels are exact.
#include <functional>

#include "core/ops.h"
#include "core/parallel.h"
#include "core/tape.h"
#include "support/catch.h"
#include "support/gradcheck.h"

using namespace qgrad;
using namespace qgrad::test;

namespace {

// Runs fn with a number of threads, and restores the number.
template <class F>
auto with_threads(int threads, F&& fn) {
  const int before = num_threads();
  set_num_threads(threads);
  auto result = fn();
  set_num_threads(before);
  return result;
}

// Bits of f's output and of its gradients.
std::vector<std::vector<uint32_t>> everything(const Function& f, const std::vector<Tensor>& inputs) {
  std::vector<Tensor> leaves;
  for (const Tensor& x : inputs) {
    leaves.push_back(x.clone());
    leaves.back().set_requires_grad(true);
  }
  Tape tape;
  Tensor y, loss;
  {
    const Tape::Recording recording(tape);
    y = f(leaves);
    loss = sum(mul(y, normal_tensor(y.shape(), 99)));
  }
  tape.backward(loss);
  std::vector<std::vector<uint32_t>> all{bits(y), bits(loss)};
  for (const Tensor& leaf : leaves) all.push_back(bits(leaf.grad()));
  return all;
}

}  // namespace

TEST_CASE("ops give the same bits on one, two and three threads") {
  const Tensor images = normal_tensor({16, 16, 16, 24}, 1), channel = uniform_tensor({24}, 2, 0.5f, 2.0f);
  const Tensor ids = Tensor::from({5000}, [] {
    std::vector<float> which(5000);
    for (size_t i = 0; i < which.size(); ++i) which[i] = static_cast<float>((i * i) % 97);
    return which;
  }());
  const std::vector<int32_t> labels(4096, 7);
  struct Row {
    const char* name;
    Function f;
    std::vector<Tensor> inputs;
  };
  const Row rows[] = {
      {"sum", [](Inputs x) { return sum(x[0]); }, {images}},
      {"mean over a dimension", [](Inputs x) { return mean(x[0], 1, false); }, {images}},
      {"mul by channel", [](Inputs x) { return mul(x[0], x[1]); }, {images, channel}},
      {"div of a scalar", [](Inputs x) { return div(x[0], x[1]); }, {Tensor::scalar(3), add_scalar(square(images), 1)}},
      {"batch_norm", [](Inputs x) { return batch_norm_train(x[0], x[1], x[2], 1e-5f).y; }, {images, channel, channel}},
      {"max_pool2d", [](Inputs x) { return max_pool2d(x[0], {}); }, {images}},
      {"global_avg_pool2d", [](Inputs x) { return global_avg_pool2d(x[0]); }, {images}},
      {"softmax", [](Inputs x) { return softmax(x[0]); }, {images}},
      {"cross entropy",
       [&](Inputs x) {
         return softmax_cross_entropy(reshape(x[0], {4096, 24}), labels);
       },
       {images}},
      {"embedding", [&](Inputs x) { return embedding(ids, x[0]); }, {normal_tensor({97, 200}, 3)}},
      {"max", [](Inputs x) { return max(x[0]); }, {images}},
      {"mean over dimensions",
       [](Inputs x) {
         return mean(x[0], std::vector<int>{0, 2}, true);
       },
       {images}},
      {"max over dimensions",
       [](Inputs x) {
         return max(x[0], std::vector<int>{0, 2}, true);
       },
       {images}},
      {"group_norm", [](Inputs x) { return group_norm(x[0], 4, x[1], x[1], 1e-5f); }, {images, channel}},
      {"layer_norm", [](Inputs x) { return layer_norm(x[0], {24}, x[1], x[1], 1e-5f); }, {images, channel}},
      {"index_select",
       [](Inputs x) {
         return index_select(x[0], 0, std::vector<int64_t>{3, 1, 3, 3, 0});
       },
       {images}},
      {"resize",
       [](Inputs x) { return resize(x[0], {.height = 21, .width = 9, .mode = ResizeMode::linear}); },
       {images}},
      {"conv_transpose2d",
       [](Inputs x) { return conv_transpose2d(x[0], x[1], {}, {}); },
       {images, normal_tensor({3, 3, 24, 20}, 4)}},
      {"prelu", [](Inputs x) { return prelu(x[0], x[1]); }, {images, channel}},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    const auto alone = with_threads(1, [&] { return everything(row.f, row.inputs); });
    CHECK(with_threads(2, [&] { return everything(row.f, row.inputs); }) == alone);
    CHECK(with_threads(3, [&] { return everything(row.f, row.inputs); }) == alone);
  }
}

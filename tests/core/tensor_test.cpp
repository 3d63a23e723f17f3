// Tensor handles: sharing, uniqueness, views, and what undefined ones answer.
#include "core/tensor.h"

#include <cstdint>

#include "core/memory.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/values.h"

using namespace qgrad;
using namespace qgrad::test;

TEST_CASE("copies of a tensor share its numbers and a clone does not") {
  Tensor a = Tensor::from({2, 2}, std::vector<float>{1, 2, 3, 4});
  Tensor b = a, c = a.clone();
  a.mutable_data()[0] = 9;
  CHECK(b.data()[0] == 9);
  CHECK(c.data()[0] == 1);
  CHECK(b.is_same(a));
  CHECK(!c.is_same(a));
}

TEST_CASE("a reshaped tensor shares the numbers and needs the same number of them") {
  Tensor a = Tensor::zeros({2, 3});
  Tensor view = a.reshaped({3, 2});
  view.mutable_data()[5] = 7;
  CHECK(a.data()[5] == 7);
  CHECK(error_of([&] { a.reshaped({4}); }) == "reshape: [2,3] has 6 elements, [4] has 4");
}

TEST_CASE("a tensor is unique only while no handle and no view can see its numbers") {
  Tensor a = Tensor::zeros({4});
  CHECK(a.is_unique());
  {
    const Tensor copy = a;
    CHECK(!a.is_unique());
  }
  CHECK(a.is_unique());
  Tensor view = a.reshaped({2, 2});
  CHECK(!a.is_unique());
  CHECK(!view.is_unique());
  a = Tensor();
  CHECK(view.is_unique());
  CHECK(!Tensor().is_unique());
}

TEST_CASE("tensor numbers are aligned for vectors") {
  for (const int64_t n : {1, 3, 17, 1000, 100000})
    CHECK(reinterpret_cast<uintptr_t>(Tensor::empty({n}).data().data()) % kAlignment == 0);
}

TEST_CASE("item, from and gradients refuse what does not fit") {
  const Tensor two = Tensor::zeros({2});
  CHECK(error_of([&] { two.item(); }) == "item: expected a tensor with one element, got shape [2]");
  CHECK(error_of([] { Tensor::from({3}, std::vector<float>{1, 2}); }) == "tensor: shape [3] needs 3 values, got 2");
  Tensor leaf = two;
  CHECK(error_of([&] { leaf.set_grad(Tensor::zeros({3})); }) == "gradient of shape [3] for a tensor of shape [2]");
  leaf.set_grad(Tensor::zeros({2}));
  CHECK(leaf.grad().defined());
  leaf.set_grad(Tensor());
  CHECK(!leaf.grad().defined());
}

TEST_CASE("an undefined tensor says so instead of crashing") {
  Tensor none;
  CHECK(!none.defined());
  CHECK(!none.requires_grad());
  CHECK(!none.grad().defined());
  const std::string why = "an undefined tensor has no shape";
  CHECK(error_of([&] { none.shape(); }) == why);
  CHECK(error_of([&] { none.data(); }) == why);
  CHECK(error_of([&] { none.mutable_data(); }) == why);
  CHECK(error_of([&] { none.clone(); }) == why);
  CHECK(error_of([&] { none.set_requires_grad(true); }) == "an undefined tensor cannot require a gradient");
  CHECK(error_of([&] { none.grid(); }) == "an undefined tensor has no grid");
}

TEST_CASE("tensors without elements are fine") {
  const Tensor none = Tensor::zeros({0, 3});
  CHECK(none.numel() == 0);
  CHECK(none.clone().shape() == Shape{0, 3});
}

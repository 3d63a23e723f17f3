// Batches in blocks.
#include "nn/inference.h"

#include <nlohmann/json.hpp>

#include "core/parallel.h"
#include "nn/models/architecture.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/values.h"

using namespace qgrad;

TEST_CASE("a batch in blocks has the bits of the whole batch, for any size of blocks and number of threads") {
  const ModulePtr model = Registry<Architecture>::create({{{"class", "resnet20"}}, "", "model"})->build(3);
  model->set_training(false);
  const Tensor images = test::normal_tensor({5, 32, 32, 3}, 7);
  const Tensor expected = (*model)(images);
  const int before = num_threads();
  for (const int threads : {1, 3})
    for (const int64_t block : {1, 2, 8}) {
      INFO("blocks of " << block << ", " << threads << " threads");
      set_num_threads(threads);
      CHECK(test::bits(forward_in_blocks(*model, images, block)) == test::bits(expected));
    }
  set_num_threads(before);
  CHECK_THAT(test::error_of([&] { forward_in_blocks(*model, images, 0); }), Contains("blocks of 1"));
}

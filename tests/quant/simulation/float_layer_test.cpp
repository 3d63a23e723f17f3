// Reduced-precision float layers: the rounding.
#include "quant/simulation/float_layer.h"

#include <cmath>

#include "support/catch.h"

using namespace qgrad;

TEST_CASE("round_to_half gives the nearest IEEE half") {
  CHECK(round_to_half(1.0f) == 1.0f);
  CHECK(round_to_half(2049.0f) == 2048.0f);  // a tie goes to the even neighbour
  CHECK(round_to_half(2051.0f) == 2052.0f);
  CHECK(round_to_half(0.1f) == 0.0999755859375f);
  CHECK(round_to_half(-0x1p-24f) == -0x1p-24f);
  CHECK(round_to_half(0x1p-26f) == 0.0f);
  CHECK(round_to_half(65519.0f) == 65504.0f);
  CHECK(std::isinf(round_to_half(65520.0f)));
}

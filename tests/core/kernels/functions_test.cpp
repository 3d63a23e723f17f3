// Functions of one float, where they are written out for processors that lack an instruction.
#include "core/kernels/functions.h"

#include <bit>
#include <cmath>

#include "core/random.h"
#include "support/catch.h"

using namespace qgrad;

TEST_CASE("fused multiply-add is rounded once, with an instruction for it or without") {
  RandomStream random(1, "bits");
  // Of any exponent, and of exponents so near each other that what is lost matters.
  const auto number = [&](bool near) {
    const auto bits =
        static_cast<uint32_t>(random.uniform() * 65536.0f) << 16 | static_cast<uint32_t>(random.uniform() * 65536.0f);
    return std::bit_cast<float>(near ? (bits & 0x807fffffu) | (120 + bits % 16) << 23 : bits);
  };
  for (int i = 0; i < 300000; ++i) {
    const float a = number(i % 2), b = number(i % 2), c = number(i % 4 == 1), expected = std::fma(a, b, c);
    const float result = fused_multiply_add(a, b, c);
    if (std::bit_cast<uint32_t>(result) == std::bit_cast<uint32_t>(expected)) continue;
    CAPTURE(a, b, c, expected, result);
    REQUIRE((std::isnan(expected) && std::isnan(result)));
  }
  CHECK(fused_multiply_add(0x1.000002p0f, 0x1.fffffep-1f, -1.0f) == 0x1.fffffcp-25f);
}

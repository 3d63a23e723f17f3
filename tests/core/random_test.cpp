// The random generator against known answers, and the distributions made of it.
#include "core/random.h"

#include <cmath>
#include <vector>

#include "support/catch.h"
#include "support/errors.h"

using namespace qgrad;

TEST_CASE("Philox4x32-10 gives the known answers of the Random123 library") {
  using Block = std::array<uint32_t, 4>;
  CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) == Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  const uint32_t ones = 0xffffffff;
  CHECK(philox4x32({ones, ones, ones, ones}, {ones, ones}) == Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("streams depend on seed and name, and on nothing else") {
  const RandomStream a(1, "shuffle"), again(1, "shuffle"), seed(2, "shuffle"), name(1, "augment");
  CHECK(a.block(7) == again.block(7));
  CHECK(a.block(7) != seed.block(7));
  CHECK(a.block(7) != name.block(7));
  CHECK(a.block(7) != a.block(8));
  CHECK(a.block(7, 1) != a.block(7));
}

TEST_CASE("a stream continues where it is sought to") {
  RandomStream a(1, "x"), b(1, "x");
  for (int i = 0; i < 10; ++i) a.next();
  b.seek(a.position());
  for (int i = 0; i < 10; ++i) CHECK(a.next() == b.next());
}

TEST_CASE("below is uniform and stays below") {
  RandomStream random(1, "x");
  std::vector<int> counts(7);
  const int draws = 70000;
  for (int i = 0; i < draws; ++i) {
    const uint32_t value = random.below(7);
    REQUIRE(value < 7);
    ++counts[value];
  }
  for (const int count : counts) CHECK(std::abs(count - draws / 7) < 500);  // five standard deviations
  CHECK(random.below(1) == 0);
  CHECK(test::error_of([&] { random.below(0); }) == "random: no number is below 0");
}

TEST_CASE("uniform and normal numbers have the right moments") {
  RandomStream random(3, "x");
  const int draws = 200000;
  double uniform = 0, uniform_squares = 0, normal = 0, squares = 0, fourths = 0;
  for (int i = 0; i < draws; ++i) {
    const double u = random.uniform(), z = random.normal();
    REQUIRE((u >= 0 && u < 1));
    uniform += u / draws;
    uniform_squares += u * u / draws;
    normal += z / draws;
    squares += z * z / draws;
    fourths += z * z * z * z / draws;
  }
  CHECK(uniform == Approx(0.5).margin(0.004));
  CHECK(uniform_squares == Approx(1.0 / 3).margin(0.004));
  CHECK(normal == Approx(0).margin(0.012));
  CHECK(squares == Approx(1).margin(0.016));
  CHECK(fourths == Approx(3).margin(0.12));
}

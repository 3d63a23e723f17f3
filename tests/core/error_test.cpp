// What errors say.
#include "core/error.h"

#include <cmath>

#include "support/catch.h"
#include "support/errors.h"

using namespace qgrad;

TEST_CASE("a NaN in an error has no sign, whatever the processor gave it") {
  const double negative = std::copysign(NAN, -1.0);
  CHECK(test::error_of([&] { fail("{}: is {}, of {}", "a-nan", negative, -INFINITY); }) == "a-nan: is nan, of -inf");
  CHECK(test::error_of([&] { fail("{} {}", negative, negative); }) == "nan nan");
  CHECK(test::error_of([] { fail("-nano"); }) == "-nano");
  CHECK(std::string(Error("from -nan to 1").located("fc").what()) == "from nan to 1, in fc");
}

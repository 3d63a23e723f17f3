#include "core/narrow.h"

#include <cstdint>

#include "support/catch.h"
#include "support/errors.h"

using namespace qgrad;
using test::error_of;

TEST_CASE("numbers that a narrower type holds come out as they are") {
  CHECK(narrow<int8_t>(-128, "weight") == -128);
  CHECK(narrow<uint8_t>(255.0f, "byte") == 255);
  CHECK(narrow<uint8_t>(-0.0f, "byte") == 0);
  CHECK(narrow<int32_t>(-0x1p31f, "sum") == INT32_MIN);
  CHECK(narrow<int64_t>(-0x1p63, "count") == INT64_MIN);
  CHECK(narrow<float>(1 << 24, "sum") == 0x1p24f);
}

TEST_CASE("a number that a narrower type does not hold is an error with the number") {
  CHECK_THAT(error_of([] { narrow<int8_t>(128, "weight"); }),
             Contains("its weight 128 is no integer from -128 to 127"));
  CHECK_THAT(error_of([] { narrow<uint8_t>(-1.0f, "byte"); }), Contains("its byte -1"));
  CHECK_THAT(error_of([] { narrow<uint32_t>(uint64_t{1} << 32, "length"); }), Contains("4294967296"));
  CHECK_THAT(error_of([] { narrow<int32_t>(0x1p31f, "sum"); }), Contains("2147483648"));
  CHECK_THAT(error_of([] { narrow<int64_t>(0x1p63, "count"); }), Contains("its count"));
  CHECK_THAT(error_of([] { narrow<int8_t>(0.5f, "weight"); }), Contains("its weight 0.5"));
  CHECK_THAT(error_of([] { narrow<int32_t>(std::numeric_limits<float>::quiet_NaN(), "bias"); }), Contains("nan"));
  CHECK_THAT(error_of([] { narrow<int32_t>(std::numeric_limits<float>::infinity(), "bias"); }), Contains("inf"));
  CHECK_THAT(error_of([] { narrow<float>((1 << 24) + 1, "sum"); }), Contains("16777217"));
}

// The examples of RFC 4648, section 10.
#include "core/base64.h"

#include "support/catch.h"

using namespace qgrad;

TEST_CASE("base64 pads what is no multiple of three bytes") {
  CHECK(base64("") == "");
  CHECK(base64("f") == "Zg==");
  CHECK(base64("fo") == "Zm8=");
  CHECK(base64("foo") == "Zm9v");
  CHECK(base64("foobar") == "Zm9vYmFy");
  CHECK(base64("\xff\xfe\xfd") == "//79");
}

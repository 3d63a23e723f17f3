// The comparisons that golden tests rest on can fail.
#include "support/golden.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "support/catch.h"

using namespace qgrad;

namespace {

Tensor of(const Shape& shape, std::vector<float> values) { return Tensor::from(shape, values); }

}  // namespace

TEST_CASE("a golden difference names the worst element and counts the others") {
  const Tensor expected = of({2, 2}, {1, 2, 3, 4});
  CHECK(golden::difference(expected.clone(), expected, golden::kExact) == "");
  CHECK(golden::difference(of({2, 2}, {1, 2.5f, 3, 3}), expected) ==
        "2 of 4 differ; worst at [1,1]: got 3, expected 4");
  CHECK(golden::difference(of({4}, {1, 2, 3, 4}), expected) == "got shape [4], expected [2,2]");
  CHECK(golden::difference(Tensor(), expected) == "got no tensor");
  CHECK(golden::difference(Tensor(), Tensor()) == "");
}

TEST_CASE("golden tolerances are relative to the expected value, and exact for special ones") {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(golden::difference(1000.009, 1000) == "");
  CHECK(golden::difference(1000.02, 1000) != "");
  CHECK(golden::difference(5e-7, 0) == "");
  CHECK(golden::difference(inf, inf) == "");
  CHECK(golden::difference(-inf, inf) != "");
  CHECK(golden::difference(1e30, inf) != "");
  CHECK(golden::difference(nan, nan) == "");
  CHECK(golden::difference(nan, 1.0) != "");
  CHECK(golden::difference(1.0, nan) != "");
}

TEST_CASE("golden numbers may be infinite or no number, and anything else is refused") {
  CHECK(golden::number(Json::parse("1.5")) == 1.5f);
  CHECK(golden::number(Json::parse("\"-inf\"")) == -std::numeric_limits<float>::infinity());
  CHECK(golden::number(Json::parse("\"nan\"")) != golden::number(Json::parse("\"nan\"")));
  CHECK_THROWS(golden::number(Json::parse("null")));
}

TEST_CASE("golden images come in NCHW and leave in NCHW") {
  const Json file = Json::parse(R"({"shape": [1, 2, 1, 2], "data": [1, 2, 3, 4]})");
  const Tensor ours = golden::activation(file);
  CHECK(golden::difference(ours, of({1, 1, 2, 2}, {1, 3, 2, 4}), golden::kExact) == "");
  CHECK(golden::difference(golden::file_activation(ours), golden::tensor(file), golden::kExact) == "");
}

// The embedded digits: counts, pixel scale, and what a damaged file is told.
#include "data/digits.h"

#include <array>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "support/catch.h"

using namespace qgrad;

namespace {

std::array<int, 10> class_counts(const ImageSet& set) {
  std::array<int, 10> counts{};
  for (const int32_t label : set.labels) ++counts.at(static_cast<size_t>(label));
  return counts;
}

std::vector<uint8_t> damaged(const std::function<void(std::vector<uint8_t>&)>& damage) {
  const auto file = digits_file();
  std::vector<uint8_t> bytes(file.begin(), file.end());
  damage(bytes);
  return bytes;
}

}  // namespace

TEST_CASE("the embedded digits hold 1400 training and 397 test images of the known class counts") {
  Config config{{{"class", "digits"}}, "", ""};
  const auto digits = open_dataset(config, std::nullopt);
  CHECK(digits->name() == "digits");
  CHECK(digits->image_shape() == Shape{8, 8, 1});
  CHECK(digits->class_names().size() == 10);
  CHECK(digits->train().size() == 1400);
  CHECK(digits->test().size() == 397);
  CHECK(class_counts(digits->test()) == std::array<int, 10>{39, 39, 40, 39, 41, 41, 39, 39, 39, 41});
  CHECK(class_counts(parse_digits(digits_file(), "digits.bin")) ==
        std::array<int, 10>{178, 182, 177, 183, 181, 182, 181, 179, 174, 180});
}

TEST_CASE("pixels of digits are the seventeen values v of UCI as (255 v + 8) / 16") {
  const ImageSet all = parse_digits(digits_file(), "digits.bin");
  std::set<int> expected;
  for (int v = 0; v <= 16; ++v) expected.insert((255 * v + 8) / 16);
  CHECK(std::set<int>(all.pixels.begin(), all.pixels.end()) == expected);
  // The first two rows of the first image, a zero, as UCI publishes them: 0 0 5 13 9 1 0 0, 0 0 13 15 10 15 5 0.
  const std::vector<int> uci = {0, 0, 5, 13, 9, 1, 0, 0, 0, 0, 13, 15, 10, 15, 5, 0};
  for (size_t i = 0; i < uci.size(); ++i) CHECK(int{all.pixels[i]} == (255 * uci[i] + 8) / 16);
  CHECK(all.labels[0] == 0);
}

TEST_CASE("a damaged digits file is refused") {
  const auto parse = [](const std::vector<uint8_t>& bytes) { return parse_digits(bytes, "d.bin"); };
  CHECK_THROWS_WITH(parse(damaged([](auto& b) { b.pop_back(); })),
                    "d.bin: expected records of 65 bytes, got 116804 bytes");
  CHECK_THROWS_WITH(parse(damaged([](auto& b) { b[65] = 10; })), "d.bin: record 1: label 10 is out of range 0..9");
  CHECK_THROWS_WITH(parse(damaged([](auto& b) { b[66] = 17; })), "d.bin: record 1: pixel 17 is out of range 0..16");
}

TEST_CASE("a folder for a data set that reads none is an error") {
  Config config{{{"class", "digits"}}, "train.json", "dataset"};
  CHECK_THROWS_WITH(open_dataset(config, "/somewhere"), "--data /somewhere: the data set 'digits' reads no folder");
}

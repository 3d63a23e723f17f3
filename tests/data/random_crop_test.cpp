// Random windows: within the image, as torchvision allows them, a function of seed, epoch and image.
#include "data/random_crop.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/random.h"
#include "support/catch.h"
#include "support/image_files.h"

using namespace qgrad;

namespace {

bool same(const CropWindow& a, const CropWindow& b) { return a.top == b.top && a.left == b.left && a.size == b.size; }

}  // namespace

TEST_CASE("random windows have an area and a ratio within the config's, and reach every place") {
  const RandomResizedCropConfig config{.scale = {0.1, 0.5}, .ratio = {0.5, 2.0}};
  constexpr ImageSize kImage{100, 160};
  double smallest = 1, largest = 0, flattest = 9, steepest = 0;
  bool top = false, bottom = false, left = false, right = false;
  for (int64_t sample = 0; sample < 2000; ++sample) {
    const CropWindow w = random_window(config, kImage, 1, sample % 7, sample);
    REQUIRE((w.top >= 0 && w.left >= 0 && w.top + w.size.height <= 100 && w.left + w.size.width <= 160));
    const auto area = static_cast<double>(w.size.height * w.size.width) / 16000;
    const auto ratio = static_cast<double>(w.size.width) / static_cast<double>(w.size.height);
    smallest = std::min(smallest, area), largest = std::max(largest, area);
    flattest = std::min(flattest, ratio), steepest = std::max(steepest, ratio);
    top = top || w.top == 0, bottom = bottom || w.top + w.size.height == 100;
    left = left || w.left == 0, right = right || w.left + w.size.width == 160;
  }
  CHECK(smallest == Approx(0.1).margin(0.01));
  CHECK(largest == Approx(0.5).margin(0.01));
  CHECK(flattest == Approx(0.5).margin(0.03));
  CHECK(steepest == Approx(2.0).margin(0.05));
  CHECK((top && bottom && left && right));
}

TEST_CASE("a window is the documented function of the random numbers") {
  const RandomResizedCropConfig config{.scale = {0.2, 0.5}, .ratio = {0.75, 4.0 / 3}};
  const auto [area, ratio, top, left] = RandomStream(5, "resized crop").block(/*sample=*/9, /*10 epochs=*/20);
  const double wanted = 50 * 60 * (0.2 + 0.3 * area / 4294967296.0);
  const double width_by_height = std::exp(std::log(0.75) + (std::log(4.0 / 3) - std::log(0.75)) * ratio / 4294967296.0);
  const CropWindow w = random_window(config, {50, 60}, 5, 2, 9);
  REQUIRE(w.size.height == std::llround(std::sqrt(wanted / width_by_height)));  // the first try fits
  CHECK(w.size.width == std::llround(std::sqrt(wanted * width_by_height)));
  CHECK(w.top == static_cast<int64_t>(uint64_t{top} * static_cast<uint64_t>(51 - w.size.height) >> 32));
  CHECK(w.left == static_cast<int64_t>(uint64_t{left} * static_cast<uint64_t>(61 - w.size.width) >> 32));
}

TEST_CASE("where no window fits, it is the largest in the middle with a ratio within the config's") {
  const RandomResizedCropConfig whole{.scale = {1, 1}, .ratio = {0.75, 1.25}};
  CHECK(same(random_window(whole, {10, 100}, 1, 0, 0), {0, 44, {10, 12}}));
  CHECK(same(random_window(whole, {100, 10}, 1, 0, 0), {43, 0, {13, 10}}));
}

TEST_CASE("a set of random crops has other pixels for every epoch, seed and image, the same again for the same") {
  const Shape shape{8, 9, 3};
  ImageSet set{shape, {}, {0, 1}};
  for (const uint64_t seed : {1, 2}) {
    const std::vector<uint8_t> pixels = test::random_image(shape, seed).pixels;
    set.pixels.insert(set.pixels.end(), pixels.begin(), pixels.end());
  }
  const ImageSet cropped = randomly_cropped(set, {}, 3), other = randomly_cropped(set, {}, 4);
  CHECK(cropped.labels == set.labels);
  CHECK(cropped.read(0, 5).size() == static_cast<size_t>(shape.numel()));
  CHECK(cropped.read(0, 5) == cropped.read(0, 5));
  CHECK(cropped.read(0, 5) != cropped.read(0, 6));
  CHECK(cropped.read(0, 5) != cropped.read(1, 5));
  CHECK(cropped.read(0, 5) != other.read(0, 5));
  const RandomResizedCropConfig whole{.scale = {1, 1}, .ratio = {9.0 / 8, 9.0 / 8}};
  const ImageSet same = randomly_cropped(set, whole, 3);
  CHECK(std::ranges::equal(same.read(1, 0), std::span(set.pixels).subspan(static_cast<size_t>(shape.numel()))));
}

TEST_CASE("ranges of random crops that are none are errors") {
  const auto read = [](const Json& json) { read_config<RandomResizedCropConfig>(Config{json, "c.json", "crop"}); };
  CHECK_NOTHROW(read({{"scale", {0.1, 0.5}}}));
  CHECK_THROWS_WITH(read({{"scale", {0.5, 0.1}}}), "c.json: crop.scale: expected [smallest, largest], got [0.5,0.1]");
  CHECK_THROWS_WITH(read({{"ratio", {1}}}), Contains("crop.ratio: expected [smallest, largest], got [1]"));
  CHECK_THROWS_WITH(read({{"ratio", {0, 1}}}), Contains("crop.ratio[0]: expected more than 0"));
}

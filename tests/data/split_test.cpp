// Splits and subsets of places.
#include "data/split.h"

#include <algorithm>
#include <set>

#include "support/catch.h"

using namespace qgrad;

TEST_CASE("a validation split puts every image in exactly one part, the same for the same seed") {
  const int64_t size = GENERATE(1, 10, 1400, 50000);
  const double fraction = GENERATE(0.0, 0.1, 0.3);
  const TrainAndValidation parts = split(size, fraction, 5);
  CHECK(std::ssize(parts.validation) == std::llround(fraction * static_cast<double>(size)));
  Indices both = parts.train;
  both.insert(both.end(), parts.validation.begin(), parts.validation.end());
  std::sort(both.begin(), both.end());
  CHECK(both == all_indices(size));
  CHECK(std::is_sorted(parts.train.begin(), parts.train.end()));
  CHECK(std::is_sorted(parts.validation.begin(), parts.validation.end()));
  CHECK(split(size, fraction, 5).validation == parts.validation);
}

TEST_CASE("validation images are spread over the set and differ between seeds") {
  const TrainAndValidation parts = split(50000, 0.1, 1);
  for (int64_t tenth = 0; tenth < 10; ++tenth) {  // 500 expected in each, standard deviation 20
    const auto count =
        std::count_if(parts.validation.begin(), parts.validation.end(), [&](int64_t i) { return i / 5000 == tenth; });
    CHECK(count > 400);
    CHECK(count < 600);
  }
  CHECK(split(50000, 0.1, 2).validation != parts.validation);
}

TEST_CASE("a split that leaves no training images, or is no fraction, is an error") {
  CHECK_THROWS_WITH(split(100, 1.0, 0), "validation split: expected a fraction of at least 0 and less than 1, got 1");
  CHECK_THROWS(split(100, -0.1, 0));
  CHECK_THROWS_WITH(split(3, 0.9, 0), "validation split: 0.9 of 3 images leaves none for training");
}

TEST_CASE("subsets are taken from the given places") {
  const Indices places = {2, 3, 5, 7, 11, 13};
  CHECK(first(places, 2) == Indices{2, 3});
  const Indices some = random_subset(places, 4, 9);
  CHECK(some.size() == 4);
  CHECK(std::includes(places.begin(), places.end(), some.begin(), some.end()));
  CHECK(random_subset(places, 4, 9) == some);
  CHECK(random_subset(places, 6, 9) == places);
  CHECK_THROWS_WITH(first(places, 7), "subset: expected 0 to 6 images, got 7");
  CHECK_THROWS(random_subset(places, 7, 0));
}

// Shape arithmetic: counting, negative positions, broadcasting, and shapes that cannot be.
#include "core/shape.h"

#include <limits>

#include "support/catch.h"
#include "support/errors.h"

using namespace qgrad;
using test::error_of;

TEST_CASE("a shape counts its elements and prints itself") {
  const Shape shape{8, 32, 32, 3};
  CHECK(shape.rank() == 4);
  CHECK(shape.numel() == 8 * 32 * 32 * 3);
  CHECK(shape.numel_from(2) == 96);
  CHECK(shape.numel_from(4) == 1);
  CHECK(shape.numel_until(2) == 256);
  CHECK(to_string(shape) == "[8,32,32,3]");
  CHECK(fmt::format("{}", Shape{}) == "[]");
  CHECK(Shape{}.numel() == 1);
  CHECK((Shape{2, 0, 5}.numel() == 0));
}

TEST_CASE("negative positions count from the end and others are refused") {
  Shape shape{2, 3, 4};
  CHECK(shape[-1] == 4);
  CHECK(shape[-3] == 2);
  shape.set(-2, 7);
  CHECK((shape == Shape{2, 7, 4}));
  CHECK(error_of([&] { shape[3]; }) == "dimension 3 is out of range for shape [2,7,4]");
  CHECK(error_of([&] { shape[-4]; }) == "dimension -4 is out of range for shape [2,7,4]");
  CHECK(error_of([] { Shape{}[0]; }) == "dimension 0 is out of range for shape []");
}

TEST_CASE("impossible shapes are refused") {
  CHECK(error_of([] { Shape{2, -1}; }) == "shape: dimension 1 is negative (-1)");
  CHECK(error_of([] { Shape{1, 1, 1, 1, 1, 1, 1}; }) == "shape: at most 6 dimensions are supported, got 7");
  const int64_t huge = int64_t{1} << 40;
  CHECK(error_of([&] { Shape{huge, huge}; }) == "shape: [1099511627776,1099511627776] has too many elements");
  CHECK(error_of([&] { Shape{huge, huge, 0}; }) == "shape: [1099511627776,1099511627776,0] has too many elements");
  Shape shape{huge, 1};
  CHECK(error_of([&] { shape.set(1, huge); }) == "shape: [1099511627776,1099511627776] has too many elements");
}

TEST_CASE("shapes broadcast by NumPy's rule") {
  CHECK((broadcast(Shape{2, 3}, Shape{3}) == Shape{2, 3}));
  CHECK((broadcast(Shape{2, 1, 4}, Shape{3, 1}) == Shape{2, 3, 4}));
  CHECK((broadcast(Shape{}, Shape{5}) == Shape{5}));
  CHECK((broadcast(Shape{0, 3}, Shape{1, 3}) == Shape{0, 3}));
  CHECK(error_of([] { broadcast(Shape{2, 3}, Shape{2}); }) == "shapes [2,3] and [2] do not broadcast");
  CHECK(error_of([] { broadcast(Shape{0}, Shape{2}); }) == "shapes [0] and [2] do not broadcast");
}

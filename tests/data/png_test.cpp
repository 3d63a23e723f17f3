// PNG files of images, read back.
#include "data/png.h"

#include "core/file.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/image_files.h"
#include "support/temporary_folder.h"

using namespace qgrad;

TEST_CASE("a PNG gives the image's pixels back, of one to four channels") {
  const test::TemporaryFolder folder;
  for (const int64_t channels : {1, 2, 3, 4}) {
    const Image image = test::random_image(Shape{5, 7, channels}, 1);
    write_file_atomically(folder.path() / "image.png", png_of(image));
    const Image again = read_image(folder.path() / "image.png", {.channels = channels});
    CHECK(again.shape == image.shape);
    CHECK(again.pixels == image.pixels);
  }
  CHECK_THAT(test::error_of([] { png_of({Shape{1, 1, 5}, {1, 2, 3, 4, 5}}); }), Contains("expected 1 to 4 channels"));
}

TEST_CASE("an image is shrunk to means of squares, and a small one stays") {
  const Image image{Shape{2, 4, 1}, {10, 20, 1, 2, 30, 40, 3, 4}};
  const Image small = shrunk(image, 2);
  CHECK(small.shape == Shape{1, 2, 1});
  CHECK(small.pixels == std::vector<uint8_t>{25, 3});
  CHECK(shrunk(image, 4).pixels == image.pixels);
}

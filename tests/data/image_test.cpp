// Resizing against Pillow's numbers, and image files written by stb_image_write.
#include "data/image.h"

#include <fstream>

#include "core/random.h"
#include "support/catch.h"
#include "support/image_files.h"
#include "support/temporary_folder.h"

using namespace qgrad;
using test::random_image;
using test::write_jpeg;
using test::write_png;

namespace {

// Image.fromarray(..).resize((width, height), Image.BILINEAR) of Pillow 9.4.
const Image kInput{
    Shape{5, 7, 3},
    {106, 152, 249, 131, 184, 200, 0,   21,  253, 147, 202, 107, 249, 169, 138, 149, 119, 166, 224, 148, 172,
     93,  167, 142, 248, 26,  81,  218, 150, 66,  2,   191, 60,  129, 179, 90,  69,  104, 110, 97,  157, 106,
     152, 251, 62,  7,   248, 171, 33,  123, 79,  176, 37,  20,  94,  49,  149, 127, 206, 244, 28,  119, 54,
     0,   192, 233, 18,  116, 191, 165, 184, 184, 199, 165, 253, 174, 33,  113, 1,   85,  117, 119, 202, 235,
     124, 228, 99,  219, 144, 255, 80,  160, 144, 242, 18,  75,  183, 96,  223, 141, 165, 158, 48,  189, 33}};

}  // namespace

TEST_CASE("resize gives the bits of Pillow's bilinear resize") {
  CHECK(resize(kInput, 3, 4).pixels ==
        std::vector<uint8_t>{135, 136, 178, 109, 118, 144, 149, 168, 114, 148, 136, 142, 87,  194, 133, 106, 136, 105,
                             119, 98,  126, 76,  147, 141, 100, 176, 187, 150, 138, 172, 172, 85,  162, 84,  161, 132});
  CHECK(resize(kInput, 2, 7).pixels == std::vector<uint8_t>{106, 182, 162, 146, 131, 144, 104, 104, 134, 97,  158,
                                                            75,  161, 140, 120, 105, 131, 159, 123, 148, 121, 78,
                                                            216, 147, 90,  151, 202, 110, 161, 142, 199, 90,  135,
                                                            157, 63,  155, 77,  139, 159, 75,  177, 124});
  CHECK(resize(kInput, 8, 3).pixels ==
        std::vector<uint8_t>{94,  138, 229, 136, 146, 158, 197, 140, 162, 134, 123, 173, 121, 154, 121, 151, 140, 137,
                             178, 110, 101, 102, 159, 74,  92,  139, 107, 102, 185, 108, 107, 108, 82,  87,  140, 140,
                             57,  202, 141, 127, 97,  119, 83,  133, 157, 44,  162, 199, 160, 128, 185, 80,  118, 158,
                             106, 169, 189, 174, 106, 164, 101, 140, 141, 155, 177, 176, 183, 86,  142, 117, 159, 127});
}

TEST_CASE("resize keeps an image of the wanted size, and constant images constant") {
  CHECK(resize(kInput, 5, 7).pixels == kInput.pixels);
  const Image grey{Shape{9, 4, 1}, std::vector<uint8_t>(36, 201)};
  for (const auto& [h, w] : {std::pair{1, 1}, {3, 17}, {100, 2}}) {
    const Image resized = resize(grey, h, w);
    CHECK(resized.shape == Shape{h, w, 1});
    CHECK(resized.pixels == std::vector<uint8_t>(static_cast<size_t>(h * w), 201));
  }
  CHECK_THROWS_WITH(resize(grey, 0, 4), Contains("0x4"));
}

TEST_CASE("a PNG is read back as it was written, grey as RGB where three channels are wanted") {
  const test::TemporaryFolder folder;
  const Image colour = random_image(Shape{6, 9, 3}, 1), grey = random_image(Shape{4, 5, 1}, 2);
  write_png(folder.path() / "colour.png", colour);
  write_png(folder.path() / "grey.png", grey);
  CHECK(read_image(folder.path() / "colour.png", 3).pixels == colour.pixels);
  CHECK(read_image(folder.path() / "colour.png", 3).shape == colour.shape);
  CHECK(read_image(folder.path() / "grey.png", 1).pixels == grey.pixels);
  const Image spread = read_image(folder.path() / "grey.png", 3);
  CHECK(spread.shape == Shape{4, 5, 3});
  for (size_t i = 0; i < spread.pixels.size(); ++i) CHECK(spread.pixels[i] == grey.pixels[i / 3]);
}

TEST_CASE("a JPEG is read as what was written, within its losses") {
  const test::TemporaryFolder folder;
  Image ramp{Shape{16, 24, 3}, {}};
  for (int y = 0; y < 16; ++y)
    for (int x = 0; x < 24; ++x) ramp.pixels.insert(ramp.pixels.end(), {uint8_t(8 * y), uint8_t(8 * x), 100});
  write_jpeg(folder.path() / "ramp.jpg", ramp);
  const Image read = read_image(folder.path() / "ramp.jpg", 3);
  REQUIRE(read.shape == ramp.shape);
  int largest = 0;
  for (size_t i = 0; i < read.pixels.size(); ++i)
    largest = std::max(largest, std::abs(read.pixels[i] - ramp.pixels[i]));
  CHECK(largest <= 12);
}

TEST_CASE("what is no image is refused with the file's name") {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "broken.png";
  CHECK_THROWS_WITH(read_image(file, 3), file.string() + ": cannot open: No such file or directory");
  CHECK_THROWS_WITH(read_image(folder.path(), 3),
                    folder.path().string() + ": is a folder, expected a PNG or JPEG image");
  std::ofstream(file) << "text";
  CHECK_THROWS_WITH(read_image(file, 3), Contains(file.string() + ": not a PNG or JPEG image"));
  std::ofstream(file).close();
  CHECK_THROWS_WITH(read_image(file, 3), Contains(file.string() + ": not a PNG or JPEG image"));
  write_png(file, random_image(Shape{20, 20, 3}, 3));
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  CHECK_THROWS_WITH(read_image(file, 3), Contains(file.string() + ": damaged image"));
}

TEST_CASE("a PNG header that claims too many pixels is refused before memory is asked for") {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "huge.png";
  const unsigned char header[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n', 0, 0, 0, 13, 'I', 'H', 'D', 'R', 0,
                                  0,    64,  0,   0,   0,    64,   0,    8,    2, 0, 0, 0,  0,   0,   0,   0};
  std::ofstream(file, std::ios::binary).write(reinterpret_cast<const char*>(header), sizeof header);
  CHECK_THROWS_WITH(read_image(file, 3), file.string() + ": 16384x16384 pixels are more than 67108864");
}

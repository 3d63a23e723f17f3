// Image files written by stb_image_write, and their channels against Pillow's.
#include "data/image.h"

#include <fstream>

#include "data/geometry.h"
#include "data/image_check.h"
#include "support/catch.h"
#include "support/image_files.h"
#include "support/temporary_folder.h"

using namespace qgrad;
using test::hash_of;
using test::pattern_image;
using test::random_image;
using test::write_jpeg;
using test::write_png;

TEST_CASE("a PNG is read back as it was written, grey as RGB where three channels are wanted") {
  const test::TemporaryFolder folder;
  const Image colour = random_image(Shape{6, 9, 3}, 1), grey = random_image(Shape{4, 5, 1}, 2);
  write_png(folder.path() / "colour.png", colour);
  write_png(folder.path() / "grey.png", grey);
  CHECK(read_image(folder.path() / "colour.png", {3}).pixels == colour.pixels);
  CHECK(read_image(folder.path() / "colour.png", {3}).shape == colour.shape);
  CHECK(read_image(folder.path() / "grey.png", {1}).pixels == grey.pixels);
  const Image spread = read_image(folder.path() / "grey.png", {3});
  CHECK(spread.shape == Shape{4, 5, 3});
  for (size_t i = 0; i < spread.pixels.size(); ++i) CHECK(spread.pixels[i] == grey.pixels[i / 3]);
}

TEST_CASE("channels are converted to the bits of Pillow") {
  struct Case {
    int64_t from, to;
    uint8_t background;
    uint64_t hash;
  };
  // convert(), and where alpha goes, paste() on an image of the background with alpha as the mask; Pillow 13.0.
  constexpr Case kCases[] = {
      {1, 1, 255, 0xd65b44bc84c870ab}, {1, 2, 255, 0x49c9702599facb52}, {1, 3, 255, 0x5ede15cd4ba6515f},
      {1, 4, 255, 0xe9082f54933494fe}, {2, 1, 255, 0xc6b231e9869f83df}, {2, 1, 0, 0x7c564b4199f287ec},
      {2, 2, 255, 0x7bed4c16573765cd}, {2, 3, 255, 0xdef6a4e3da95d34f}, {2, 3, 0, 0x70a082e80c74c96a},
      {2, 4, 255, 0x03af5e39cebd3bc5}, {3, 1, 255, 0x8d1a170cd81628dc}, {3, 2, 255, 0xd89f5dea103da9d1},
      {3, 3, 255, 0x45ad8105cc48f620}, {3, 4, 255, 0x19d76ae90605e937}, {4, 1, 255, 0x0960f0f7a1602b5f},
      {4, 1, 0, 0x15d857efe0955c40},   {4, 2, 255, 0xeffc70d2c468a157}, {4, 3, 255, 0x916baa0824bd450b},
      {4, 3, 0, 0x40eea3cb5e453a16},   {4, 4, 255, 0xb08d95bee164d0d7},
  };
  for (const Case& c : kCases) {
    INFO(c.from << " to " << c.to << " on " << int{c.background});
    const Image result = converted(pattern_image({9, 11, c.from}), {.channels = c.to, .background = c.background});
    CHECK(result.shape == Shape{9, 11, c.to});
    CHECK(hash_of(result.pixels) == c.hash);
  }
}

TEST_CASE("a PNG keeps its alpha where that is wanted, and shows the background through it where it is not") {
  const test::TemporaryFolder folder;
  const Image glass = pattern_image({5, 6, 4}), grey_glass = pattern_image({5, 6, 2});
  write_png(folder.path() / "rgba.png", glass);
  write_png(folder.path() / "la.png", grey_glass);
  CHECK(read_image(folder.path() / "rgba.png", {4}).pixels == glass.pixels);
  CHECK(read_image(folder.path() / "la.png", {2}).pixels == grey_glass.pixels);
  CHECK(read_image(folder.path() / "rgba.png", {3}).pixels == converted(glass, {3, 255}).pixels);
  CHECK(read_image(folder.path() / "rgba.png", {3, 0}).pixels == converted(glass, {3, 0}).pixels);
  CHECK_THROWS_WITH(read_image(folder.path() / "la.png", {5}), Contains("la.png: image: expected 1 to 4 channels"));
}

TEST_CASE("a file whose EXIF says that it lies on its side is read upright") {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "photo";
  const auto read_with = [&](const std::string& bytes) {
    std::ofstream(file, std::ios::binary) << bytes;
    return read_image(file, {3});
  };
  const Image image = pattern_image({4, 7, 3});
  const std::string png = test::bytes_of(write_png, image), jpeg = test::bytes_of(write_jpeg, image);
  const Image lying = read_with(jpeg);
  for (int orientation = 1; orientation <= 8; ++orientation)
    for (const char* order : {"II", "MM"}) {
      const std::string exif = test::exif(orientation, order);
      CHECK(read_with(test::with_exif(png, exif)).pixels == upright(image, orientation).pixels);
      CHECK(read_with(test::with_exif(jpeg, exif)).pixels == upright(lying, orientation).pixels);
      CHECK(read_with(test::with_exif(jpeg, exif)).shape == upright(lying, orientation).shape);
    }
}

TEST_CASE("EXIF that makes no sense does not keep a picture from being read as it lies") {
  const std::string jpeg = test::bytes_of(write_jpeg, pattern_image({4, 7, 3}));
  const auto orientation_of = [&](const std::string& exif) {
    return check_image(test::with_exif(jpeg, exif)).orientation;
  };
  const std::string sound = test::exif(6, "MM");
  CHECK(orientation_of(sound) == 6);
  for (size_t length = 0; length < 22; ++length) CHECK(orientation_of(sound.substr(0, length)) == 1);
  CHECK(orientation_of(test::exif(0, "MM")) == 1);
  CHECK(orientation_of(test::exif(9, "II")) == 1);
  std::string elsewhere = sound;
  elsewhere[4] = '\xff';  // the place of the directory
  CHECK(orientation_of(elsewhere) == 1);
}

TEST_CASE("a JPEG is read as what was written, within its losses") {
  const test::TemporaryFolder folder;
  Image ramp{Shape{16, 24, 3}, {}};
  for (int y = 0; y < 16; ++y)
    for (int x = 0; x < 24; ++x) ramp.pixels.insert(ramp.pixels.end(), {uint8_t(8 * y), uint8_t(8 * x), 100});
  write_jpeg(folder.path() / "ramp.jpg", ramp);
  const Image read = read_image(folder.path() / "ramp.jpg", {3});
  REQUIRE(read.shape == ramp.shape);
  int largest = 0;
  for (size_t i = 0; i < read.pixels.size(); ++i)
    largest = std::max(largest, std::abs(read.pixels[i] - ramp.pixels[i]));
  CHECK(largest <= 12);
}

TEST_CASE("what is no image is refused with the file's name") {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "broken.png";
  CHECK_THROWS_WITH(read_image(file, {3}), file.string() + ": cannot open: No such file or directory");
  CHECK_THROWS_WITH(read_image(folder.path(), {3}),
                    folder.path().string() + ": is a folder, expected a PNG or JPEG image");
  std::ofstream(file) << "text";
  CHECK_THROWS_WITH(read_image(file, {3}), Contains(file.string() + ": not a PNG or JPEG image"));
  std::ofstream(file).close();
  CHECK_THROWS_WITH(read_image(file, {3}), Contains(file.string() + ": not a PNG or JPEG image"));
  write_png(file, random_image(Shape{20, 20, 3}, 3));
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  CHECK_THROWS_WITH(read_image(file, {3}), Contains(file.string() + ": damaged image"));
}

TEST_CASE("a PNG header that claims too many pixels is refused before memory is asked for") {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "huge.png";
  const unsigned char header[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n', 0, 0, 0, 13, 'I', 'H', 'D', 'R', 0,
                                  0,    64,  0,   0,   0,    64,   0,    8,    2, 0, 0, 0,  0,   0,   0,   0};
  std::ofstream(file, std::ios::binary).write(reinterpret_cast<const char*>(header), sizeof header);
  CHECK_THROWS_WITH(read_image(file, {3}), file.string() + ": 16384x16384 pixels are more than 67108864");
}

// Folders of images as a data set.
#include "data/image_folder.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "data/geometry.h"
#include "support/catch.h"
#include "support/image_files.h"
#include "support/temporary_folder.h"

using namespace qgrad;
using test::random_image;
namespace fs = std::filesystem;

namespace {

std::unique_ptr<Dataset> open(const fs::path& folder, Json more = Json::object()) {
  Config config{{{"class", "image_folder"}, {"size", {4, 6}}}, "flowers.json", "dataset"};
  config.json().update(more);
  return open_dataset(config, folder.string());
}

void write(const fs::path& file, uint64_t seed) {
  fs::create_directories(file.parent_path());
  test::write_png(file, random_image(Shape{4, 6, 3}, seed));
}

}  // namespace

TEST_CASE("an image folder is read in order of names, resized, with classes from train/") {
  const test::TemporaryFolder folder;
  const fs::path train = folder.path() / "train", test = folder.path() / "test";
  write(train / "rose" / "b.png", 1);
  write(train / "rose" / "a.PNG", 2);
  write(train / "daisy" / "c.png", 3);
  write(train / "daisy" / ".hidden.png", 4);
  std::ofstream(train / "daisy" / "notes.txt") << "not an image";
  fs::create_directories(test / "rose");
  const Image large = random_image(Shape{31, 17, 3}, 5);
  test::write_png(test / "rose" / "large.png", large);

  const auto flowers = open(folder.path());
  CHECK(flowers->class_names() == std::vector<std::string>{"daisy", "rose"});
  CHECK(flowers->image_shape() == Shape{4, 6, 3});
  CHECK(flowers->train().labels == std::vector<int32_t>{0, 1, 1});
  std::vector<uint8_t> expected;
  for (const uint64_t seed : {3, 2, 1}) {
    const Image image = random_image(Shape{4, 6, 3}, seed);
    expected.insert(expected.end(), image.pixels.begin(), image.pixels.end());
  }
  CHECK(flowers->train().pixels == expected);
  CHECK(flowers->test().labels == std::vector<int32_t>{1});
  CHECK(flowers->test().pixels == resize(large, 4, 6).pixels);

  CHECK(open(folder.path(), {{"channels", 1}})->train().pixels.size() == 3 * 4 * 6);
}

TEST_CASE("files of an image folder that are left out are counted and named, and so is a class without images") {
  const test::TemporaryFolder folder;
  const fs::path train = folder.path() / "train", test = folder.path() / "test";
  for (const char* name : {"daisy", "rose"}) write(train / name / "a.png", 1);
  write(test / "rose" / "a.png", 1);
  CHECK(open(folder.path())->train().remarks.empty());
  write(train / "daisy" / "deep" / "b.png", 2);
  write(train / "daisy" / "deep" / "er" / "c.png", 2);
  for (const char* file : {"daisy/d.bmp", "rose/e.webp", "f.png"}) std::ofstream(train / file) << "a picture";
  fs::create_directory_symlink(train, train / "rose" / "loop");
  const auto flowers = open(folder.path());
  CHECK(flowers->train().size() == 2);
  REQUIRE(flowers->train().remarks.size() == 1);
  CHECK_THAT(flowers->train().remarks[0], Contains(train.string() + ": 6 files are left out") &&
                                              Contains("f.png, daisy/d.bmp, daisy/deep/b.png and 3 more"));
  CHECK(flowers->test().remarks ==
        std::vector<std::string>{"image_folder: " + test.string() + ": no folder for class 'daisy'"});
}

TEST_CASE("labels follow the order that the classes are given") {
  const test::TemporaryFolder folder;
  for (const char* part : {"train", "test"})
    for (const char* name : {"a", "b", "c"}) write(folder.path() / part / name / "x.png", 1);
  const auto letters = open(folder.path());
  CHECK(letters->train().labels == std::vector<int32_t>{0, 1, 2});
  letters->order_classes({"c", "a", "b"});
  CHECK(letters->class_names() == std::vector<std::string>{"c", "a", "b"});
  CHECK(letters->train().labels == std::vector<int32_t>{1, 2, 0});
  CHECK(letters->test().labels == std::vector<int32_t>{1, 2, 0});
  CHECK_THROWS_WITH(letters->order_classes({"a", "b"}), Contains("the classes are a, b, c, which a, b is no order of"));
}

TEST_CASE("what is wrong in an image folder is named") {
  const test::TemporaryFolder folder;
  const fs::path train = folder.path() / "train", test = folder.path() / "test";
  CHECK_THROWS_WITH(open(folder.path()), Contains(train.string()) && Contains("No such file"));
  fs::create_directories(train);
  CHECK_THROWS_WITH(open(folder.path()), Contains(train.string() + ": expected one folder per class"));
  fs::create_directories(train / "rose");
  CHECK_THROWS_WITH(open(folder.path())->train(), Contains((train / "rose").string() + ": no .png"));
  std::ofstream(train / "rose" / "x.png") << "nothing";
  CHECK_THROWS_WITH(open(folder.path())->train(), Contains((train / "rose" / "x.png").string() + ": not a PNG"));
  CHECK_THROWS_WITH(open(folder.path())->test(), Contains(test.string()) && Contains("No such file"));
  write(test / "roses" / "a.png", 1);
  CHECK_THROWS_WITH(open(folder.path())->test(), Contains("'roses' is not a class (did you mean 'rose'?)"));
}

TEST_CASE("the settings of an image folder are checked") {
  const test::TemporaryFolder folder;
  CHECK_THROWS_WITH(open(folder.path(), {{"size", {4}}}), Contains("size: expected [height, width], got 1 numbers"));
  CHECK_THROWS_WITH(open(folder.path(), {{"channels", 2}}), Contains("channels: expected 1 or 3"));
  CHECK_THROWS_WITH(open(folder.path(), {{"size", {4, 0}}}), Contains("flowers.json: dataset.size[1]"));
  Config config{{{"class", "image_folder"}, {"size", {4, 6}}}, "", ""};
  CHECK_THROWS_WITH(open_dataset(config, std::nullopt), Contains("no folder; give \"dir\""));
}

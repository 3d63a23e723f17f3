// Folders of images as a data set.
#include "data/dataset.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "core/json.h"
#include "data/geometry.h"
#include "data/loader.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/image_files.h"
#include "support/temporary_folder.h"

using namespace qgrad;
using test::random_image;
namespace fs = std::filesystem;

namespace {

std::unique_ptr<Dataset> open(const fs::path& folder, Json more = Json::object()) {
  Config config{{{"class", "image_folder"}, {"size", {4, 6}}}, "flowers.json", "dataset"};
  if (!more.is_null()) config.json().update(more);
  return open_dataset(config, folder.string());
}

void write(const fs::path& file, uint64_t seed) {
  fs::create_directories(file.parent_path());
  test::write_png(file, random_image(Shape{4, 6, 3}, seed));
}

// One image of one class in each part.
void write_both(const fs::path& folder) {
  write(folder / "train" / "rose" / "a.png", 1);
  write(folder / "test" / "rose" / "a.png", 2);
}

Json without_size(Json settings) {
  if (!settings.contains("size")) settings["size"] = nullptr;
  return settings;
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
  const auto error = [&](const Json& more = Json::object()) {
    return test::error_of([&] { open(folder.path(), more); });
  };
  CHECK_THAT(error(), Contains(folder.path().string() + ": no train/: expected train/<class>/ and test/<class>/"));
  fs::create_directories(train);
  CHECK_THAT(error(), Contains(folder.path().string() + ": no test/"));
  fs::create_directories(test);
  CHECK_THAT(error(), Contains(train.string() + ": expected one folder per class"));
  CHECK_THAT(error({{"test", 0.2}}), Contains("test: " + test.string() + " is there"));
  fs::create_directories(train / "rose");
  CHECK_THAT(error(), Contains((train / "rose").string() + ": no .png"));
  write(train / "rose" / "x.png", 1);
  CHECK_THAT(error(), Contains(test.string() + ": no images"));
  write(test / "roses" / "a.png", 1);
  CHECK_THAT(error(), Contains("'roses' is not a class (did you mean 'rose'?)"));
  CHECK_THAT(error({{"labels", "none"}, {"dir", (train / "nowhere").string()}}),
             !Contains("nowhere"));  // --data counts
}

TEST_CASE("the settings of an image folder are checked") {
  const test::TemporaryFolder folder;
  write_both(folder.path());
  CHECK_THROWS_WITH(open(folder.path(), {{"size", {4}}}),
                    Contains("dataset.size: expected a number, or [height, width], got a list of 1"));
  CHECK_THROWS_WITH(open(folder.path(), {{"channels", 5}}), Contains("channels: expected 1 to 4, got 5"));
  CHECK_THROWS_WITH(open(folder.path(), {{"size", {4, 0}}}), Contains("flowers.json: dataset.size[1]"));
  CHECK_THROWS_WITH(open(folder.path(), {{"resize", 8}}), Contains("size: says all by itself"));
  Config config{{{"class", "image_folder"}, {"size", {4, 6}}}, "", ""};
  CHECK_THROWS_WITH(open_dataset(config, std::nullopt), Contains("no folder; give \"dir\""));
}

TEST_CASE("images get the size of the config, or keep the one that all of them have") {
  const test::TemporaryFolder folder;
  write_both(folder.path());  // 4x6
  const auto shape = [&](const Json& settings) { return open(folder.path(), without_size(settings))->image_shape(); };
  CHECK(shape({}) == Shape{4, 6, 3});
  CHECK(shape({{"size", 5}}) == Shape{5, 5, 3});
  CHECK(shape({{"size", {7, 2}}, {"channels", 4}}) == Shape{7, 2, 4});
  CHECK(shape({{"resize", 8}}) == Shape{8, 12, 3});
  CHECK(shape({{"resize", {9, 3}}}) == Shape{9, 3, 3});
  CHECK(shape({{"resize", 8}, {"center_crop", 7}}) == Shape{7, 7, 3});
  CHECK(shape({{"center_crop", {2, 3}}, {"channels", 2}}) == Shape{2, 3, 2});
}

TEST_CASE("images of several sizes need one, and the error says how to give it") {
  const test::TemporaryFolder folder;
  write_both(folder.path());
  test::write_png(folder.path() / "test" / "rose" / "wide.png", random_image(Shape{4, 9, 3}, 1));
  const auto error = [&](const Json& settings) {
    return test::error_of([&] { open(folder.path(), without_size(settings)); });
  };
  CHECK_THAT(error({}), Contains("images are of 4x6 and 4x9 (height, width;") && Contains("wide.png") &&
                            Contains("give \"size\": [height, width]"));
  CHECK_THAT(error({{"resize", 8}}), Contains("8x12 and 8x18") && Contains("give \"center_crop\""));
}

TEST_CASE("images are resized by their shorter side, cropped in the middle, and turned upright before that") {
  const test::TemporaryFolder folder;
  write_both(folder.path());
  const Image image = test::pattern_image(Shape{20, 31, 3});
  const std::string lying = test::with_exif(test::bytes_of(test::write_png, image), test::exif(6, "MM"));
  write_file_atomically(folder.path() / "test" / "rose" / "a.png", lying);
  const auto flowers = open(folder.path(), without_size({{"resize", 9}, {"center_crop", {8, 11}}}));
  const Image expected = center_crop(resize(upright(image, 6), 13, 9), {8, 11});
  CHECK(flowers->test().pixels == expected.pixels);
}

TEST_CASE("transparent images keep their alpha, or show the background") {
  const test::TemporaryFolder folder;
  write_both(folder.path());
  const Image glass = test::pattern_image(Shape{4, 6, 4});
  test::write_png(folder.path() / "test" / "rose" / "a.png", glass);
  const auto pixels = [&](const Json& settings) { return open(folder.path(), settings)->test().pixels; };
  CHECK(pixels({}) == converted(glass, {3, 255}).pixels);
  CHECK(pixels({{"background", 0}, {"channels", 1}}) == converted(glass, {1, 0}).pixels);
  CHECK(pixels({{"channels", 4}}) == glass.pixels);
}

TEST_CASE("a share of every class is split off for testing, the same for the same seed") {
  const test::TemporaryFolder folder;
  const bool in_train = GENERATE(false, true);
  const fs::path all = in_train ? folder.path() / "train" : folder.path();
  for (const auto& [name, count] : {std::pair{"daisy", 20}, {"rose", 10}, {"tulip", 1}})
    for (int i = 0; i < count; ++i) write(all / name / fmt::format("{:02}.png", i), static_cast<uint64_t>(i));
  const auto flowers = open(folder.path(), {{"test", 0.2}});
  CHECK(flowers->class_names() == std::vector<std::string>{"daisy", "rose", "tulip"});
  const auto count = [](const ImageSet& set, int32_t label) { return std::ranges::count(set.labels, label); };
  CHECK(count(flowers->test(), 0) == 4);
  CHECK(count(flowers->test(), 1) == 2);
  CHECK(count(flowers->test(), 2) == 0);
  CHECK(count(flowers->train(), 0) == 16);
  CHECK(count(flowers->train(), 1) == 8);
  CHECK(count(flowers->train(), 2) == 1);
  CHECK(flowers->test().remarks ==
        std::vector<std::string>{"image_folder: test: a share of 0.2 of 1 images of class 'tulip' is none"});
  CHECK(std::vector(flowers->train().labels.begin(), flowers->train().labels.begin() + 4) ==
        std::vector<int32_t>{0, 1, 2, 0});  // the first images are of all classes
  std::vector<uint8_t> pixels = flowers->train().pixels;
  pixels.insert(pixels.end(), flowers->test().pixels.begin(), flowers->test().pixels.end());
  CHECK(pixels.size() == 31 * 72);

  CHECK(open(folder.path(), {{"test", 0.2}})->test().pixels == flowers->test().pixels);
  CHECK(open(folder.path(), {{"test", 0.2}, {"split_seed", 2}})->test().pixels != flowers->test().pixels);
  CHECK_THROWS_WITH(open(folder.path(), {{"test", 0.01}}), Contains("test: a share of 0.01 of 31 images is none"));
}

TEST_CASE("a folder without classes is all images in it and below, the test images too unless a share is split off") {
  const test::TemporaryFolder folder;
  for (const char* file : {"b.png", "deep/er/c.png", "a.jpg.png", ".hidden.png"}) write(folder.path() / file, file[0]);
  std::ofstream(folder.path() / "notes.txt") << "not an image";
  const auto pictures = open(folder.path(), {{"labels", "none"}});
  CHECK(pictures->class_names().empty());
  CHECK(pictures->train().labels == std::vector<int32_t>(3, ImageSet::kNoLabel));
  std::vector<uint8_t> expected;
  for (const uint64_t seed : {'a', 'b', 'd'}) {
    const Image image = random_image(Shape{4, 6, 3}, seed);
    expected.insert(expected.end(), image.pixels.begin(), image.pixels.end());
  }
  CHECK(pictures->train().pixels == expected);
  CHECK(pictures->test().pixels == expected);
  CHECK(pictures->train().remarks.size() == 1);
  CHECK_THAT(pictures->train().remarks[0], Contains("1 file is left out") && Contains("notes.txt"));
  const auto split = open(folder.path(), {{"labels", "none"}, {"test", 0.3}});
  CHECK(split->train().size() == 2);
  CHECK(split->test().size() == 1);
}

TEST_CASE("files that can not be read are one error that names them all, or are left out by a key") {
  const test::TemporaryFolder folder;
  write_both(folder.path());
  for (int i = 0; i < 25; ++i)
    std::ofstream(folder.path() / (i % 2 ? "train" : "test") / "rose" / fmt::format("x{:02}.png", i)) << "nothing";
  const fs::path cut = folder.path() / "train" / "rose" / "cut.png";
  write(cut, 1);
  fs::resize_file(cut, fs::file_size(cut) - 20);
  const Json settings = GENERATE(Json{{"size", {4, 6}}}, Json{{"size", nullptr}});
  const std::string error = test::error_of([&] { open(folder.path(), settings); });
  CHECK_THAT(error, Contains("26 of 28 files can not be read") && Contains("and 6 more") &&
                        Contains("train/rose/cut.png: damaged image (it ends too early)") &&
                        Contains("train/rose/x01.png: not a PNG or JPEG image") &&
                        Contains("with \"skip_unreadable\": true the others are used"));
  CHECK(error.find("image_folder") == error.rfind("image_folder"));

  Json skipping = settings;
  skipping["skip_unreadable"] = true;
  const auto flowers = open(folder.path(), skipping);
  CHECK(flowers->train().size() == 1);
  CHECK(flowers->test().size() == 1);
  REQUIRE(!flowers->train().remarks.empty());
  CHECK_THAT(flowers->train().remarks[0], Contains("26 of 28 files can not be read"));
}

TEST_CASE("files whose damage shows when they are decoded are named together too, or left out") {
  const test::TemporaryFolder folder;
  write_both(folder.path());
  std::string bytes = test::bytes_of(test::write_png, random_image(Shape{4, 6, 3}, 1));
  for (size_t i = 45; i < bytes.size() - 16; ++i) bytes[i] = '\x55';  // all chunks are there, but the content is none
  for (const char* name : {"y.png", "z.png"}) write_file_atomically(folder.path() / "train" / "rose" / name, bytes);
  CHECK_THROWS_WITH(open(folder.path())->train(), Contains("2 of 3 files can not be read: train/rose/y.png: damaged") &&
                                                      Contains("train/rose/z.png: damaged"));
  const auto flowers = open(folder.path(), {{"skip_unreadable", true}});
  CHECK(flowers->train().size() == 1);
  CHECK(flowers->train().pixels == random_image(Shape{4, 6, 3}, 1).pixels);
  CHECK(flowers->train().original(0).pixels == random_image(Shape{4, 6, 3}, 1).pixels);
}

TEST_CASE("images that are not kept in memory give the same batches, for any number of threads") {
  const test::TemporaryFolder folder;
  for (int i = 0; i < 23; ++i)
    test::write_png(folder.path() / (i % 3 ? "rose" : "daisy") / fmt::format("{:02}.png", i),
                    (fs::create_directories(folder.path() / (i % 3 ? "rose" : "daisy")),
                     random_image(Shape{5 + i % 4, 7 + i % 5, 3}, static_cast<uint64_t>(i))));
  const auto kept = open(folder.path(), {{"test", 0.2}}),
             streamed = open(folder.path(), {{"test", 0.2}, {"memory", 0}});
  CHECK(streamed->train().pixels.empty());
  CHECK_THAT(streamed->train().remarks.at(0), Contains("they are decoded for every batch"));
  const auto batches = [](const ImageSet& set, int threads) {
    Loader loader(set, all_indices(set.size()), Transform({.crop_padding = 1, .flip = true}, set.image, 3),
                  {.batch_size = 4, .shuffle = true, .threads = threads, .seed = 5});
    std::vector<float> all;
    for (int64_t epoch = 0; epoch < 2; ++epoch) {
      loader.start_epoch(epoch);
      while (const auto batch = loader.next()) {
        all.insert(all.end(), batch->images.data().begin(), batch->images.data().end());
        all.insert(all.end(), batch->labels.begin(), batch->labels.end());
      }
    }
    return all;
  };
  const std::vector<float> expected = batches(kept->train(), 0);
  for (const int threads : {0, 1, 3}) CHECK(batches(streamed->train(), threads) == expected);
  CHECK(streamed->test().read(0, 0) == std::vector(kept->test().pixels.begin(), kept->test().pixels.begin() + 72));
}

TEST_CASE("an image that is not in memory and can not be read any more is an error of its batch, with its name") {
  const test::TemporaryFolder folder;
  write_both(folder.path());
  const auto flowers = open(folder.path(), {{"memory", 0}});
  const fs::path file = folder.path() / "train" / "rose" / "a.png";
  const ImageSet& train = flowers->train();
  fs::remove(file);
  Loader loader(train, {0}, Transform({}, train.image, 0), {.threads = GENERATE(0, 1)});
  loader.start_epoch(0);
  CHECK_THROWS_WITH(loader.next(), Contains(file.string() + ": cannot open"));
}

TEST_CASE("files that are decoded later are looked at too") {
  const test::TemporaryFolder folder;
  write_both(folder.path());
  std::ofstream(folder.path() / "train" / "rose" / "x.png") << "nothing";
  CHECK_THROWS_WITH(open(folder.path(), {{"memory", 0}}), Contains("1 of 3 files can not be read: train/rose/x.png"));
}

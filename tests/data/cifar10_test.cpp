// CIFAR-10: layout and checks on files made here, counts on the real files where they are.
#include "data/cifar10.h"

#include <array>
#include <cstdlib>
#include <fstream>
#include <map>

#include "support/catch.h"
#include "support/golden.h"
#include "support/temporary_folder.h"

using namespace qgrad;
namespace fs = std::filesystem;

namespace {

constexpr std::streamoff kRecordBytes = 3073, kFileBytes = 30730000;

// A batch file of zeros (all "airplane", black) with single bytes changed.
void write_batch(const fs::path& file, const std::map<std::streamoff, uint8_t>& bytes = {}) {
  std::ofstream(file, std::ios::binary).close();
  fs::resize_file(file, kFileBytes);
  std::fstream stream(file, std::ios::binary | std::ios::in | std::ios::out);
  for (const auto& [position, byte] : bytes) {
    stream.seekp(position);
    stream.put(static_cast<char>(byte));
  }
}

// Sets an environment variable and puts the old value back.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    setenv(name, value.c_str(), 1);
  }
  ~Environment() { old_ ? setenv(name_, old_->c_str(), 1) : unsetenv(name_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
  std::optional<std::string> old_;
};

fs::path real_folder() {
  const char* chosen = std::getenv("QGRAD_DATA");
  return chosen ? fs::path(chosen) : golden::shared_file("cifar-10-batches-bin");
}

}  // namespace

TEST_CASE("a CIFAR-10 batch is read as labels and interleaved pixels") {
  const test::TemporaryFolder folder;
  const fs::path file = folder.path() / "data_batch_1.bin";
  const std::streamoff record = 9999 * kRecordBytes, pixel = 5 * 32 + 7;
  write_batch(
      file, {{record, 9}, {record + 1 + pixel, 11}, {record + 1 + 1024 + pixel, 22}, {record + 1 + 2048 + pixel, 33}});
  ImageSet set;
  read_cifar10_batch(file, set);
  REQUIRE(set.size() == 10000);
  CHECK(set.labels[9998] == 0);
  CHECK(set.labels[9999] == 9);
  const size_t at = 9999 * 3072 + static_cast<size_t>(pixel) * 3;
  CHECK(std::vector<int>(set.pixels.begin() + at - 1, set.pixels.begin() + at + 4) ==
        std::vector<int>{0, 11, 22, 33, 0});
}

TEST_CASE("a damaged CIFAR-10 batch is refused with file and record") {
  const test::TemporaryFolder folder;
  const fs::path file = folder.path() / "data_batch_2.bin";
  ImageSet set;
  CHECK_THROWS_WITH(read_cifar10_batch(file, set), file.string() + ": cannot open: No such file or directory");
  write_batch(file, {{17 * kRecordBytes, 12}});
  CHECK_THROWS_WITH(read_cifar10_batch(file, set), file.string() + ": record 17: label 12 is out of range 0..9");
  fs::resize_file(file, kFileBytes - 1);
  CHECK_THROWS_WITH(read_cifar10_batch(file, set),
                    file.string() + ": expected 30730000 bytes (10000 records of 3073), got 30729999");
  fs::resize_file(file, kFileBytes + 1);
  CHECK_THROWS_WITH(read_cifar10_batch(file, set), Contains("got 30730001"));
}

TEST_CASE("a missing CIFAR-10 file is named when it is needed") {
  const test::TemporaryFolder folder;
  write_batch(folder.path() / "data_batch_1.bin");
  Config config{{{"class", "cifar10"}}, "", ""};
  CHECK_THROWS_WITH(open_dataset(config, folder.path().string()), Contains("batches.meta.txt: cannot open"));
  std::ofstream(folder.path() / "batches.meta.txt") << "airplane\ncar\n";
  CHECK_THROWS_WITH(open_dataset(config, folder.path().string()),
                    Contains("batches.meta.txt: expected 10 class names, one a line, got 2"));
  std::ofstream(folder.path() / "batches.meta.txt") << "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n";
  const auto cifar10 = open_dataset(config, folder.path().string());
  CHECK(cifar10->class_names().back() == "j");
  CHECK_THROWS_WITH(cifar10->train(), Contains("data_batch_2.bin: cannot open"));
  CHECK_THROWS_WITH(cifar10->test(), Contains("test_batch.bin: cannot open"));
}

TEST_CASE("the CIFAR-10 folder is the given one, else QGRAD_DATA, and nothing else then") {
  const test::TemporaryFolder given, environment, empty;
  write_batch(given.path() / "data_batch_1.bin");
  fs::create_directory(environment.path() / "cifar-10-batches-bin");
  write_batch(environment.path() / "cifar-10-batches-bin" / "data_batch_1.bin");
  const Environment variable("QGRAD_DATA", environment.path().string());
  CHECK(find_cifar10(given.path().string()) == given.path());
  CHECK(find_cifar10(std::nullopt) == environment.path() / "cifar-10-batches-bin");
  CHECK_THROWS_WITH(find_cifar10(empty.path().string()), Contains(empty.path().string()) &&
                                                             Contains("(given as folder)") &&
                                                             Contains("data/get_cifar10.sh"));
  const Environment wrong("QGRAD_DATA", empty.path().string());
  CHECK_THROWS_WITH(find_cifar10(std::nullopt), Contains(empty.path().string()) && Contains("(from QGRAD_DATA)"));
}

TEST_CASE("a CIFAR-10 folder found nowhere is an error that lists where it looked") {
  const test::TemporaryFolder empty;
  const Environment unset("QGRAD_DATA", "");
  const fs::path before = fs::current_path();
  fs::create_directory(empty.path() / "here");
  fs::current_path(empty.path() / "here");
  std::string message;
  try {
    find_cifar10(std::nullopt);
  } catch (const Error& e) {
    message = e.what();
  }
  fs::current_path(before);
  CHECK_THAT(message, Contains("in data/cifar-10-batches-bin, ../shared/cifar-10-batches-bin;"));
  CHECK_THAT(message, Contains("data/get_cifar10.sh"));
}

TEST_CASE("the folder from the command line goes before the config's") {
  const test::TemporaryFolder folder;
  write_batch(folder.path() / "data_batch_1.bin");
  std::ofstream(folder.path() / "batches.meta.txt") << "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n";
  const Config config{{{"class", "cifar10"}, {"dir", "/elsewhere"}}, "", ""};
  CHECK(open_dataset(config, folder.path().string())->class_names().front() == "a");
}

TEST_CASE("the real CIFAR-10 has 5000 training and 1000 test images of each class") {
  const fs::path folder = real_folder();
  if (!golden::available(folder)) return;
  Config config{{{"class", "cifar10"}, {"dir", folder.string()}}, "", ""};
  const auto cifar10 = open_dataset(config, std::nullopt);
  CHECK(cifar10->class_names()[3] == "cat");
  for (const auto& [set, expected] : {std::pair{&cifar10->train(), 5000}, std::pair{&cifar10->test(), 1000}}) {
    std::array<int, 10> counts{};
    for (const int32_t label : set->labels) ++counts.at(static_cast<size_t>(label));
    for (const int count : counts) CHECK(count == expected);
    CHECK(std::ssize(set->pixels) == set->size() * 3072);
  }
  // The first test image is a cat; its first pixel is (158, 112, 49).
  CHECK(cifar10->test().labels[0] == 3);
  CHECK(std::vector<int>(cifar10->test().pixels.begin(), cifar10->test().pixels.begin() + 3) ==
        std::vector<int>{158, 112, 49});
}

// Finding and reading the binary version of CIFAR-10.
#include "data/cifar10.h"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>

namespace qgrad {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFolder = "cifar-10-batches-bin";
constexpr int64_t kSide = 32, kPlane = kSide * kSide, kPixels = 3 * kPlane;
constexpr int64_t kRecords = 10000, kRecordBytes = 1 + kPixels, kFileBytes = kRecords * kRecordBytes;
const Shape kImage{kSide, kSide, 3};

std::vector<std::string> read_class_names(const fs::path& file) {
  std::ifstream stream(file);
  check(stream.good(), "{}: cannot open: {}", file.string(), std::strerror(errno));
  std::vector<std::string> names;
  for (std::string line; std::getline(stream, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) names.push_back(line);
  }
  check(names.size() == 10, "{}: expected 10 class names, one a line, got {}", file.string(), names.size());
  return names;
}

struct Cifar10Config {
  std::optional<std::string> dir;
};
void fields(Fields& v, Cifar10Config& c) {
  v("dir", c.dir,
    {.help = "folder of data_batch_1.bin ..; null: QGRAD_DATA, else ./data/ or ../shared/cifar-10-batches-bin"});
}

class Cifar10 final : public Dataset {
 public:
  explicit Cifar10(const Cifar10Config& config) : Cifar10(find_cifar10(config.dir)) {}
  std::string name() const override { return "cifar10"; }
  Shape image_shape() const override { return kImage; }
  std::string folder() const override { return folder_.string(); }

 private:
  explicit Cifar10(const fs::path& folder) : Dataset(read_class_names(folder / "batches.meta.txt")), folder_(folder) {}

  ImageSet read_train() const override {
    ImageSet set{kImage, {}, {}};
    set.pixels.reserve(5 * kRecords * kPixels);
    for (int i = 1; i <= 5; ++i) read_cifar10_batch(folder_ / fmt::format("data_batch_{}.bin", i), set);
    return set;
  }
  ImageSet read_test() const override {
    ImageSet set{kImage, {}, {}};
    read_cifar10_batch(folder_ / "test_batch.bin", set);
    return set;
  }

  const fs::path folder_;
};

const Registered<Dataset, Cifar10, Cifar10Config> cifar10{"cifar10",
                                                          "CIFAR-10: 60,000 pictures of 32x32 in ten classes"};

}  // namespace

void read_cifar10_batch(const fs::path& file, ImageSet& set) {
  std::ifstream stream(file, std::ios::binary | std::ios::ate);
  check(stream.good(), "{}: cannot open: {}", file.string(), std::strerror(errno));
  const std::streamoff bytes = stream.tellg();
  check(bytes == kFileBytes, "{}: expected {} bytes ({} records of {}), got {}", file.string(), kFileBytes, kRecords,
        kRecordBytes, bytes);
  stream.seekg(0);

  const size_t first_label = set.labels.size(), first_pixel = set.pixels.size();
  set.labels.resize(first_label + kRecords);
  set.pixels.resize(first_pixel + kRecords * kPixels);
  uint8_t* out = set.pixels.data() + first_pixel;
  std::array<uint8_t, kRecordBytes> record;
  for (int64_t r = 0; r < kRecords; ++r) {
    stream.read(reinterpret_cast<char*>(record.data()), kRecordBytes);
    check(stream.good(), "{}: record {} can not be read", file.string(), r);
    check(record[0] <= 9, "{}: record {}: label {} is out of range 0..9", file.string(), r, record[0]);
    set.labels[first_label + static_cast<size_t>(r)] = record[0];
    const uint8_t* const planes = record.data() + 1;
    for (int64_t p = 0; p < kPlane; ++p)
      for (int64_t c = 0; c < 3; ++c) *out++ = planes[c * kPlane + p];
  }
}

fs::path find_cifar10(const std::optional<std::string>& dir) {
  std::vector<fs::path> places;
  const char* const environment = std::getenv("QGRAD_DATA");
  if (dir) {
    places = {*dir};
  } else if (environment && *environment) {
    places = {environment};
  } else {
    places = {fs::path("data") / kFolder, fs::path("..") / "shared" / kFolder};
  }

  std::string looked;
  for (const fs::path& place : places) {
    for (const fs::path& folder : {place, place / kFolder}) {
      std::error_code unreadable;
      if (fs::exists(folder / "data_batch_1.bin", unreadable)) return folder;
    }
    looked += (looked.empty() ? "" : ", ") + place.string();
  }
  const char* const source = dir ? " (given as folder)" : environment && *environment ? " (from QGRAD_DATA)" : "";
  fail("cifar10: no data_batch_1.bin in {}{}; get the files with data/get_cifar10.sh, or name their folder: --data DIR",
       looked, source);
}

}  // namespace qgrad

// Reads the embedded digits and splits them into training and test images.
#include "data/digits.h"

namespace qgrad {
namespace {

constexpr size_t kDigitPixels = 64, kDigitBytes = 1 + kDigitPixels;
constexpr int64_t kTrainImages = 1400;

ImageSet slice(const ImageSet& all, int64_t begin, int64_t end) {
  const int64_t numel = all.image.numel();
  return {all.image,
          {all.pixels.begin() + begin * numel, all.pixels.begin() + end * numel},
          {all.labels.begin() + begin, all.labels.begin() + end}};
}

struct DigitsConfig {};
void fields(Fields&, DigitsConfig&) {}

class Digits final : public Dataset {
 public:
  explicit Digits(const DigitsConfig&)
      : Dataset({"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}),
        all_(parse_digits(digits_file(), "digits.bin (embedded)")) {}
  std::string name() const override { return "digits"; }
  Shape image_shape() const override { return all_.image; }

 private:
  ImageSet read_train() const override { return slice(all_, 0, kTrainImages); }
  ImageSet read_test() const override { return slice(all_, kTrainImages, all_.size()); }

  const ImageSet all_;
};

const Registered<Dataset, Digits, DigitsConfig> digits{"digits", "1,797 handwritten digits of 8x8, inside the program"};

}  // namespace

ImageSet parse_digits(std::span<const uint8_t> file, const std::string& name) {
  const size_t count = file.size() / kDigitBytes;
  check(file.size() == count * kDigitBytes, "{}: expected records of {} bytes, got {} bytes", name, kDigitBytes,
        file.size());
  ImageSet set{Shape{8, 8, 1}, {}, {}};
  for (size_t r = 0; r < count; ++r) {
    const std::span<const uint8_t> record = file.subspan(r * kDigitBytes, kDigitBytes);
    check(record[0] <= 9, "{}: record {}: label {} is out of range 0..9", name, r, record[0]);
    set.labels.push_back(record[0]);
    for (const uint8_t value : record.subspan(1)) {
      check(value <= 16, "{}: record {}: pixel {} is out of range 0..16", name, r, value);
      set.pixels.push_back(static_cast<uint8_t>((value * 255 + 8) / 16));
    }
  }
  return set;
}

}  // namespace qgrad

// Unpacks the embedded digits and splits them into training and test images.
#include "data/digits.h"

#include <algorithm>
#include <string_view>

namespace qgrad {
namespace {

constexpr std::string_view kMagic = "DIGITS8\n";
constexpr size_t kHeaderBytes = 16, kDigitBytes = 41, kDigitPixels = 64;
constexpr int64_t kTrainImages = 1400;

uint32_t little_endian(std::span<const uint8_t> bytes) {
  return bytes[0] | uint32_t{bytes[1]} << 8 | uint32_t{bytes[2]} << 16 | uint32_t{bytes[3]} << 24;
}

// CRC-32 as in zlib and PNG: reflected, polynomial 0xEDB88320.
uint32_t crc32(std::span<const uint8_t> bytes) {
  uint32_t crc = ~uint32_t{0};
  for (const uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? 0xEDB88320u : 0u);
  }
  return ~crc;
}

// Five bits from position 5i of a record's pixels.
uint32_t packed_pixel(std::span<const uint8_t> packed, size_t i) {
  const size_t byte = 5 * i / 8, shift = 5 * i % 8;
  const uint32_t high = byte + 1 < packed.size() ? packed[byte + 1] : 0;
  return ((packed[byte] | high << 8) >> shift) & 31;
}

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

const Registered<Dataset, Digits, DigitsConfig> digits{"digits"};

}  // namespace

ImageSet parse_digits(std::span<const uint8_t> file, const std::string& name) {
  check(file.size() >= kHeaderBytes, "{}: expected a header of {} bytes, got {} bytes", name, kHeaderBytes,
        file.size());
  check(std::equal(kMagic.begin(), kMagic.end(), file.begin()), "{}: not a digits file: it does not start with DIGITS8",
        name);
  const size_t count = little_endian(file.subspan(8));
  const uint32_t checksum = little_endian(file.subspan(12));
  const std::span<const uint8_t> records = file.subspan(kHeaderBytes);
  check(records.size() == count * kDigitBytes, "{}: expected {} bytes ({} records of {} after a header of {}), got {}",
        name, kHeaderBytes + count * kDigitBytes, count, kDigitBytes, kHeaderBytes, file.size());
  check(crc32(records) == checksum, "{}: checksum {:08x} differs from the {:08x} in its header", name, crc32(records),
        checksum);

  ImageSet set{Shape{8, 8, 1}, std::vector<uint8_t>(count * kDigitPixels), std::vector<int32_t>(count)};
  for (size_t r = 0; r < count; ++r) {
    const std::span<const uint8_t> record = records.subspan(r * kDigitBytes, kDigitBytes);
    check(record[0] <= 9, "{}: record {}: label {} is out of range 0..9", name, r, record[0]);
    set.labels[r] = record[0];
    for (size_t i = 0; i < kDigitPixels; ++i) {
      const uint32_t value = packed_pixel(record.subspan(1), i);
      check(value <= 16, "{}: record {}: pixel {} is {}, out of range 0..16", name, r, i, value);
      set.pixels[r * kDigitPixels + i] = static_cast<uint8_t>((value * 255 + 8) / 16);
    }
  }
  return set;
}

}  // namespace qgrad

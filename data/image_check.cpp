// Chunks of PNG files (the PNG specification, section 5) and markers of JPEG files (ITU-T T.81, annex B).
#include "data/image_check.h"

#include <algorithm>
#include <array>
#include <vector>

#include "core/error.h"

namespace qgrad {
namespace {

template <class... A>
[[noreturn]] void damaged(fmt::format_string<A...> why, A&&... args) {
  fail("damaged image ({})", fmt::format(why, std::forward<A>(args)...));
}

// There may be more of the file.
struct EndsTooEarly : Error {
  EndsTooEarly() : Error("damaged image (it ends too early)") {}
};

// Big-endian numbers from the front of bytes.
class Bytes {
 public:
  explicit Bytes(std::string_view bytes) : left_(bytes) {}

  bool empty() const { return left_.empty(); }
  size_t size() const { return left_.size(); }
  std::string_view rest() const { return left_; }
  std::string_view take(size_t count) {
    if (count > left_.size()) throw EndsTooEarly();
    const std::string_view taken = left_.substr(0, count);
    left_.remove_prefix(count);
    return taken;
  }
  uint32_t number(size_t count) {
    uint32_t value = 0;
    for (const char c : take(count)) value = value << 8 | static_cast<uint8_t>(c);
    return value;
  }
  int byte() { return static_cast<int>(number(1)); }

  // Leaves what begins with the next marker that is not one of restarts. 0xff is followed by 0 where it is data, and
  // may stand several times before a marker.
  void skip_entropy_coded_data() {
    for (;;) {
      const size_t mark = left_.find('\xff'), code = left_.find_first_not_of('\xff', mark);
      if (mark == std::string_view::npos || code == std::string_view::npos) damaged("a scan does not end");
      const int what = static_cast<uint8_t>(left_[code]);
      const bool is_data = what == 0 || (what >= 0xd0 && what <= 0xd7);
      left_.remove_prefix(is_data ? code + 1 : mark);
      if (!is_data) return;
    }
  }

 private:
  std::string_view left_;
};

// Of EXIF data, a TIFF file: the number of tag 0x112 in its first directory. 1 where it does not say, or is not sound:
// pictures are read all the same.
int orientation_of(std::string_view tiff) {
  constexpr size_t kHeader = 8, kEntry = 12;
  constexpr uint32_t kOrientation = 0x112, kShort = 3;
  const bool is_little = tiff.starts_with("II");
  if (!is_little && !tiff.starts_with("MM")) return 1;
  const auto number = [&](size_t at, size_t size) {
    uint32_t value = 0;
    for (size_t i = 0; i < size; ++i)
      value = value << 8 | static_cast<uint8_t>(tiff[at + (is_little ? size - 1 - i : i)]);
    return value;
  };
  if (tiff.size() < kHeader) return 1;
  const size_t directory = number(4, 4);
  if (directory > tiff.size() - 2) return 1;
  const size_t entries = number(directory, 2), first = directory + 2;
  for (size_t at = first; at < first + entries * kEntry && at + kEntry <= tiff.size(); at += kEntry)
    if (number(at, 2) == kOrientation && number(at + 2, 2) == kShort && number(at + 4, 4) == 1) {
      const uint32_t orientation = number(at + 8, 2);
      return orientation >= 1 && orientation <= 8 ? static_cast<int>(orientation) : 1;
    }
  return 1;
}

void check_size(const ImageHeader& size) {
  if (size.width == 0 || size.height == 0) damaged("{}x{} pixels", size.width, size.height);
  check(size.width <= kMostPixels && size.height <= kMostPixels / size.width, "{}x{} pixels are more than {}",
        size.width, size.height, kMostPixels);
}

constexpr std::string_view kPngSignature = "\x89PNG\r\n\x1a\n", kJpegStart = "\xff\xd8";

ImageHeader check_png(Bytes file) {
  constexpr int64_t kMostInflation = 1032;  // of deflate: 258 bytes by two bits
  std::string_view type;
  ImageHeader size{};
  int64_t bits = 0, compressed = 0;
  file.take(kPngSignature.size());
  for (bool first = true; type != "IEND"; first = false) {
    const uint32_t length = file.number(4);
    type = file.take(4);
    Bytes chunk(file.take(length));
    file.take(4);  // its checksum
    if (first != (type == "IHDR") || (first && length != 13)) damaged("its header is not the first chunk");
    if (type == "IDAT") compressed += length;
    if (type == "eXIf") size.orientation = orientation_of(chunk.rest());
    if (!first) continue;
    size.width = chunk.number(4), size.height = chunk.number(4);
    check_size(size);
    bits = chunk.byte();
    const int colour = chunk.byte();
    bits *= colour == 2 ? 3 : colour == 4 ? 2 : colour == 6 ? 4 : 1;
  }
  if (size.width * size.height * bits / 8 > kMostInflation * compressed)
    damaged("{}x{} pixels in {} bytes", size.width, size.height, compressed);
  return size;
}

// The tables and components of a JPEG file as far as it was walked through.
class JpegCheck {
 public:
  explicit JpegCheck(Bytes file) : file_(file) {}

  ImageHeader header() {
    marker();  // the file's beginning
    int code = marker();
    for (; code < kFrame || code > kProgressiveFrame; code = marker_after_padding()) segment(code);
    progressive_ = code == kProgressiveFrame;
    frame();
    return size_;
  }

  ImageHeader run() {
    const size_t bytes = file_.size();
    header();
    if (size_.width * size_.height > kMostPixelsOfAByte * static_cast<int64_t>(bytes))
      damaged("{}x{} pixels in {} bytes", size_.width, size_.height, bytes);
    for (int code; (code = marker()) != kEnd;) code == kScan ? scan() : segment(code);
    for (const Component& component : components_)
      if (!component.begun) damaged("component {} has no scan", component.id);
    return size_;
  }

 private:
  static constexpr int kFrame = 0xc0, kProgressiveFrame = 0xc2, kCodes = 0xc4, kEnd = 0xd9, kScan = 0xda, kSteps = 0xdb,
                       kLines = 0xdc, kRestarts = 0xdd, kApplications = 0xe0, kExifSegment = 0xe1,
                       kLastApplication = 0xef, kComment = 0xfe;
  // A block of 8x8 takes a bit at least, and each of its sides may stand for four of the image's.
  static constexpr int64_t kMostPixelsOfAByte = 2048;
  static constexpr int kMostScans = 100;

  struct Component {
    int id, steps;
    bool begun = false;
  };

  int marker() {
    if (file_.byte() != 0xff) damaged("no marker where one is expected");
    return after_mark();
  }
  int marker_after_padding() {
    while (file_.byte() != 0xff) {
    }
    return after_mark();
  }
  int after_mark() {
    int code = 0xff;
    while (code == 0xff) code = file_.byte();
    return code;
  }
  Bytes content() {
    const size_t length = file_.number(2);
    if (length < 2) damaged("a segment of {} bytes", length);
    return Bytes(file_.take(length - 2));
  }

  void segment(int code) {
    if (code == kCodes) return huffman_codes(content());
    if (code == kSteps) return quantization_steps(content());
    const Bytes said = content();
    constexpr std::string_view kExif("Exif\0\0", 6);
    if (code == kExifSegment && said.rest().starts_with(kExif) && !has_exif_ && components_.empty()) {
      has_exif_ = true;
      size_.orientation = orientation_of(said.rest().substr(kExif.size()));
    }
    const size_t size = said.size();
    const bool has_number = code == kRestarts || code == kLines;
    const bool is_text = (code >= kApplications && code <= kLastApplication) || code == kComment;
    if (!is_text && !(has_number && size == 2)) damaged("marker ff{:02x} with {} bytes", code, size);
  }

  void quantization_steps(Bytes steps) {
    while (!steps.empty()) {
      const int what = steps.byte(), table = what & 15;
      if (what >> 4 > 1 || table > 3) damaged("quantization table {:02x}", what);
      steps.take(what >> 4 ? 128 : 64);
      steps_[static_cast<size_t>(table)] = true;
    }
  }

  void huffman_codes(Bytes codes) {
    while (!codes.empty()) {
      const int what = codes.byte(), kind = what >> 4, table = what & 15;
      if (kind > 1 || table > 3) damaged("Huffman table {:02x}", what);
      size_t count = 0, room = 0;  // room: taken by the codes, in those of 16 bits
      for (size_t length = 1; length <= 16; ++length) {
        const size_t of_length = codes.number(1);
        count += of_length;
        room += of_length << (16 - length);
      }
      if (count > 256 || room > 1 << 16) damaged("Huffman table {:02x} with {} codes that do not fit", what, count);
      codes.take(count);
      (kind == 0 ? dc_ : ac_)[static_cast<size_t>(table)] = true;
    }
  }

  void frame() {
    Bytes header = content();
    const int precision = header.byte();
    size_.height = header.number(2), size_.width = header.number(2);
    check_size(size_);
    const int count = header.byte();
    if (precision != 8 || (count != 1 && count != 3 && count != 4) || header.size() != 3 * static_cast<size_t>(count))
      damaged("{} components of {} bits", count, precision);
    for (int i = 0; i < count; ++i) {
      Component component{.id = header.byte()};
      const int sampling = header.byte(), across = sampling >> 4, down = sampling & 15;
      component.steps = header.byte();
      if (across < 1 || across > 4 || down < 1 || down > 4 || component.steps > 3)
        damaged("component {} with samples {}x{} and table {}", component.id, across, down, component.steps);
      components_.push_back(component);
    }
  }

  void scan() {
    if (++scans_ > kMostScans) damaged("more than {} scans", kMostScans);
    Bytes header = content();
    const size_t count = header.number(1);
    if (count < 1 || count > components_.size() || header.size() != 2 * count + 3)
      damaged("a scan of {} components", count);
    std::vector<std::pair<Component*, int>> parts;  // with the tables of each
    for (size_t i = 0; i < count; ++i) {
      const auto component = std::ranges::find(components_, header.byte(), &Component::id);
      if (component == components_.end()) damaged("a scan of a component that there is not");
      parts.emplace_back(&*component, header.byte());
    }
    const int first = header.byte(), last = header.byte(), is_refined = header.byte() >> 4;
    if (progressive_ && (last > 63 || first > last || (first == 0) != (last == 0) || (first > 0 && count > 1)))
      damaged("a scan of {} components and coefficients {} to {}", count, first, last);
    for (const auto& [component, tables] : parts) {
      need(steps_, component->steps, "quantization");
      if (!progressive_ || (first == 0 && !is_refined)) need(dc_, tables >> 4, "Huffman"), component->begun = true;
      if (!progressive_ || first > 0) need(ac_, tables & 15, "Huffman");
      if (!component->begun) damaged("component {} does not begin with its first coefficient", component->id);
    }
    file_.skip_entropy_coded_data();
  }

  static void need(const std::array<bool, 4>& tables, int table, const char* what) {
    if (table > 3 || !tables[static_cast<size_t>(table)]) damaged("{} table {} is not defined", what, table);
  }

  Bytes file_;
  std::array<bool, 4> steps_{}, dc_{}, ac_{};
  bool progressive_ = false;
  ImageHeader size_{};
  bool has_exif_ = false;
  std::vector<Component> components_;
  int scans_ = 0;
};

}  // namespace

ImageHeader check_image(std::string_view bytes) {
  if (bytes.starts_with(kPngSignature)) return check_png(Bytes(bytes));
  if (bytes.starts_with(kJpegStart)) return JpegCheck(Bytes(bytes)).run();
  fail("not a PNG or JPEG image");
}

std::optional<ImageHeader> image_header(std::string_view beginning) {
  try {
    if (beginning.starts_with(kJpegStart)) return JpegCheck(Bytes(beginning)).header();
    return check_image(beginning);
  } catch (const EndsTooEarly&) {
    return std::nullopt;
  }
}

}  // namespace qgrad

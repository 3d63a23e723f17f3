// Hostile PNG and JPEG files: made from sound ones, refused before they are decoded, or decoded within bounds.
#include "data/image_check.h"

#include "core/error.h"
#include "core/file.h"
#include "data/decoder.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/image_files.h"
#include "support/temporary_folder.h"

using namespace qgrad;
using namespace std::string_literals;
using test::error_of;

namespace {

std::string jpeg() { return test::bytes_of(test::write_jpeg, test::random_image({9, 11, 3}, 1)); }
std::string png() { return test::bytes_of(test::write_png, test::random_image({9, 11, 3}, 1)); }

size_t number_at(const std::string& bytes, size_t at) {
  return static_cast<size_t>(static_cast<uint8_t>(bytes[at])) << 8 | static_cast<uint8_t>(bytes[at + 1]);
}

// Where the segment of a JPEG file with this marker begins, and its size with the marker.
struct Segment {
  size_t begin, size;
};
Segment segment(const std::string& bytes, int code) {
  size_t at = 2;
  while (static_cast<uint8_t>(bytes[at + 1]) != code) at += 2 + number_at(bytes, at + 2);
  return {at, 2 + number_at(bytes, at + 2)};
}
constexpr int kFrame = 0xc0, kCodes = 0xc4, kScan = 0xda, kSteps = 0xdb;

// A segment that defines a Huffman table with so many codes of each length.
std::string codes(char table, std::initializer_list<std::pair<size_t, size_t>> count_of_length) {
  std::string counts(16, '\0');
  size_t total = 0;
  for (const auto& [length, count] : count_of_length) counts[length - 1] = static_cast<char>(count), total += count;
  const size_t size = 2 + 17 + total;
  return std::string("\xff\xc4") + static_cast<char>(size >> 8) + static_cast<char>(size & 255) + table + counts +
         std::string(total, '\1');
}

std::string why(const std::string& bytes) {
  return error_of([&] { check_image(bytes); });
}
std::string without(std::string bytes, int code) {
  const Segment s = segment(bytes, code);
  return bytes.erase(s.begin, s.size);
}
// The file with a byte of a segment changed.
std::string with(std::string bytes, int code, size_t at, int value) {
  bytes[segment(bytes, code).begin + at] = static_cast<char>(value);
  return bytes;
}
std::string before_scan(std::string bytes, const std::string& what) {
  return bytes.insert(segment(bytes, kScan).begin, what);
}

std::string chunk(const std::string& type, const std::string& content) {
  std::string size;
  for (int shift = 24; shift >= 0; shift -= 8) size += static_cast<char>(content.size() >> shift);
  return size + type + content + "\0\0\0\0"s;
}
std::string png_of(const std::string& width_and_height, const std::string& compressed) {
  return "\x89PNG\r\n\x1a\n" + chunk("IHDR", width_and_height + "\x08\x02\0\0\0"s) + chunk("IDAT", compressed) +
         chunk("IEND", "");
}

// Twice the same pixels, or an error.
void check_harmless(const std::string& bytes) {
  const auto pixels = [&] {
    std::vector<uint8_t> result;
    error_of([&] {
      const ImageHeader size = check_image(bytes);
      if (size.width * size.height < 100'000) result = decode_image(bytes, 64 << 20).pixels;
    });
    return result;
  };
  CHECK(pixels() == pixels());
}

}  // namespace

TEST_CASE("what image files say about their size is read before they are decoded") {
  CHECK(check_image(jpeg()).width == 11);
  CHECK(check_image(jpeg()).height == 9);
  CHECK(check_image(png()).width == 11);
  CHECK(why("GIF89a") == "not a PNG or JPEG image");
  CHECK(why("") == "not a PNG or JPEG image");
}

TEST_CASE("the beginning of a file says its size and how it lies, or that it takes more of it") {
  for (const std::string& plain : {jpeg(), png()}) {
    const std::string bytes = test::with_exif(plain, test::exif(8, "MM"));
    CHECK(image_header(bytes)->width == 11);
    CHECK(image_header(bytes)->height == 9);
    CHECK(image_header(bytes)->orientation == 8);
    CHECK(!image_header(bytes.substr(0, 20)));
  }
  CHECK(image_header(jpeg().substr(0, segment(jpeg(), kScan).begin))->width == 11);
  CHECK(!image_header(png().substr(0, png().size() - 12)));  // which may hold an orientation until its end
  CHECK(error_of([&] { image_header("GIF89a"); }) == "not a PNG or JPEG image");
}

TEST_CASE("a JPEG whose scan refers to a table that was not defined is refused") {
  CHECK(why(without(jpeg(), kCodes)) == "damaged image (Huffman table 0 is not defined)");
  CHECK(why(without(jpeg(), kSteps)) == "damaged image (quantization table 0 is not defined)");
  for (const int tables : {0x20, 0x02, 0x90, 0x09})
    CHECK_THAT(why(with(jpeg(), kScan, 6, tables)), Contains("is not defined"));
  // Tables that follow the scan come too late.
  std::string late = jpeg();
  const Segment s = segment(late, kCodes);
  const std::string tables = late.substr(s.begin, s.size);
  late.erase(s.begin, s.size).insert(late.size() - 2, tables);
  CHECK(why(late) == "damaged image (Huffman table 0 is not defined)");
}

TEST_CASE("a JPEG with Huffman tables that do not fit is refused") {
  CHECK_NOTHROW(check_image(before_scan(jpeg(), codes(3, {{8, 255}, {16, 1}}))));
  CHECK_THAT(why(before_scan(jpeg(), codes(3, {{8, 200}, {9, 100}}))), Contains("table 03 with 300 codes"));
  CHECK_THAT(why(before_scan(jpeg(), codes(0x13, {{1, 3}}))), Contains("table 13 with 3 codes"));
  CHECK_THAT(why(before_scan(jpeg(), codes(4, {{8, 1}}))), Contains("Huffman table 04"));
  CHECK_THAT(why(before_scan(jpeg(), codes(0x23, {{8, 1}}))), Contains("Huffman table 23"));
}

TEST_CASE("a JPEG whose frame or scans make no sense is refused") {
  CHECK_THAT(why(with(jpeg(), kFrame, 4, 12)), Contains("3 components of 12 bits"));
  CHECK_THAT(why(with(jpeg(), kFrame, 9, 2)), Contains("2 components of 8 bits"));
  CHECK_THAT(why(with(jpeg(), kFrame, 11, 0x51)), Contains("samples 5x1"));
  CHECK_THAT(why(with(jpeg(), kFrame, 12, 4)), Contains("table 4"));
  CHECK_THAT(why(with(with(jpeg(), kFrame, 5, 0), kFrame, 6, 0)), Contains("11x0 pixels"));
  CHECK_THAT(why(with(jpeg(), kFrame, 1, 0xc3)), Contains("marker ffc3"));
  CHECK_THAT(why(with(jpeg(), kScan, 5, 9)), Contains("a component that there is not"));
  CHECK_THAT(why(with(jpeg(), kScan, 5, 2)), Contains("component 1 has no scan"));
  CHECK_THAT(why(with(jpeg(), kScan, 4, 2)), Contains("a scan of 2 components"));
  std::string scans = jpeg();
  const Segment s = segment(scans, kScan);
  const std::string scan = scans.substr(s.begin, s.size);
  for (int i = 0; i < 99; ++i) scans.insert(s.begin, scan);
  CHECK_NOTHROW(check_image(scans));
  CHECK_THAT(why(scans.insert(s.begin, scan)), Contains("more than 100 scans"));
}

TEST_CASE("image files that claim more pixels than they can hold, or than are allowed, are refused") {
  const auto sized = [](int byte) {
    std::string bytes = jpeg();
    for (const size_t at : {5, 6, 7, 8}) bytes = with(bytes, kFrame, at, byte);
    return bytes;
  };
  CHECK_THAT(why(sized(0xff)), Contains("65535x65535 pixels are more than 67108864"));
  CHECK_THAT(why(sized(0x10)), Contains("damaged image (4112x4112 pixels in "));
  CHECK_THAT(why(png_of("\x7f\xff\xff\xff\x7f\xff\xff\xff"s, "x")), Contains("pixels are more than"));
  CHECK_THAT(why(png_of("\0\0\x10\0\0\0\x10\0"s, std::string(1000, 'x'))),
             Contains("damaged image (4096x4096 pixels in 1000 bytes)"));
}

TEST_CASE("a PNG whose chunks lead out of the file, or come in another order, is refused") {
  std::string bytes = png();
  bytes[8 + 25] = '\x7f';  // the length of the second chunk
  CHECK(why(bytes) == "damaged image (it ends too early)");
  const std::string header = png().substr(8, 25), rest = png().substr(33);
  CHECK_THAT(why(png().substr(0, 8) + chunk("tEXt", "a") + header + rest), Contains("its header is not the first"));
  CHECK_THAT(why(png().substr(0, 8) + header + header + rest), Contains("its header is not the first"));
  CHECK_THAT(why(png().substr(0, 8) + chunk("CgBI", "1234") + header + rest), Contains("its header is not the first"));
}

TEST_CASE("a PNG that inflates to more than its pixels is not given the memory") {
  const std::string bomb = png_of("\0\0\0\x10\0\0\0\x10"s, test::deflated(std::string(32 << 20, '\0')));
  const test::TemporaryFolder folder;
  write_file_atomically(folder.path() / "bomb.png", bomb);
  CHECK_THROWS_WITH(read_image(folder.path() / "bomb.png", {3}),
                    Contains((folder.path() / "bomb.png").string() + ": takes more than "));
}

TEST_CASE("a decoder gets no more memory than it is allowed") {
  for (const std::string& bytes : {jpeg(), png()}) {
    CHECK_THROWS_AS(decode_image(bytes, 100), Error);
    CHECK_NOTHROW(decode_image(bytes, 1 << 20));
  }
  CHECK(error_of([&] { decode_image(png(), 100); }) == "takes more than 100 bytes to decode");
}

TEST_CASE("image files that are cut or changed anywhere are refused, or give the same pixels each time") {
  for (const std::string& bytes : {jpeg(), png(), test::bytes_of(test::write_jpeg, test::random_image({8, 8, 1}, 1)),
                                   test::with_exif(jpeg(), test::exif(6, "II"))}) {
    for (size_t size = 0; size < bytes.size(); ++size) CHECK_THROWS_AS(check_image(bytes.substr(0, size)), Error);
    for (size_t at = 2; at < bytes.size(); ++at)
      for (const int change : {0x01, 0x10, 0x80, 0xff}) {
        std::string changed = bytes;
        changed[at] = static_cast<char>(changed[at] ^ change);
        check_harmless(changed);
      }
  }
}

TEST_CASE("fill bytes and restart markers of a JPEG are walked over") {
  std::string bytes = jpeg();
  bytes.insert(segment(bytes, kFrame).begin, "\xff\xff");
  CHECK(decode_image(bytes, 1 << 20).pixels == decode_image(jpeg(), 1 << 20).pixels);
  bytes = jpeg();
  bytes.insert(bytes.size() - 2, "\xff\xd0\xff\xd7");
  CHECK_NOTHROW(check_image(bytes));
}

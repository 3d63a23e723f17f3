// Files by their first bytes.
#include "core/file_kind.h"

#include <algorithm>

#include "support/catch.h"

using namespace qgrad;
using namespace std::string_view_literals;

TEST_CASE("files of many kinds are recognised by their first bytes") {
  CHECK(file_kind("\x80\x02\x8a\x0al\xfc\x9c") == "a PyTorch checkpoint (pickle)");
  CHECK(file_kind("PK\x03\x04\0\0\x08\0archive/data.pkl"sv) == "a PyTorch checkpoint (ZIP)");
  CHECK(file_kind("PK\x03\x04\0\0\x08\0weights.npy"sv) == "a ZIP archive");
  CHECK(file_kind("\x1f\x8b\x08\0"sv) == "a gzip archive");
  CHECK(file_kind("\x08\x08\x12\x07pytorch") == "an ONNX model");
  CHECK(file_kind("\x10\0\0\0\0\0\0\0{\"a\": {} }   "sv) == "a safetensors file");
  CHECK(file_kind("\x80\x02\0\0\0\0\0\0{\"a\": {} }"sv) == "a safetensors file");  // of 640 bytes, as pickle begins
  CHECK(file_kind("\x1f\x8b\0\0\0\0\0\0{\"a\": {} }"sv) == "a safetensors file");  // of 35615, as gzip does
  CHECK(file_kind("QGRADINT\1") == "an integer program");
  CHECK(file_kind("\x89PNG\r\n") == "a PNG image");
  CHECK(file_kind("\xff\xd8\xff\xe0") == "a JPEG image");
  CHECK(file_kind(" {\"name\": 1}") == "a JSON file");
  CHECK(file_kind("hello\n") == "a text file");
  CHECK(file_kind("  ") == "a text file");
}

TEST_CASE("what is of no known kind is not given one") {
  CHECK(file_kind("") == "");
  CHECK(file_kind("\1\2\3\4") == "");
  CHECK(file_kind("\xff\xff\xff\xff\xff\xff\xff\x7f{}") == "");
}

TEST_CASE("a PyTorch checkpoint comes with the lines that convert it") {
  const std::string text = file_kind_to_convert("\x80\x02", "nets/a.b.pth");
  CHECK_THAT(text, Contains("torch.load('nets/a.b.pth'") && Contains("'nets/a.b.safetensors'"));
  CHECK(std::ranges::count(text, '\n') == 3);
  CHECK(file_kind_to_convert("hello", "a.txt") == "a text file");
}

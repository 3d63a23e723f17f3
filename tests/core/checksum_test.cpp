// The checksum of checkpoints.
#include "core/checksum.h"

#include <string>

#include "support/catch.h"

using namespace qgrad;

TEST_CASE("CRC-32C gives the values of RFC 3720") {
  std::string up(32, '\0');
  for (size_t i = 0; i < up.size(); ++i) up[i] = static_cast<char>(i);
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aa);
  CHECK(crc32c(std::string(32, '\xff')) == 0x62a8ab43);
  CHECK(crc32c(up) == 0x46dd794e);
  CHECK(crc32c(std::string(up.rbegin(), up.rend())) == 0x113fdb5c);
  CHECK(crc32c("123456789") == 0xe3069283);
  CHECK(crc32c("") == 0);
}

TEST_CASE("a checksum goes on from that of the bytes before") {
  const std::string text = "The quick brown fox jumps over the lazy dog";
  for (size_t cut = 0; cut <= text.size(); ++cut)
    CHECK(crc32c(text.substr(cut), crc32c(text.substr(0, cut))) == crc32c(text));
}

// CRC-32C (Castagnoli; RFC 3720, appendix B.4), which finds every burst of up to 32 damaged bits.
#pragma once

#include <cstdint>
#include <string_view>

namespace qgrad {

// `before`: the checksum of the bytes in front of these. The value of the digits "123456789" is e3069283.
uint32_t crc32c(std::string_view bytes, uint32_t before = 0);

}  // namespace qgrad

// Philox4x32-10 and the distributions made of it.
#include "core/random.h"

#include <cmath>

#include "core/error.h"

namespace qgrad {
namespace {

uint64_t fnv1a(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

// splitmix64's finaliser: spreads small seeds over all bits of the key.
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c[0], p1 = uint64_t{0xCD9E8D57u} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(p0)};
    k[0] += 0x9E3779B9u;
    k[1] += 0xBB67AE85u;
  }
  return c;
}

RandomStream::RandomStream(uint64_t seed, std::string_view name) {
  const uint64_t key = mix(mix(seed) ^ fnv1a(name));
  key_ = {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)};
}

std::array<uint32_t, 4> RandomStream::block(uint64_t index, uint64_t lane) const {
  return philox4x32({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), static_cast<uint32_t>(lane),
                     static_cast<uint32_t>(lane >> 32)},
                    key_);
}

uint32_t RandomStream::next() {
  const uint64_t i = position_++;
  return block(i / 4)[i % 4];
}

uint32_t RandomStream::below(uint32_t n) {
  check(n > 0, "random: no number is below 0");
  // Lemire's method: the high half of a 64-bit product, rejecting the few values that would be drawn too often.
  for (;;) {
    const uint64_t product = uint64_t{next()} * n;
    if (static_cast<uint32_t>(product) >= -n % n) return static_cast<uint32_t>(product >> 32);
  }
}

float RandomStream::uniform() { return static_cast<float>(next() >> 8) * 0x1p-24f; }

float RandomStream::normal() {
  const double u = (next() + 0.5) * 0x1p-32, v = next() * 0x1p-32;
  return static_cast<float>(std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v));
}

}  // namespace qgrad

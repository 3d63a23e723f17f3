// The beginning of a CIFAR-10 batch, or where its first byte is odd, all of one.
#include "data/cifar10.h"

#include "tests/fuzz/fuzz.h"

namespace qgrad::fuzz {

void one_input(std::string_view bytes) {
  static std::string batch(30'730'000, '\1');
  ImageSet set{Shape{32, 32, 3}, {}, {}};
  const bool is_short = bytes.empty() || bytes[0] % 2 != 0;
  batch.replace(0, bytes.size(), bytes);
  read_cifar10_batch(file_of(is_short ? bytes : batch), set);
}

}  // namespace qgrad::fuzz

// Random choice of places in a set.
#include "data/split.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/random.h"

namespace qgrad {

Indices all_indices(int64_t size) {
  Indices indices(static_cast<size_t>(size));
  std::iota(indices.begin(), indices.end(), int64_t{0});
  return indices;
}

void shuffle(Indices& indices, uint64_t seed, const char* name, uint64_t part) {
  check(indices.size() < (uint64_t{1} << 31), "shuffle: {} images are more than 2^31", indices.size());
  RandomStream random(seed, name);
  random.seek(part << 32);  // far more numbers than one shuffle draws
  for (size_t i = indices.size(); i > 1; --i)
    std::swap(indices[i - 1], indices[random.below(static_cast<uint32_t>(i))]);
}

TrainAndValidation split(int64_t size, double fraction, uint64_t seed) {
  check(fraction >= 0 && fraction < 1, "validation split: expected a fraction of at least 0 and less than 1, got {}",
        fraction);
  const int64_t validation = std::llround(fraction * static_cast<double>(size));
  check(validation < size || size == 0, "validation split: {} of {} images leaves none for training", fraction, size);
  Indices indices = all_indices(size);
  shuffle(indices, seed, "split", 0);
  TrainAndValidation parts{{indices.begin() + validation, indices.end()},
                           {indices.begin(), indices.begin() + validation}};
  std::sort(parts.train.begin(), parts.train.end());
  std::sort(parts.validation.begin(), parts.validation.end());
  return parts;
}

Indices first(const Indices& indices, int64_t count) {
  check(count >= 0 && count <= std::ssize(indices), "subset: expected 0 to {} images, got {}", indices.size(), count);
  return {indices.begin(), indices.begin() + count};
}

Indices random_subset(const Indices& indices, int64_t count, uint64_t seed) {
  Indices chosen = indices;
  shuffle(chosen, seed, "subset", 0);
  chosen = first(chosen, count);
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

}  // namespace qgrad

// Which images of a set are for what: validation split, and smaller subsets for calibration or quick runs.
#pragma once

#include <cstdint>
#include <vector>

namespace qgrad {

// Places in an ImageSet; those that the functions return are ascending.
using Indices = std::vector<int64_t>;

Indices all_indices(int64_t size);

// Every place of a set of `size` in exactly one of the two; validation gets the nearest number to fraction * size,
// chosen by (seed, "split"). Validation images are to be loaded with TransformConfig::test_time(). Throws unless
// 0 <= fraction < 1 and training images remain.
struct TrainAndValidation {
  Indices train, validation;
};
TrainAndValidation split(int64_t size, double fraction, uint64_t seed);

// The first `count`, or a random `count` chosen by (seed, "subset"). Throws where there are fewer.
Indices first(const Indices& indices, int64_t count);
Indices random_subset(const Indices& indices, int64_t count, uint64_t seed);

// Fisher and Yates' shuffle by numbers of stream (seed, name); `part` (an epoch, say) separates shuffles of one stream.
void shuffle(Indices& indices, uint64_t seed, const char* name, uint64_t part);

}  // namespace qgrad

// Sums over a batch: cut into slices that depend on its size alone, so that they are the same on any number of threads,
// and of ranks (core/ranks.h), each of which has some of the slices.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>

#include "core/parallel.h"
#include "core/ranks.h"
#include "core/tensor.h"

namespace qgrad {

// Of how many partial results a sum of `width` numbers is made: those of each slice, or of 2, 4, 8 or 16 slices
// together where the partial results would need too much memory.
int64_t most_partial_sums(int64_t width);

// The rows of a batch, an example or a part of one each, cut into chunks.
class BatchChunks {
 public:
  // This rank's `rows` where they are a `part` of a batch, all of it otherwise. Chunks have `grain` rows at most, and
  // there are most_partial_sums(width) at most where grain allows.
  BatchChunks(int64_t rows, bool part, int64_t width, int64_t grain)
      : BatchChunks(rows, rows_of_slice(rows, part), part, width, grain) {}
  // With a slice's rows given.
  BatchChunks(int64_t rows, int64_t slice, bool part, int64_t width, int64_t grain);

  int64_t count() const { return count_; }
  std::pair<int64_t, int64_t> rows(int64_t chunk) const;  // the first, and the one behind the last
  int64_t all_rows() const { return all_rows_; }          // of all ranks

  // Calls fn(chunk, first row, last) for every chunk; `grain`: rows that are worth a thread's while.
  template <class F>
  void for_each(int64_t grain, F&& fn) const {
    parallel_for(count_, std::max<int64_t>(1, grain / std::max<int64_t>(1, longest_)), [&](int64_t begin, int64_t end) {
      for (int64_t chunk = begin; chunk < end; ++chunk) {
        const auto [first, last] = rows(chunk);
        fn(chunk, first, last);
      }
    });
  }

  static int64_t rows_of_slice(int64_t rows, bool part);

 private:
  int64_t rows_, slice_, all_rows_;
  int64_t pieces_ = 1, grain_;  // of a slice, where chunks are such
  int64_t slices_ = 1, first_;  // in a chunk, where they are whole slices; the first slice of this rank
  int64_t count_, longest_;
};

// How many rows the batch has, of which this rank has so many where they are a `part`.
int64_t all_rows(int64_t rows, bool part);

// Throws where x is a part of a batch and this dimension the one of its examples, which `op` can not put together.
void check_not_over_batch(const char* op, const Tensor& x, int dim);

// Adds partial results [chunks, width] to the first of them, in order, and with `part` those of all ranks.
void fold(bool part, double* partial, int64_t chunks, int64_t width);
// The same of a tensor of partial results [chunks, ..], as one of this shape, which waits (core/pending.h) while ranks
// add theirs.
Tensor folded(bool part, Tensor partial, const Shape& shape);

// All ranks get the numbers of the first one.
void from_first(std::span<float> numbers);

// Calls add() on one rank after the other where numbers are of a part of a batch: on what those before have made of
// `total`. All get the end.
template <class T>
void add_in_turn(bool part, std::span<T> total, const std::function<void()>& add) {
  if (part && ranks())
    ranks()->in_turn(std::as_writable_bytes(total), add);
  else
    add();
}

}  // namespace qgrad

// The output positions of a band of rows, cut into what tiles compute. Private to the file that includes it.
#pragma once

#include <stdint.h>

namespace qgrad {
namespace {

// What lies where: positions of a row and rows, in numbers of x and y. rows_alike: nothing tells one row from another.
struct BlockSteps {
  int64_t x, x_row, y, y_row;
  bool rows_alike;
};

// Nearly equal blocks of at most `most` positions keep the pipelines full. Of blocks whose positions follow each other
// at equal distances, a tile takes several.
template <typename T>
class Blocks {
 public:
  Blocks(int64_t rows, int64_t columns, int64_t most, const BlockSteps& steps)
      : count_((rows * columns + most - 1) / most),
        small_(rows * columns / count_),
        larger_(rows * columns % count_),
        columns_(columns),
        steps_(steps),
        one_line_(steps.rows_alike && steps.x_row == columns * steps.x && steps.y_row == columns * steps.y) {}

  int64_t count() const { return count_; }
  void start(int64_t row, const T* x, T* y) {
    block_ = column_ = 0;
    row_ = row;
    x_ = x_start_ = x;
    y_ = y_start_ = y;
  }

  struct Block {
    int64_t positions, first_row, last_row;
  };
  // The next block, or blocks as the tile is told; of the first, the positions are written into it. Where rows are
  // alike, the first one may stand for all.
  template <typename Tile>
  [[gnu::noinline]] Block next(Tile& t) {
    const bool is_larger = block_ < larger_;
    Block b{small_ + is_larger, row_, row_};
    const int64_t alike = (is_larger ? larger_ : count_) - block_, whole = (columns_ - column_) / b.positions;
    t.blocks = one_line_ ? alike : whole < alike ? whole : alike;
    t.blocks = t.blocks < 1 ? 1 : t.blocks < kAtOnce ? t.blocks : kAtOnce;
    t.x_block = b.positions * steps_.x, t.y_block = b.positions * steps_.y;
#pragma GCC unroll 1
    for (int64_t p = 0; p < b.positions; ++p) {
      b.last_row = row_;
      t.x[p] = x_, t.y[p] = y_;
      move(1);
    }
    if (t.blocks > 1) move((t.blocks - 1) * b.positions);
    block_ += t.blocks;
    return b;
  }

 private:
  static constexpr int64_t kAtOnce = 8;  // what the caller does between calls is done as seldom as that

  void move(int64_t positions) {
    x_ += positions * steps_.x, y_ += positions * steps_.y;
    column_ += positions;
    if (one_line_ || column_ < columns_) return;
    column_ = 0;
    ++row_;
    x_ = x_start_ += steps_.x_row, y_ = y_start_ += steps_.y_row;
  }

  int64_t count_, small_, larger_, columns_;
  BlockSteps steps_;
  bool one_line_;
  int64_t block_ = 0, column_ = 0, row_ = 0;
  const T *x_ = nullptr, *x_start_ = nullptr;
  T *y_ = nullptr, *y_start_ = nullptr;
};

}  // namespace
}  // namespace qgrad

// Convolution kernels: direct, on register tiles of positions x output channels (forward) and of weights x output
// channels (weight gradient). Where a window reaches over the border, the rows under a band are copied once into
// zero-padded scratch, so that the inner loops know no border; taps over whole rows of padding are skipped.
#include "core/kernels/blocks.h"
#include "core/kernels/conv/band.h"
#include "core/kernels/conv/conv.h"
#include "core/kernels/conv/depthwise_tiled.h"
#include "core/kernels/tiles.h"

namespace qgrad {
namespace conv_tiles {
namespace {

// Consecutive floats of the input that one row of taps multiplies: all taps of the row where they touch.
struct Runs {
  int64_t count, step, length;
};

Runs tap_runs(const ConvGeometry& g) {
  const int64_t in_group = g.in / g.groups;
  if (g.groups == 1 && g.dilation_w == 1) return {1, 0, g.kernel_w * in_group};
  return {g.kernel_w, g.dilation_w * g.in, in_group};
}

// A part of the products of an element of y: rows of taps, runs of each, numbers of each.
struct Piece {
  int64_t row, rows, run, runs, k, length;
};

// All products in one piece, or, where their weights would not stay in the first caches from one tile of positions to
// the next, some at a time. What a piece adds to is what the one before stored: one chain all the same.
class Pieces {
 public:
  Pieces(const ConvGeometry& g, const Runs& runs)
      : rows_(most(1, g.kernel_h)),
        runs_(most(1, runs.count)),
        length_(runs.length),
        rows_of_piece_(rows_),
        runs_of_piece_(runs_) {
    const int64_t row = runs_ * length_;
    if (rows_ * row <= kMany) return;
    rows_of_piece_ = most(1, kBlock / row);
    if (row > kBlock) runs_of_piece_ = 1, blocks_ = divide_up(length_, kBlock);
  }

  int64_t count() const { return divide_up(rows_, rows_of_piece_) * (runs_ / runs_of_piece_) * blocks_; }
  Piece operator[](int64_t i) const {
    const int64_t block = i % blocks_, begin = length_ * block / blocks_, end = length_ * (block + 1) / blocks_;
    const int64_t of_row = runs_ / runs_of_piece_, run = i / blocks_ % of_row;
    const int64_t row = i / blocks_ / of_row * rows_of_piece_;
    return {row, least(rows_of_piece_, rows_ - row), run, runs_of_piece_, begin, end - begin};
  }
  bool starts_row(const Piece& p) const { return p.run == 0 && p.k == 0; }
  bool ends_row(const Piece& p) const { return p.run + p.runs == runs_ && p.k + p.length == length_; }

 private:
  static constexpr int64_t kMany = 1024, kBlock = 512;  // weights of an output channel

  int64_t rows_, runs_, length_, rows_of_piece_, runs_of_piece_, blocks_ = 1;
};

void forward(const ConvGeometry& g, const ConvForward& a) {
  if (a.row_begin >= a.row_end || g.out_w == 0) return;
  const Band band = make_band(g, a.x, 1, {a.row_begin, a.row_end}, a.scratch);
  const Runs runs = tap_runs(g);
  const int64_t in_group = g.in / g.groups, out_group = g.out / g.groups;
  const int64_t panels = divide_up(out_group, kPanel), tap_row = g.kernel_w * in_group * a.weight.row_step;
  const Pieces pieces(g, runs);
  const int64_t rows_read = a.goes_on ? (a.row_end - a.row_begin) * g.stride_h : 0, row_floats = g.in_w * g.in;
  const int64_t tiles = g.groups * divide_up(out_group, kTileColumns) * pieces.count() *
                        divide_up((a.row_end - a.row_begin) * g.out_w, positions_of_tile(columns_of_tile(out_group)));
  Prefetch prefetch(a.x, (a.row_end * g.stride_h + g.padding_h) * row_floats, rows_read * row_floats, tiles);
  // The processor foresees a y that is written without gaps, but not every other position of it.
  const int64_t y_floats = g.pixel_pitch == g.out || !a.goes_on ? 0 : (a.row_end - a.row_begin) * g.row_pitch;
  Prefetch prefetch_y(a.y, a.row_end * g.row_pitch, y_floats, tiles);
  const bool all_taps = taps_inside(g, a.row_begin, a.row_begin).begin == 0 &&
                        taps_inside(g, a.row_end - 1, a.row_end - 1).end == g.kernel_h;
  const BlockSteps steps{g.stride_w * g.in, g.stride_h * band.row_pitch, g.pixel_pitch, g.row_pitch, all_taps};
  for (int64_t group = 0; group < g.groups; ++group)
    for (int64_t first = 0, lanes = 0; first < out_group; first += lanes) {
      lanes = columns_of_tile(out_group - first);
      const int64_t channel = group * out_group + first;
      const float* weight = a.weight.data + (group * panels + first / kPanel) * a.weight.panel_step;
      PositionTile t{};
      t.bias = a.bias ? a.bias + channel : nullptr;
      t.weight_step = a.weight.row_step, t.panel_step = a.weight.panel_step;
      t.lanes = lanes;
      t.ending = a.ending, t.image = a.y;
      t.outer_step = g.dilation_h * band.row_pitch, t.inner_step = runs.step;
      Blocks<float> blocks(a.row_end - a.row_begin, g.out_w, positions_of_tile(t.lanes), steps);
      for (int64_t i = 0; i < pieces.count(); ++i) {
        const Piece piece = pieces[i];
        t.inner = piece.runs, t.run = piece.length;
        blocks.start(a.row_begin, band.data + group * in_group + piece.run * runs.step + piece.k,
                     a.y + a.row_begin * g.row_pitch + channel);
        for (int64_t block = 0; block < blocks.count(); block += t.blocks) {
          const auto b = blocks.next(t);
          const Taps taps = taps_inside(g, b.first_row, b.last_row);
          const int64_t begin = most(taps.begin, piece.row), end = least(taps.end, piece.row + piece.rows);
          const bool none = taps.begin == taps.end;
          prefetch.steps(t.blocks);
          prefetch_y.steps(t.blocks);
          if (none ? i > 0 : begin >= end) continue;
          if (begin > 0)  // seldom: such sums in vectors wait for the numbers that next() has stored
            for (int64_t p = 0; p < b.positions; ++p) t.x[p] += begin * t.outer_step;
          t.outer = none ? 0 : end - begin;
          t.weight = weight + begin * tap_row + (piece.run * runs.length + piece.k) * t.weight_step;
          t.add = !none && !(begin == taps.begin && pieces.starts_row(piece));
          t.ends = none || (end == taps.end && pieces.ends_row(piece));
          run_position_tile(b.positions, t);
        }
      }
    }
}

void weight_gradient(const ConvGeometry& g, const ConvWeightGradient& a) {
  if (a.images == 0 || a.row_begin >= a.row_end || g.out_w == 0) return;
  const Band band = make_band(g, a.x, a.images, {a.row_begin, a.row_end}, a.scratch);
  const Runs runs = tap_runs(g);
  const int64_t in_group = g.in / g.groups, out_group = g.out / g.groups, dy_row = g.row_pitch;
  OuterTile t{};
  t.c_pitch = g.pixel_pitch;
  t.images = a.images, t.x_image = band.image_pitch, t.b_image = g.out_h * dy_row;
  t.x_row = g.stride_h * band.row_pitch, t.b_row = dy_row;
  t.positions = g.out_w, t.x_step = g.stride_w * g.in, t.b_step = g.pixel_pitch;
  // The rows that follow are, as a rule, what the next call reads.
  const int64_t tiles = g.groups * divide_up(out_group, kOuterColumns) * runs.count *
                        divide_up(runs.length, rows_of_tile(out_group)) * g.kernel_h;
  const int64_t rows_done = (a.images - 1) * g.out_h + a.row_end, rows_next = a.images * (a.row_end - a.row_begin);
  const int64_t x_row = g.in_w * g.in, x_done = (a.images - 1) * g.in_h + a.row_end * g.stride_h + g.padding_h;
  Prefetch prefetch_x(a.x, x_done * x_row, rows_next * g.stride_h * x_row, tiles);
  Prefetch prefetch_dy(a.dy, rows_done * dy_row, rows_next * dy_row, tiles);
  for (int64_t group = 0; group < g.groups; ++group)
    for (int64_t first = 0; first < out_group; first += kOuterColumns) {
      const int64_t channel = group * out_group + first;
      t.lanes = least(kOuterColumns, out_group - first);
      const int64_t blocks = divide_up(runs.length, rows_of_tile(t.lanes));
      const int64_t small = runs.length / blocks, larger = runs.length % blocks;
      for (int64_t run = 0; run < runs.count; ++run)
        for (int64_t block = 0, k = 0; block < blocks; ++block) {
          const int64_t length = small + (block < larger);
          // The taps of one column share most of their input: they go together while it is in the cache.
          for (int64_t kh = 0; kh < g.kernel_h; ++kh) {
            const Rows rows = rows_inside(g, kh, a.row_begin, a.row_end);
            t.rows = rows.end - rows.begin;
            t.x = band.data + (rows.begin - a.row_begin) * t.x_row + kh * g.dilation_h * band.row_pitch +
                  run * runs.step + group * in_group + k;
            t.b = a.dy + rows.begin * dy_row + channel;
            t.c = a.dw + ((kh * g.kernel_w + run) * in_group + k) * g.pixel_pitch + channel;
            prefetch_x.steps(1);
            prefetch_dy.steps(1);
            run_outer_tile(length, t);
          }
          k += length;
        }
    }
}

}  // namespace
}  // namespace conv_tiles

ConvKernels QGRAD_ROW(conv)() {
  using namespace conv_tiles;
  return {forward, depthwise_forward};
}

ConvGradientKernels QGRAD_ROW(conv_gradient)() {
  using namespace conv_tiles;
  return {weight_gradient, depthwise_weight_gradient};
}

}  // namespace qgrad

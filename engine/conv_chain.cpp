// Rows are asked for from the last convolution backwards; of what is there already, the rows that a window still needs
// are kept.
#include "engine/conv_chain.h"

#include <algorithm>
#include <cstring>

#include "core/kernels/conv/pack.h"
#include "core/parallel.h"

namespace qgrad::deploy {
namespace {

constexpr int64_t kCacheBytes = 256 << 10;  // half of a small second cache

// Input rows under output rows [begin, end).
struct InputRows {
  int64_t begin, end;
};
InputRows rows_under(const ConvGeometry& g, int64_t begin, int64_t end) {
  const int64_t last = (end - 1) * g.stride_h - g.padding_h + (g.kernel_h - 1) * g.dilation_h;
  return {std::max<int64_t>(0, begin * g.stride_h - g.padding_h), std::min(g.in_h, last + 1)};
}

}  // namespace

ConvChain::ConvChain(std::vector<Link> links) : links_(std::move(links)), capacity_(links_.size()) {
  while (rows_ < links_.back().geometry.out_h && bytes(rows_ + 1) <= kCacheBytes) ++rows_;
  bytes(rows_);
}

// Bytes of a row of what a link makes.
int64_t ConvChain::output_row(size_t link) const {
  const ConvGeometry& g = links_[link].geometry;
  return g.out_w * g.out * links_[link].number;
}

// What so many rows of the last output take of those between; the capacities are set to it.
int64_t ConvChain::bytes(int64_t rows) {
  int64_t sum = 0;
  for (size_t i = links_.size(); i-- > 0;) {
    capacity_[i] = rows;
    const ConvGeometry& g = links_[i].geometry;
    rows = std::min(g.in_h, (rows - 1) * g.stride_h + (g.kernel_h - 1) * g.dilation_h + 1);
    if (i > 0) sum += rows * output_row(i - 1);
  }
  return sum;
}

void ConvChain::run(const std::byte* x, std::byte* y, const std::byte* addend, bool share) const {
  const int64_t all = links_.back().geometry.out_h, parts = share ? std::min<int64_t>(all, num_threads()) : 1;
  parallel_for(parts, 1, [&](int64_t first, int64_t last) {
    for (int64_t part = first; part < last; ++part) {
      Scratch scratch;
      const Image image{x, addend, scratch.take<Rows>(links_.size())};
      for (size_t i = 0; i < links_.size(); ++i) image.rows[i] = {y, 0, 0};
      for (size_t i = 0; i + 1 < links_.size(); ++i)
        image.rows[i].data = scratch.take<std::byte>(static_cast<size_t>(capacity_[i] * output_row(i)));
      const int64_t end = all * (part + 1) / parts;
      for (int64_t row = all * part / parts; row < end; row += rows_)
        make(image, links_.size() - 1, row, std::min(row + rows_, end));
    }
  });
}

// Rows [begin, end) of what a link makes; those before are not needed any more.
void ConvChain::make(const Image& image, size_t link, int64_t begin, int64_t end) const {
  Rows& rows = image.rows[link];
  const bool is_last = link + 1 == links_.size();
  const int64_t kept = std::max<int64_t>(0, rows.end - begin), row = output_row(link);
  if (!is_last && kept > 0)
    std::memmove(rows.data, rows.data + (begin - rows.first) * row, static_cast<size_t>(kept * row));
  rows.first = is_last ? 0 : begin;
  const int64_t next = begin + kept;
  rows.end = std::max(next, end);
  if (next >= end) return;
  const std::byte* x = image.x;
  if (link > 0) {
    const InputRows under = rows_under(links_[link].geometry, next, end);
    make(image, link - 1, under.begin, under.end);
    const Rows& input = image.rows[link - 1];
    x = input.data - input.first * output_row(link - 1);
  }
  links_[link].rows(x, rows.data - rows.first * row, next, end, is_last ? image.addend : nullptr);
}

std::vector<std::vector<size_t>> conv_chains(const Program& program, const std::vector<FloatEnding>& endings) {
  const std::vector<int32_t> readers = only_readers(program);
  std::vector<size_t> made(program.tensors.size(), 0);  // by which operation
  for (size_t i = 0; i < program.ops.size(); ++i) made[static_cast<size_t>(program.ops[i].output)] = i;
  const auto depthwise = [&](size_t op) { return is_depthwise(conv_geometry(program, program.ops[op])); };
  // The convolution that a chain which begins with `first` and has come to `last` goes on with, or its own end.
  const auto next = [&](size_t first, size_t last) {
    const auto between = static_cast<size_t>(endings[last].output);
    const int32_t reader = readers[between];
    if (endings[last].add != FloatEnding::kNone || reader < 0 || program.tensors[between].bytes() <= kCacheBytes)
      return last;
    const auto op = static_cast<size_t>(reader);
    // Rows under a window are moved for every few rows that are made: they must leave room for more.
    const ConvGeometry g = conv_geometry(program, program.ops[op]);
    const int64_t window = (g.kernel_h - 1) * g.dilation_h + 1, row = program.tensors[between].bytes() / g.in_h;
    const bool fits = program.ops[op].kind == program.ops[first].kind && depthwise(last) != depthwise(op) &&
                      2 * window * row <= kCacheBytes;
    const bool has_addend = endings[op].add == FloatEnding::kNone || endings[op].addend == program.input ||
                            made[static_cast<size_t>(endings[op].addend)] < first;
    return fits && has_addend ? op : last;
  };
  std::vector<std::vector<size_t>> chains;
  std::vector<bool> taken(program.ops.size());
  for (size_t first = 0; first < program.ops.size(); ++first) {
    const OpKind kind = program.ops[first].kind;
    if ((kind != OpKind::conv && kind != OpKind::float_conv) || taken[first]) continue;
    std::vector<size_t> chain{first};
    for (size_t op; (op = next(first, chain.back())) != chain.back();) chain.push_back(op);
    for (const size_t op : chain) taken[op] = true;
    if (chain.size() > 1) chains.push_back(std::move(chain));
  }
  return chains;
}

}  // namespace qgrad::deploy

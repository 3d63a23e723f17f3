// Loops of the integer engine, written once and compiled per instruction set. The including file defines byte_tile and
// names QGRAD_BYTE_KERNELS and QGRAD_BYTE_ISA.
namespace qgrad {
namespace {

inline uint8_t to_byte(float x, const ByteOutput& to) {
  return static_cast<uint8_t>(
      static_cast<int32_t>(to_grid(x, to.rescale, to.divisor, to.zero_point, to.low, to.high, to.qmin)));
}

// The input under a band of output rows as int16 with the origin taken off, zeros around the image.
void widen(const ConvGeometry& g, const ByteConv& a) {
  const int64_t first_row = a.row_begin * g.stride_h - g.padding_h, rows = rows_under(g, a.row_end - a.row_begin);
  const int64_t columns = columns_under(g), first_column = -g.padding_w;
  const int64_t left = first_column < 0 ? (-first_column < columns ? -first_column : columns) : 0;
  const int64_t rest = columns - left, real = g.in_w - (first_column + left);
  const int64_t inside = real < 0 ? 0 : real < rest ? real : rest;
  const auto origin = static_cast<int16_t>(a.origin);
  int16_t* to = a.scratch;
  for (int64_t row = first_row; row < first_row + rows; ++row, to += columns * g.in) {
    const bool outside = row < 0 || row >= g.in_h;
    const int64_t begin = outside ? columns * g.in : left * g.in, count = outside ? 0 : inside * g.in;
    const uint8_t* from = a.x + (outside ? 0 : (row * g.in_w + first_column + left) * g.in);
    for (int64_t i = 0; i < begin; ++i) to[i] = 0;
    int16_t* __restrict middle = to + begin;
    for (int64_t i = 0; i < count; ++i) middle[i] = static_cast<int16_t>(from[i] - origin);
    for (int64_t i = begin + count; i < columns * g.in; ++i) to[i] = 0;
  }
  to[0] = 0;  // beside an odd last number
}

void conv(const ConvGeometry& geometry, const ByteConv& arguments) {
  const ConvGeometry g = geometry;
  const ByteConv a = arguments;
  if (a.row_begin >= a.row_end || g.out_w == 0) return;
  widen(g, a);
  const ByteRuns runs = byte_runs(g);
  const int64_t row_pitch = columns_under(g) * g.in, panels = panels_of_group(g);
  const int64_t in_group = g.in / g.groups, out_group = g.out / g.groups;
  // Nearly equal blocks of positions keep the pipelines full.
  const int64_t positions = (a.row_end - a.row_begin) * g.out_w, blocks = (positions + kByteTile - 1) / kByteTile;
  const int64_t small = positions / blocks, larger = positions % blocks;
  ByteTile t{};
  t.outer = g.kernel_h, t.outer_step = g.dilation_h * row_pitch;
  t.inner = runs.count, t.inner_step = runs.step, t.pairs = runs.pairs;
  t.zero_point = a.zero_point, t.qmin = a.qmin;
  for (int64_t group = 0; group < g.groups; ++group)
    for (int64_t panel = 0; panel < panels; ++panel) {
      const int64_t at = (group * panels + panel) * kBytePanel;
      t.weight = a.weight + at * g.kernel_h * runs.count * runs.pairs * 2;
      t.bias = a.bias + at, t.rescale = a.rescale + at, t.low = a.low + at, t.high = a.high + at;
      const int64_t left = out_group - panel * kBytePanel;
      t.lanes = left < kBytePanel ? left : kBytePanel;
      const int16_t* x = a.scratch + group * in_group;
      uint8_t* y = a.y + a.row_begin * g.out_w * g.out + group * out_group + panel * kBytePanel;
      int64_t row = 0, column = 0;
      for (int64_t block = 0; block < blocks; ++block) {
        t.positions = small + (block < larger);
        for (int64_t p = 0; p < t.positions; ++p) {
          t.x[p] = x + row * g.stride_h * row_pitch + column * g.stride_w * g.in;
          t.y[p] = y;
          y += g.out;
          if (++column == g.out_w) column = 0, ++row;
        }
        byte_tile(t);
      }
    }
}

void quantize(const float* __restrict x, uint8_t* __restrict y, size_t n, const ByteOutput& output) {
  const ByteOutput to = output;
  for (size_t i = 0; i < n; ++i) y[i] = to_byte(x[i], to);
}

inline float real(uint8_t x, float origin, float rescale) { return (static_cast<float>(x) - origin) * rescale; }

void dequantize(const ByteOperand& operand, float divisor, float* __restrict y, size_t n) {
  const ByteOperand from = operand;
  for (size_t i = 0; i < n; ++i) y[i] = real(from.x[i], from.origin, from.rescale) / divisor;
}

inline float rescaled(uint8_t x, float origin, float rescale, float limit) {
  const float rounded = __builtin_nearbyintf(rescale * (static_cast<float>(x) - origin));
  const float raised = rounded < -limit - 1.0f ? -limit - 1.0f : rounded;
  return raised > limit ? limit : raised;
}

void add_two(const ByteOperand& first, const ByteOperand& second, uint8_t* __restrict y, size_t n, float limit,
             const ByteOutput& output) {
  const ByteOperand a = first, b = second;
  const ByteOutput to = output;
  for (size_t i = 0; i < n; ++i)
    y[i] = to_byte(rescaled(a.x[i], a.origin, a.rescale, limit) + rescaled(b.x[i], b.origin, b.rescale, limit), to);
}

void add(const ByteOperand* operands, size_t count, uint8_t* y, size_t n, float limit, const ByteOutput& to) {
  if (count == 2) return add_two(operands[0], operands[1], y, n, limit, to);
  for (size_t i = 0; i < n; ++i) {
    float sum = 0;
    for (size_t k = 0; k < count; ++k)
      sum += rescaled(operands[k].x[i], operands[k].origin, operands[k].rescale, limit);
    y[i] = to_byte(sum, to);
  }
}

void add_values(const ByteOperand* operands, size_t count, uint8_t* __restrict y, size_t n, const ByteOutput& output) {
  const ByteOutput to = output;
  if (count == 2) {
    const ByteOperand a = operands[0], b = operands[1];
    for (size_t i = 0; i < n; ++i)
      y[i] = to_byte(real(a.x[i], a.origin, a.rescale) + real(b.x[i], b.origin, b.rescale), to);
    return;
  }
  for (size_t i = 0; i < n; ++i) {
    float sum = 0;
    for (size_t k = 0; k < count; ++k) sum += real(operands[k].x[i], operands[k].origin, operands[k].rescale);
    y[i] = to_byte(sum, to);
  }
}

void multiply(const ByteOperand* operands, size_t count, uint8_t* y, size_t n, const ByteOutput& output) {
  const ByteOutput to = output;
  for (size_t i = 0; i < n; ++i) {
    float product = 1;
    for (size_t k = 0; k < count; ++k) product *= real(operands[k].x[i], operands[k].origin, operands[k].rescale);
    y[i] = to_byte(product, to);
  }
}

void max_pool(const uint8_t* x, uint8_t* y, const PoolGeometry& geometry) {
  const PoolGeometry g = geometry;
  for (int64_t oy = 0; oy < g.out_height; ++oy)
    for (int64_t ox = 0; ox < g.out_width; ++ox) {
      uint8_t* __restrict to = y + (oy * g.out_width + ox) * g.channels;
      for (int64_t c = 0; c < g.channels; ++c) to[c] = 0;
      for (int64_t ky = 0; ky < g.kernel_h; ++ky)
        for (int64_t kx = 0; kx < g.kernel_w; ++kx) {
          const int64_t iy = oy * g.stride_h - g.padding_h + ky, ix = ox * g.stride_w - g.padding_w + kx;
          if (iy < 0 || iy >= g.height || ix < 0 || ix >= g.width) continue;
          const uint8_t* __restrict from = x + (iy * g.width + ix) * g.channels;
          for (int64_t c = 0; c < g.channels; ++c) to[c] = from[c] > to[c] ? from[c] : to[c];
        }
    }
}

}  // namespace

ByteKernels QGRAD_BYTE_KERNELS() {
  return {QGRAD_BYTE_ISA, conv, quantize, dequantize, add, add_values, multiply, max_pool};
}

}  // namespace qgrad

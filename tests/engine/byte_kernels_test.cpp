// The integer engine's kernels against their formulas in 64-bit integers, on every instruction set.
#include "engine/kernels/byte_plan.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "core/random.h"
#include "engine/kernels/byte_table.h"
#include "support/catch.h"
#include "support/guarded.h"
#include "support/random_cases.h"

using namespace qgrad;
using namespace qgrad::test;

namespace {

std::vector<uint8_t> bytes(size_t n, uint64_t seed) {
  RandomStream random(seed, "bytes");
  std::vector<uint8_t> values(n);
  for (uint8_t& v : values) v = static_cast<uint8_t>(std::min(255.0f, 256.0f * random.uniform()));
  return values;
}

ConvGeometry square(int64_t size, int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t padding,
                    int64_t dilation = 1, int64_t groups = 1) {
  const int64_t out_size = (size + 2 * padding - (kernel - 1) * dilation - 1) / stride + 1;
  return {.in_h = size,
          .in_w = size,
          .in = in,
          .out_h = out_size,
          .out_w = out_size,
          .out = out,
          .kernel_h = kernel,
          .kernel_w = kernel,
          .stride_h = stride,
          .stride_w = stride,
          .padding_h = padding,
          .padding_w = padding,
          .dilation_h = dilation,
          .dilation_w = dilation,
          .groups = groups};
}

const ByteOutput kTo{.step = 2.7f, .low = -123, .high = 123, .origin = 131};

// For a number of steps.
uint8_t on_grid(float steps) {
  return static_cast<uint8_t>(std::min(std::max(std::nearbyint(steps), kTo.low), kTo.high) + kTo.origin);
}

struct ConvCase {
  ConvGeometry g;
  std::vector<uint8_t> x;
  std::vector<int16_t> weight;  // [kh,kw,in/groups,out]
  int32_t origin;
  float rescale;                      // of channel 0; each further one's is 1/64 larger
  uint8_t lowest = 0, highest = 255;  // bytes of x
  int sum_shift = 0;
};

float rescale_of(const ConvCase& c, int64_t channel) {
  return c.rescale * (1.0f + static_cast<float>(channel) / 64.0f);
}
int32_t bias_of(int64_t channel) { return static_cast<int32_t>(channel * 37 - 300); }

float real_bias_of(int64_t channel) { return static_cast<float>(channel) * 0.37f - 2; }

// rescale * sum of every output.
std::vector<float> rescaled_sums(const ConvCase& c) {
  const ConvGeometry& g = c.g;
  const int64_t in_group = g.in / g.groups, out_group = g.out / g.groups;
  std::vector<float> y;
  for (int64_t oy = 0; oy < g.out_h; ++oy)
    for (int64_t ox = 0; ox < g.out_w; ++ox)
      for (int64_t o = 0; o < g.out; ++o) {
        int64_t sum = 0;
        for (int64_t ky = 0; ky < g.kernel_h; ++ky)
          for (int64_t kx = 0; kx < g.kernel_w; ++kx) {
            const int64_t iy = oy * g.stride_h - g.padding_h + ky * g.dilation_h;
            const int64_t ix = ox * g.stride_w - g.padding_w + kx * g.dilation_w;
            if (iy < 0 || iy >= g.in_h || ix < 0 || ix >= g.in_w) continue;
            for (int64_t i = 0; i < in_group; ++i) {
              const auto at = static_cast<size_t>((iy * g.in_w + ix) * g.in + o / out_group * in_group + i);
              const auto tap = static_cast<size_t>(((ky * g.kernel_w + kx) * in_group + i) * g.out + o);
              sum += (int64_t{c.x[at]} - c.origin) * c.weight[tap];
            }
          }
        sum = (sum << c.sum_shift) + bias_of(o);
        REQUIRE(std::abs(sum) <= std::numeric_limits<int32_t>::max());
        y.push_back(rescale_of(c, o) * static_cast<float>(static_cast<int32_t>(sum)));
      }
  return y;
}
std::vector<uint8_t> expected(const ConvCase& c) {
  std::vector<uint8_t> y;
  for (const float x : rescaled_sums(c)) y.push_back(on_grid(x));
  return y;
}
std::vector<float> expected_floats(const ConvCase& c) {
  std::vector<float> y = rescaled_sums(c);
  for (size_t i = 0; i < y.size(); ++i) y[i] += real_bias_of(static_cast<int64_t>(i) % c.g.out);
  return y;
}

// Windows that begin within the padding and the image, bytes of a part of the grid, weights of any width.
ConvCase random_conv(uint64_t seed) {
  RandomStream random(seed, "byte convolution");
  const auto from = [&](int64_t low, int64_t high) {
    return low + random.below(static_cast<uint32_t>(high - low + 1));
  };
  ConvCase c{.g = {.in_h = from(1, 8), .in_w = from(1, 14), .groups = from(1, 3) == 1 ? from(2, 4) : 1}};
  ConvGeometry& g = c.g;
  g.in = g.groups * from(1, 20), g.out = g.groups * from(1, 36);
  if (from(1, 5) == 1) g.groups = g.in = g.out;
  g.kernel_h = from(1, 4), g.kernel_w = from(1, 4);
  g.stride_h = from(1, 3), g.stride_w = from(1, 3);
  g.dilation_h = from(1, 2), g.dilation_w = from(1, 3);
  g.padding_h = from(0, 3), g.padding_w = from(0, 3);
  g.out_h = from(1, (g.in_h + g.padding_h - 1) / g.stride_h + 1);
  g.out_w = from(1, (g.in_w + g.padding_w - 1) / g.stride_w + 1);
  c.lowest = static_cast<uint8_t>(from(0, 255)), c.highest = static_cast<uint8_t>(from(c.lowest, 255));
  c.origin = static_cast<int32_t>(from(c.lowest, c.highest));
  for (int64_t left = g.in_h * g.in_w * g.in; left > 0; --left)
    c.x.push_back(static_cast<uint8_t>(from(0, 3) ? from(c.lowest, c.highest) : c.highest));
  const int64_t largest = (int64_t{1} << from(0, 8)) - 1;
  for (int64_t left = g.kernel_h * g.kernel_w * g.in / g.groups * g.out; left > 0; --left)
    c.weight.push_back(static_cast<int16_t>(from(0, 3) ? from(-largest, largest) : -largest));
  c.sum_shift = static_cast<int>(from(0, 4));
  c.rescale = std::exp2(-static_cast<float>(from(1, 16)));
  return c;
}

// Of a layer that gives bytes, or floats.
ByteConvPlan plan_of(const ConvCase& c, const ByteArithmetic& arithmetic, bool floats = false) {
  const auto channels = static_cast<size_t>(c.g.out);
  std::vector<int32_t> bias(channels);
  std::vector<float> rescale(channels), real_bias(floats ? channels : 0);
  const std::vector<uint8_t> low(channels, static_cast<uint8_t>(kTo.low + kTo.origin));
  const std::vector<uint8_t> high(channels, static_cast<uint8_t>(kTo.high + kTo.origin));
  for (int64_t o = 0; o < c.g.out; ++o) {
    bias[static_cast<size_t>(o)] = bias_of(o);
    rescale[static_cast<size_t>(o)] = rescale_of(c, o);
    if (floats) real_bias[static_cast<size_t>(o)] = real_bias_of(o);
  }
  return ByteConvPlan({.geometry = c.g,
                       .weight = c.weight,
                       .bias = bias,
                       .sum_shift = c.sum_shift,
                       .rescale = rescale,
                       .real_bias = real_bias,
                       .low = low,
                       .high = high,
                       .lowest = c.lowest,
                       .highest = c.highest,
                       .origin = static_cast<uint8_t>(c.origin),
                       .output_origin = static_cast<int32_t>(kTo.origin)},
                      arithmetic);
}

template <class T = uint8_t>
std::vector<T> computed(const ByteKernels& isa, const ConvCase& c, int64_t band_rows) {
  const ConvGeometry& g = c.g;
  const ByteConvPlan plan = plan_of(c, isa.arithmetic, sizeof(T) == sizeof(float));
  const auto x = guarded(c.x);
  Guarded<T> y(static_cast<size_t>(g.out_h * g.out_w * g.out));
  for (int64_t begin = 0; begin < g.out_h; begin += band_rows) {
    const int64_t end = std::min(begin + band_rows, g.out_h);
    Guarded<uint8_t> scratch(static_cast<size_t>(byte_conv_scratch(plan.layer(), end - begin)));
    isa.conv(plan.layer(), {.x = x.data(),
                            .y = reinterpret_cast<uint8_t*>(y.data()),
                            .row_begin = begin,
                            .row_end = end,
                            .scratch = scratch.data()});
  }
  return {y.span().begin(), y.span().end()};
}

}  // namespace

TEST_CASE("byte convolution is exact for every geometry, on every instruction set") {
  const std::vector<ConvGeometry> geometries{square(8, 3, 16, 3, 1, 1),
                                             square(9, 16, 16, 3, 2, 1),
                                             square(5, 5, 7, 3, 1, 1),
                                             square(8, 16, 33, 1, 2, 0),
                                             square(7, 4, 20, 5, 1, 2),
                                             square(9, 6, 8, 3, 1, 2, 2),
                                             square(6, 6, 9, 3, 1, 1, 1, 3),
                                             square(6, 5, 5, 3, 1, 1, 1, 5),
                                             square(1, 64, 10, 1, 1, 0),
                                             square(3, 1, 1, 3, 1, 2),
                                             square(4, 2, 17, 4, 1, 3),
                                             square(7, 48, 48, 3, 2, 1, 1, 48),
                                             square(5, 100, 100, 3, 1, 1, 1, 100),
                                             square(3, 128, 128, 3, 1, 0, 1, 128),
                                             square(6, 32, 32, 1, 1, 0, 1, 32)};
  const int sum_shift = GENERATE(0, 5);
  for (const ConvGeometry& g : geometries) {
    const auto taps = static_cast<size_t>(g.kernel_h * g.kernel_w * g.in / g.groups * g.out);
    ConvCase c{g, bytes(static_cast<size_t>(g.in_h * g.in_w * g.in), 1), {}, 77, 0.004f};
    for (const uint8_t b : bytes(taps, 2)) c.weight.push_back(static_cast<int16_t>(b - 128));
    c.sum_shift = sum_shift;
    const std::vector<uint8_t> right = expected(c);
    const std::vector<float> floats = expected_floats(c);
    for (const ByteKernels* isa : available_byte_kernels())
      for (const int64_t band_rows : {int64_t{1}, int64_t{2}, g.out_h}) {
        INFO(isa->isa << ", " << g.in << " to " << g.out << " channels, kernel " << g.kernel_h << ", stride "
                      << g.stride_h << ", groups " << g.groups << ", bands of " << band_rows);
        REQUIRE(computed(*isa, c, band_rows) == right);
        REQUIRE(computed<float>(*isa, c, band_rows) == floats);
      }
  }
}

// Inputs at the ends of their range, weights at plus and minus `weight`: where vpmaddubsw would saturate, where sums of
// 16 bits are just full, and everywhere between.
TEST_CASE("byte convolution is exact for windows, weights and bytes of any kind, on every instruction set") {
  for (uint64_t seed = 0; seed < random_cases(150); ++seed) {
    const ConvCase c = random_conv(seed);
    const std::vector<uint8_t> right = expected(c);
    const std::vector<float> floats = expected_floats(c);
    for (const ByteKernels* isa : available_byte_kernels()) {
      INFO(isa->isa << ", seed " << seed);
      REQUIRE(computed<float>(*isa, c, 1 + static_cast<int64_t>(seed) % c.g.out_h) == floats);
      REQUIRE(computed(*isa, c, 1 + static_cast<int64_t>(seed) % c.g.out_h) == right);
    }
  }
}

TEST_CASE("byte convolution is exact where all operands are at their extremes") {
  for (const auto& [lowest, highest, origin] : {std::array{0, 255, 0},
                                                {0, 255, 128},
                                                {0, 255, 255},
                                                {128, 255, 128},
                                                {0, 128, 3},
                                                {0, 15, 0},
                                                {8, 15, 8},
                                                {7, 7, 7}})
    for (const int weight : {255, 129, 128, 127, 64, 31, 7, 1})
      for (const int pattern : {0, 1, 2, 3, 4}) {
        ConvCase c{square(6, 64, 32, 3, 1, 1), std::vector<uint8_t>(6 * 6 * 64), {}, origin, 1e-5f};
        c.lowest = static_cast<uint8_t>(lowest), c.highest = static_cast<uint8_t>(highest);
        for (size_t i = 0; i < c.x.size(); ++i) c.x[i] = pattern % 2 == 0 || i % 2 == 0 ? c.highest : c.lowest;
        for (int64_t i = 0; i < 9 * 64 * 32; ++i)
          c.weight.push_back(static_cast<int16_t>(
              pattern < 2 || (pattern < 4 && i / 32 % 2 == 0) || i / 128 % 2 == 0 ? -weight : weight));
        const std::vector<uint8_t> right = expected(c);
        for (const ByteKernels* isa : available_byte_kernels()) {
          INFO(isa->isa << ", inputs " << lowest << " to " << highest << ", zero " << origin << ", weights of "
                        << weight << ", pattern " << pattern);
          REQUIRE(computed(*isa, c, 6) == right);
        }
      }
}

TEST_CASE("byte convolution rounds half to even, and limits what is beyond every grid") {
  // One input, one weight of 1: sums are 0 to 255 and the bias. Factors of a half make every other sum a tie.
  ConvCase c{square(16, 1, 16, 1, 1, 0), std::vector<uint8_t>(256), std::vector<int16_t>(16, 1), 0, 0.5f};
  for (size_t i = 0; i < c.x.size(); ++i) c.x[i] = static_cast<uint8_t>(i);
  for (const float factor : {0.5f, 0.25f, 0x1p-36f, 0x1p6f, 0x1p40f, 1.0f / 3.0f}) {
    c.rescale = factor;
    for (const ByteKernels* isa : available_byte_kernels()) {
      INFO(isa->isa << ", factor " << factor);
      REQUIRE(computed(*isa, c, 16) == expected(c));
    }
  }
}

TEST_CASE("a byte convolution's steps are narrow where 16 bits hold their sums and wide where one would saturate") {
  ConvCase c{square(4, 64, 16, 1, 1, 0), std::vector<uint8_t>(4 * 4 * 64), {}, 0, 1e-3f};
  const auto plan_with = [&](uint8_t highest, int16_t weight) {
    c.highest = highest;
    c.weight.assign(64 * 16, weight);
    return plan_of(c, {ByteSums::of_16_bits});
  };
  CHECK(plan_with(255, 64).wide_steps() == 0);
  CHECK(plan_with(255, 64).narrow_steps() == 16);
  CHECK(plan_with(255, 64).layer().panels[0].runs[0].length == 1);
  CHECK(plan_with(255, 65).wide_steps() == 16);
  CHECK(plan_with(127, 127).wide_steps() == 0);
  CHECK(plan_with(127, 128).wide_steps() == 16);
  CHECK(plan_with(15, 7).layer().panels[0].runs[0].length == 16);
  CHECK(plan_with(255, 16).layer().panels[0].runs[0].length == 4);
  CHECK(plan_with(255, 0).narrow_steps() == 0);
}

TEST_CASE("sums of 32 bits take every step once, and one whose weights pass a byte again") {
  ConvCase c{square(4, 64, 48, 1, 1, 0), std::vector<uint8_t>(4 * 4 * 64), std::vector<int16_t>(64 * 48, 127), 0,
             1e-3f};
  const auto steps = [&] { return plan_of(c, {ByteSums::of_32_bits}).narrow_steps(); };
  CHECK(steps() == 3 * 16);
  CHECK(plan_of(c, {ByteSums::of_32_bits}).wide_steps() == 0);
  c.weight[5] = 128;  // of the first panel, which has its steps together with the second
  CHECK(steps() == 3 * 16 + 2);
  c.weight[40] = -255;  // of the third, which stands alone
  CHECK(steps() == 3 * 16 + 3);
  c.weight[5] = 255;
  CHECK(steps() == 3 * 16 + 5);
  std::fill_n(c.weight.begin(), 4 * 48, int16_t{0});  // the first step of all
  CHECK(steps() == 3 * 15);
}

TEST_CASE("a byte convolution whose steps are of all kinds is exact") {
  ConvCase c{square(9, 32, 48, 3, 1, 1), bytes(9 * 9 * 32, 5), {}, 100, 0.002f};
  int64_t i = 0;
  for (const uint8_t b : bytes(9 * 32 * 48, 6)) c.weight.push_back(static_cast<int16_t>((b - 128) >> (i++ / 768 % 6)));
  const ByteConvPlan plan = plan_of(c, {ByteSums::of_16_bits});
  CHECK(plan.wide_steps() > 20);
  CHECK(plan.narrow_steps() > 20);
  CHECK(plan.layer().panels[0].run_count > 2);
  const std::vector<uint8_t> right = expected(c);
  for (const ByteKernels* isa : available_byte_kernels()) REQUIRE(computed(*isa, c, 4) == right);
}

TEST_CASE("bytes are quantized, dequantized, added and multiplied as written, on every instruction set") {
  for (const ByteKernels* isa : available_byte_kernels())
    for (const size_t n : edge_sizes()) {
      INFO(isa->isa << ", n = " << n);
      const auto a = guarded(bytes(n, 1)), b = guarded(bytes(n, 2)), c = guarded(bytes(n, 3));
      const ByteOperand operands[] = {{a.data(), 128, 0.73f}, {b.data(), 3, 1.5f}, {c.data(), 0, 0.2f}};
      Guarded<float> x(n);
      Guarded<uint8_t> q(n), two(n), three(n), product(n);
      isa->dequantize(operands[0], x.data(), n);
      isa->quantize(x.data(), q.data(), n, kTo);
      isa->add(operands, 2, two.data(), n, kTo);
      isa->add(operands, 3, three.data(), n, kTo);
      isa->multiply(operands, 3, product.data(), n, kTo);
      for (size_t i = 0; i < n; ++i) {
        const float real[] = {(static_cast<float>(a.data()[i]) - 128) * 0.73f,
                              (static_cast<float>(b.data()[i]) - 3) * 1.5f, static_cast<float>(c.data()[i]) * 0.2f};
        REQUIRE(x.data()[i] == real[0]);
        REQUIRE(q.data()[i] == on_grid(x.data()[i] / kTo.step));
        REQUIRE(two.data()[i] == on_grid((real[0] + real[1]) / kTo.step));
        REQUIRE(three.data()[i] == on_grid((real[0] + real[1] + real[2]) / kTo.step));
        REQUIRE(product.data()[i] == on_grid(real[0] * real[1] * real[2] / kTo.step));
      }
    }
}

TEST_CASE("floats are added, multiplied and clamped as written, on every instruction set") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const ByteKernels* isa : available_byte_kernels())
    for (const size_t n : edge_sizes()) {
      INFO(isa->isa << ", n = " << n);
      std::vector<float> numbers;
      for (const uint8_t b : bytes(2 * n, 5)) numbers.push_back(b == 0 ? nan : static_cast<float>(b - 128) * 0.37f);
      const auto a = guarded(std::vector<float>(numbers.begin(), numbers.begin() + static_cast<int64_t>(n)));
      const auto b = guarded(std::vector<float>(numbers.begin() + static_cast<int64_t>(n), numbers.end()));
      Guarded<float> sum(n), product(n), clamped(n);
      isa->add_floats(a.data(), b.data(), sum.data(), n);
      isa->multiply_floats(a.data(), b.data(), product.data(), n);
      isa->clamp_floats(a.data(), clamped.data(), n, -9.5f, 20);
      const auto same = [](float x, float y) { return x == y || (std::isnan(x) && std::isnan(y)); };
      for (size_t i = 0; i < n; ++i) {
        const float x = a.data()[i], y = b.data()[i];
        REQUIRE(same(sum.data()[i], x + y));
        REQUIRE(same(product.data()[i], x * y));
        REQUIRE(same(clamped.data()[i], std::isnan(x) ? x : std::clamp(x, -9.5f, 20.0f)));
      }
    }
}

TEST_CASE("what is no number is quantized to the lowest byte") {
  for (const ByteKernels* isa : available_byte_kernels()) {
    std::vector<float> x(83, std::numeric_limits<float>::quiet_NaN());
    x[18] = x[82] = std::numeric_limits<float>::infinity();
    std::vector<uint8_t> q(x.size());
    isa->quantize(x.data(), q.data(), x.size(), kTo);
    for (size_t i = 0; i < x.size(); ++i) CHECK(q[i] == (std::isnan(x[i]) ? 8 : 254));
  }
}

TEST_CASE("padding is never the maximum of bytes") {
  const PoolGeometry g{5, 5, 17, 3, 3, 3, 3, 2, 2, 1, 1};
  const std::vector<uint8_t> x = bytes(5 * 5 * 17, 4);
  for (const ByteKernels* isa : available_byte_kernels()) {
    std::vector<uint8_t> y(3 * 3 * 17);
    isa->max_pool(x.data(), y.data(), g);
    for (int64_t oy = 0; oy < 3; ++oy)
      for (int64_t ox = 0; ox < 3; ++ox)
        for (int64_t c = 0; c < 17; ++c) {
          uint8_t largest = 0;
          for (int64_t iy = std::max<int64_t>(0, 2 * oy - 1); iy < std::min<int64_t>(5, 2 * oy + 2); ++iy)
            for (int64_t ix = std::max<int64_t>(0, 2 * ox - 1); ix < std::min<int64_t>(5, 2 * ox + 2); ++ix)
              largest = std::max(largest, x[static_cast<size_t>((iy * 5 + ix) * 17 + c)]);
          REQUIRE(y[static_cast<size_t>((oy * 3 + ox) * 17 + c)] == largest);
        }
  }
}

TEST_CASE("products of matrices are exact on every instruction set") {
  for (const ByteKernels* isa : available_byte_kernels())
    for (const int64_t rows : {1, 2, 5, 6, 7, 13})
      for (const int64_t pairs : {1, 2, 9})
        for (const int64_t panels : {1, 2, 3}) {
          INFO(isa->isa << ", " << rows << " rows, " << pairs << " pairs, " << panels << " panels");
          const int64_t columns = panels * kBytePanel;
          RandomStream random(static_cast<uint64_t>(rows * pairs * panels), "products");
          const auto numbers = [&](int64_t count) {
            Guarded<int16_t> list(static_cast<size_t>(count));
            for (size_t i = 0; i < static_cast<size_t>(count); ++i)
              list.data()[i] = static_cast<int16_t>(static_cast<int>(random.below(511)) - 255);
            return list;
          };
          const auto x = numbers(rows * pairs * 2), factors = numbers(pairs * columns * 2);
          Guarded<int32_t> y(static_cast<size_t>(rows * columns));
          isa->product({x.data(), factors.data(), y.data(), rows, pairs, panels});
          for (int64_t row = 0; row < rows; ++row)
            for (int64_t c = 0; c < columns; ++c) {
              int64_t sum = 0;
              for (int64_t k = 0; k < 2 * pairs; ++k)
                sum += int64_t{x.data()[row * pairs * 2 + k]} * factors.data()[(k / 2 * columns + c) * 2 + k % 2];
              REQUIRE(y.data()[row * columns + c] == sum);
            }
        }
}

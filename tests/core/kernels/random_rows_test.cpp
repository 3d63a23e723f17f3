// Every kernel of every row against the scalar row, on random sizes and on numbers that are hard: infinite, none at
// all, denormal, at ties, of any magnitude. Convolutions and products have tests of their own.
#include <bit>
#include <cmath>
#include <limits>

#include "core/kernels/table.h"
#include "core/random.h"
#include "support/catch.h"
#include "support/guarded.h"
#include "support/random_cases.h"
#include "support/values.h"

namespace random_rows_test {

using namespace qgrad;
using namespace qgrad::test;

namespace {

float hard_number(RandomStream& random) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  switch (random.below(12)) {
    case 0:
      return std::numeric_limits<float>::quiet_NaN();
    case 1:
      return random.below(2) ? kInfinity : -kInfinity;
    case 2:
      return random.below(2) ? 0.0f : -0.0f;
    case 3:  // any bits but a NaN's
      if (const auto any = std::bit_cast<float>(random.next()); !std::isnan(any)) return any;
      return 1;
    case 4:  // denormal
      return std::bit_cast<float>(random.next() & 0x807fffff);
    case 5:  // a tie of rounding
      return static_cast<float>(random.below(512)) - 255.5f;
    default:
      return random.normal() * std::exp2(static_cast<float>(random.below(12)) - 4);
  }
}

// What all kernels of a row are given.
struct Numbers {
  size_t rows, channels, n;             // n: rows * channels
  Guarded<float> a, b, c;               // n
  Guarded<float> row, positive, limit;  // channels
  float x, y, low, high, scale, zero_point;

  explicit Numbers(RandomStream random)
      : rows(random.below(12)),
        channels(8 * random.below(6) + (random.below(2) ? random.below(8) : 0)),
        n(rows * channels),
        a(n),
        b(n),
        c(n),
        row(channels),
        positive(channels),
        limit(channels) {
    for (Guarded<float>* numbers : {&a, &b, &c, &row})
      for (size_t i = 0; i < numbers->size(); ++i) numbers->data()[i] = hard_number(random);
    for (size_t i = 0; i < channels; ++i)
      positive.data()[i] = std::exp2(random.normal() * 4), limit.data()[i] = 10 * random.uniform();
    x = hard_number(random), y = hard_number(random);
    low = -3 * random.uniform(), high = 5 * random.uniform();
    scale = std::exp2(random.normal() * 4), zero_point = static_cast<float>(random.below(9)) - 4;
  }
};

// One after another what the kernels of a row give.
class Results {
 public:
  // A buffer of n numbers of which every one is to be written.
  template <class F>
  void add(const char* name, size_t n, F&& fill) {
    Guarded<float> y(n);
    std::fill_n(y.data(), n, 0.25f);
    fill(y.data());
    all_.emplace_back(name, std::vector<double>(y.data(), y.data() + n));
  }
  void add(const char* name, std::vector<double> values) { all_.emplace_back(name, std::move(values)); }

  // "" where the other row gave the same bits; what is no number has any.
  std::string difference(const Results& other) const {
    for (size_t k = 0; k < all_.size(); ++k)
      for (size_t i = 0; i < all_[k].second.size(); ++i) {
        const double mine = all_[k].second[i], theirs = other.all_[k].second[i];
        if (std::isnan(mine) ? !std::isnan(theirs) : std::bit_cast<uint64_t>(mine) != std::bit_cast<uint64_t>(theirs))
          return fmt::format("{}, number {}: {}, expected {}", all_[k].first, i, mine, theirs);
      }
    return "";
  }

 private:
  std::vector<std::pair<const char*, std::vector<double>>> all_;
};

void elementwise(const ElementwiseKernels& k, const Numbers& v, Results& to) {
  const auto binary = [&](const char* name, const BinaryKernels& op) {
    to.add(name, v.n, [&](float* y) { op.same(v.a.data(), v.b.data(), y, v.n); });
    to.add(name, v.n, [&](float* y) { op.scalar_right(v.a.data(), v.x, y, v.n); });
    to.add(name, v.n, [&](float* y) { op.scalar_left(v.x, v.b.data(), y, v.n); });
    to.add(name, v.n, [&](float* y) { op.row_right(v.a.data(), v.row.data(), y, v.rows, v.channels); });
  };
  binary("add", k.add), binary("sub", k.sub), binary("mul", k.mul), binary("div", k.div), binary("max", k.max);
  binary("min", k.min), binary("equal", k.equal), binary("share_of_larger", k.share_of_larger), binary("pow", k.pow);
  binary("pow_by_base", k.pow_by_base), binary("pow_by_exponent", k.pow_by_exponent), binary("leaky", k.leaky);
  binary("leaky_by_x", k.leaky_by_x);
  const auto function = [&](const char* name, const FunctionKernels& f) {
    to.add(name, v.n, [&](float* y) { f.forward(v.a.data(), y, v.n, v.high, v.low); });
    to.add(name, v.n, [&](float* dx) { f.backward(v.a.data(), v.b.data(), dx, v.n, v.high, v.low); });
  };
  function("elu", k.elu), function("hard_sigmoid", k.hard_sigmoid), function("erf", k.erf), function("gelu", k.gelu);
  function("gelu_tanh", k.gelu_tanh), function("hard_swish", k.hard_swish), function("silu", k.silu);
  function("softplus", k.softplus);
  const auto unary = [&](const char* name, ElementwiseKernels::Unary f) {
    to.add(name, v.n, [&](float* y) { f(v.a.data(), y, v.n); });
  };
  unary("neg", k.neg), unary("abs", k.abs), unary("square", k.square), unary("sqrt", k.sqrt), unary("exp", k.exp);
  unary("log", k.log), unary("relu", k.relu), unary("relu6", k.relu6), unary("sigmoid", k.sigmoid);
  unary("tanh", k.tanh);
  to.add("clamp", v.n, [&](float* y) { k.clamp(v.a.data(), y, v.n, v.low, v.high); });
  to.add("add_scaled", v.n, [&](float* y) { k.add_scaled(v.a.data(), v.x, y, v.n); });
  to.add("scaled_difference", v.n, [&](float* y) { k.scaled_difference(v.a.data(), v.b.data(), v.x, y, v.n); });
  const auto backward = [&](const char* name, ElementwiseKernels::Backward f) {
    to.add(name, v.n, [&](float* dx) { f(v.a.data(), v.b.data(), dx, v.n); });
  };
  backward("abs_backward", k.abs_backward), backward("square_backward", k.square_backward);
  backward("sqrt_backward", k.sqrt_backward), backward("relu_backward", k.relu_backward);
  backward("relu6_backward", k.relu6_backward), backward("sigmoid_backward", k.sigmoid_backward);
  backward("tanh_backward", k.tanh_backward);
}

void quantize(const QuantizeKernels& k, const Numbers& v, Results& to) {
  for (const QuantGrid& grid : {QuantGrid{.scale = v.scale, .zero_point = v.zero_point, .qmin = -8, .qmax = 7},
                                QuantGrid{.scale = v.scale, .low = v.low, .high = v.high}}) {
    to.add("quantize", v.n, [&](float* q) { k.quantize(v.a.data(), q, v.n, grid); });
    to.add("quantizing fake_quant", v.n, [&](float* y) { k.fake_quant(v.a.data(), y, v.n, grid); });
    to.add("fake_quant_streaming", v.n, [&](float* y) { k.fake_quant_streaming(v.a.data(), y, v.n, grid); });
  }
  const ChannelQuantGrid channels{v.positive.data(), v.limit.data(), -8, 7};
  to.add("quantize_channels", v.n, [&](float* q) { k.quantize_channels(v.a.data(), q, v.rows, v.channels, channels); });
  to.add("fake_quant_channels", v.n,
         [&](float* y) { k.fake_quant_channels(v.a.data(), y, v.rows, v.channels, channels); });
  to.add("dequantize", v.n, [&](float* x) { k.dequantize(v.a.data(), x, v.n, v.scale, v.zero_point); });
  to.add("dequantize_channels", v.n, [&](float* x) {
    k.dequantize_channels(v.a.data(), x, v.rows, v.channels, v.positive.data(), v.limit.data());
  });
  to.add("mask_outside", v.n, [&](float* dx) { k.mask_outside(v.a.data(), v.b.data(), dx, v.n, v.low, v.high); });
  const float levels[] = {-1, -0.3f, 0, 0.5f, 1}, thresholds[] = {-0.65f, -0.15f, 0.25f, 0.75f};
  to.add("to_levels", v.n, [&](float* y) { k.to_levels(v.a.data(), y, v.n, {levels, thresholds, 5, v.scale}); });
  GridSums sums;
  to.add("learned_backward", v.n,
         [&](float* dx) { sums = k.learned_backward(v.a.data(), v.b.data(), v.c.data(), dx, v.n, v.low, v.high); });
  to.add("learned_backward's sums", {sums.inside, sums.below, sums.above});
  to.add("min_max", 2, [&](float* ends) { k.min_max(v.a.data(), v.n, ends, ends + 1); });
  to.add("min_max_channels", 2 * v.channels,
         [&](float* ends) { k.min_max_channels(v.a.data(), v.rows, v.channels, ends, ends + v.channels); });
}

void integer(const IntegerKernels& k, const Numbers& v, Results& to) {
  const IntegerGrid grid{
      .scale = v.scale, .divisor = v.high + 1, .zero_point = v.zero_point, .qmin = -128, .qmax = 127};
  const Requantization output{.low = v.low, .divisor = v.high + 1, .grid = grid};
  to.add("to_integers", v.n, [&](float* y) { k.to_integers(v.a.data(), y, v.n, grid); });
  to.add("to_integers_rescaled", v.n,
         [&](float* y) { k.to_integers_rescaled(v.a.data(), y, v.n, grid, v.scale, -100, 90); });
  to.add("integers' fake_quant", v.n, [&](float* y) { k.fake_quant(v.a.data(), y, v.n, grid); });
  to.add("requantize", v.n, [&](float* y) { k.requantize(v.a.data(), y, v.n, v.scale, v.high, output); });
  to.add("requantize_channels", v.n, [&](float* y) {
    k.requantize_channels(v.a.data(), y, v.rows, v.channels, v.positive.data(), v.limit.data(), output);
  });
}

// Masks are bits of bytes.
template <class F>
std::vector<double> mask_of(size_t n, F&& fill) {
  Guarded<uint8_t> mask(n / 8);
  fill(mask.data());
  return {mask.data(), mask.data() + mask.size()};
}

void norm(const NormKernels& k, const Numbers& v, Results& to) {
  const size_t channels = v.channels / 8 * 8, rows = channels ? v.n / channels : 0, n = rows * channels;
  const float *x = v.a.data(), *dy = v.b.data();
  const auto sums = [&](auto&& fill) {
    Guarded<double> all(2 * channels);
    fill(all.data(), all.data() + channels);
    return std::vector<double>(all.data(), all.data() + all.size());
  };
  Guarded<uint8_t> mask(n / 8);
  k.mask_of_range(x, mask.data(), n, v.low, v.high);
  to.add("mask_of_range", {mask.data(), mask.data() + mask.size()});
  to.add("moments", sums([&](double* a, double* b) { k.moments(x, rows, channels, v.row.data(), a, b); }));
  for (const uint8_t* where : {static_cast<const uint8_t*>(nullptr), static_cast<const uint8_t*>(mask.data())}) {
    to.add("gradient_moments",
           sums([&](double* a, double* b) { k.gradient_moments(x, dy, where, rows, channels, v.row.data(), a, b); }));
    to.add("normalize_backward", n, [&](float* dx) {
      k.normalize_backward(x, dy, where, dx, rows, channels, v.row.data(), v.positive.data(), v.limit.data(),
                           v.row.data());
    });
  }
  to.add("apply_mask", n, [&](float* dx) { k.apply_mask(dy, mask.data(), dx, n); });
  constexpr float kNone = std::numeric_limits<float>::infinity();
  for (const bool add : {false, true})
    for (const auto& [relu, limit] : {std::pair(false, kNone), {true, kNone}, {true, 0.75f}}) {
      const Normalization f{v.row.data(), v.positive.data(), v.limit.data(), add, relu, limit};
      to.add("the mask of normalize", mask_of(n, [&, relu = relu](uint8_t* inside) {
               to.add("normalize", n,
                      [&](float* y) { k.normalize(f, x, v.c.data(), y, relu ? inside : nullptr, rows, channels); });
               if (!relu) std::fill_n(inside, n / 8, uint8_t{0});
             }));
    }
}

void reduce(const ReduceKernels& k, const Numbers& v, Results& to) {
  to.add("sum, dot, squared_distance",
         {k.sum(v.a.data(), v.n), k.dot(v.a.data(), v.b.data(), v.n), k.squared_distance(v.a.data(), v.b.data(), v.n)});
  const size_t columns = v.channels / 2;
  Guarded<double> sums(columns);
  k.sum_columns(v.a.data(), v.rows, columns, v.channels, sums.data());
  to.add("sum_columns", {sums.data(), sums.data() + columns});
}

Results all_of(const Kernels& row, const Numbers& v) {
  Results results;
  elementwise(row.elementwise, v, results);
  quantize(row.quantize, v, results);
  integer(row.integer, v, results);
  norm(row.norm, v, results);
  reduce(row.reduce, v, results);
  results.add("add_column_sums", v.channels, [&](float* sum) {
    row.gemm.add_column_sums(static_cast<int64_t>(v.rows), static_cast<int64_t>(v.channels), v.a.data(), sum);
  });
  return results;
}

PoolGeometry random_windows(RandomStream random) {
  const auto from = [&](int64_t low, int64_t high) {
    return low + random.below(static_cast<uint32_t>(high - low + 1));
  };
  PoolGeometry g{.height = from(1, 9), .width = from(1, 9), .channels = from(1, 70)};
  g.kernel_h = from(1, 4), g.kernel_w = from(1, 4), g.stride_h = from(1, 3), g.stride_w = from(1, 3);
  g.dilation_h = from(1, 2), g.dilation_w = from(1, 2);
  g.padding_h = from(0, std::min(g.kernel_h * g.dilation_h, g.height) - 1);
  g.padding_w = from(0, std::min(g.kernel_w * g.dilation_w, g.width) - 1);
  g.out_height = from(1, (g.height + g.padding_h - 1) / g.stride_h + 1);
  g.out_width = from(1, (g.width + g.padding_w - 1) / g.stride_w + 1);
  g.count_padding = random.below(2) == 0;
  return g;
}

}  // namespace

TEST_CASE("every kernel gives the scalar row's bits for numbers of any kind and sizes of any kind") {
  for (uint64_t seed = 0; seed < random_cases(300); ++seed) {
    const Numbers numbers(RandomStream(seed, "hard numbers"));
    const Results expected = all_of(*available_kernels().front(), numbers);
    for (const Kernels* row : available_kernels().subspan(1)) {
      INFO(row->isa << ", seed " << seed << ", " << numbers.rows << " x " << numbers.channels);
      REQUIRE(all_of(*row, numbers).difference(expected) == "");
    }
  }
}

TEST_CASE("pooling kernels give the scalar row's bits for windows of any kind") {
  for (uint64_t seed = 0; seed < random_cases(300); ++seed) {
    const PoolGeometry g = random_windows(RandomStream(seed, "windows"));
    const auto inputs = static_cast<size_t>(g.height * g.width * g.channels),
               outputs = static_cast<size_t>(g.out_height * g.out_width * g.channels);
    const auto x = guarded(normal_values(inputs, seed)), dy = guarded(normal_values(outputs, seed + 1));
    const auto all = [&](const PoolKernels& k) {
      Results results;
      Guarded<float> y(outputs);
      k.max_forward(x.data(), y.data(), g);
      results.add("max_forward", {y.data(), y.data() + outputs});
      const auto gradient = [&](const char* name, auto&& backward) {
        results.add(name, inputs, [&](float* dx) {
          std::fill_n(dx, inputs, 0.0f);
          backward(dx);
        });
      };
      gradient("max_backward", [&](float* dx) { k.max_backward(x.data(), y.data(), dy.data(), dx, g); });
      results.add("average_forward", outputs, [&](float* average) { k.average_forward(x.data(), average, g); });
      gradient("average_backward", [&](float* dx) { k.average_backward(dy.data(), dx, g); });
      return results;
    };
    const Results expected = all(available_kernels().front()->pool);
    for (const Kernels* row : available_kernels().subspan(1)) {
      INFO(row->isa << ", seed " << seed);
      REQUIRE(all(row->pool).difference(expected) == "");
    }
  }
}

}  // namespace random_rows_test

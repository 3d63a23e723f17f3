// Reductions, normalisation and pooling: the formulas, and the same bits on every instruction set.
#include <bit>
#include <cmath>
#include <utility>

#include "core/kernels/table.h"
#include "support/catch.h"
#include "support/guarded.h"
#include "support/values.h"

using namespace qgrad;
using namespace qgrad::test;

namespace {

const Kernels& scalar() { return *available_kernels()[0]; }

bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (std::bit_cast<uint64_t>(a[i]) != std::bit_cast<uint64_t>(b[i])) return false;
  return true;
}

std::vector<double> to_vector(const Guarded<double>& g) { return {g.span().begin(), g.span().end()}; }

}  // namespace

TEST_CASE("sums, dot products and squared distances are right to double precision, with the same bits everywhere") {
  for (const Kernels* isa : available_kernels())
    for (const size_t n : edge_sizes())
      for (const Guard guard : {Guard::end, Guard::one_past_begin}) {
        const auto a = guarded(normal_values(n, 1), guard), b = guarded(normal_values(n, 2), guard);
        long double sum = 0, dot = 0, distance = 0;
        for (size_t i = 0; i < n; ++i) {
          sum += a.data()[i];
          dot += static_cast<long double>(a.data()[i]) * b.data()[i];
          const long double difference = static_cast<long double>(a.data()[i]) - b.data()[i];
          distance += difference * difference;
        }
        const auto all = [&](const ReduceKernels& reduce) {
          return std::vector<double>{reduce.sum(a.data(), n), reduce.dot(a.data(), b.data(), n),
                                     reduce.squared_distance(a.data(), b.data(), n)};
        };
        const std::vector<double> got = all(isa->reduce);
        INFO(isa->isa << ", n = " << n);
        REQUIRE(std::fabs(got[0] - static_cast<double>(sum)) <= 1e-12);
        REQUIRE(std::fabs(got[1] - static_cast<double>(dot)) <= 1e-12);
        REQUIRE(std::fabs(got[2] - static_cast<double>(distance)) <= 1e-11);
        REQUIRE(same_bits(got, all(scalar().reduce)));
      }
}

TEST_CASE("column sums take each column of a wider matrix") {
  for (const Kernels* isa : available_kernels())
    for (const size_t columns : edge_sizes())
      for (const size_t rows : {0, 1, 2, 19}) {
        const size_t stride = columns + 3;
        const size_t elements = rows ? (rows - 1) * stride + columns : 0;  // the last row ends at the forbidden page
        const auto x = guarded(normal_values(elements, 1));
        std::vector<double> expected(columns, 0.0);
        for (size_t r = 0; r < rows; ++r)
          for (size_t c = 0; c < columns; ++c) expected[c] += double{x.data()[r * stride + c]};
        Guarded<double> sums(columns);
        isa->reduce.sum_columns(x.data(), rows, columns, stride, sums.data());
        INFO(isa->isa << ", " << rows << " x " << columns);
        REQUIRE(same_bits(to_vector(sums), expected));
      }
}

TEST_CASE("normalisation kernels follow their formulas on every instruction set") {
  for (const Kernels* isa : available_kernels())
    for (const size_t channels : edge_sizes())
      for (const size_t rows : {1, 2, 7, 8, 19}) {
        const auto x = guarded(normal_values(rows * channels, 1)), dy = guarded(normal_values(rows * channels, 2));
        const auto mean = guarded(normal_values(channels, 3)), a = guarded(normal_values(channels, 4));
        const auto b = guarded(normal_values(channels, 5)), shift = guarded(normal_values(channels, 6));
        std::vector<double> sums[4];
        std::vector<float> short_sums[4];
        for (int k = 0; k < 4; ++k) sums[k].resize(channels), short_sums[k].resize(channels);
        std::vector<float> normalized(x.size()), backward(x.size());
        for (size_t i = 0; i < x.size(); ++i) {
          const size_t c = i % channels;
          const float centred = x.data()[i] - mean.data()[c];
          short_sums[0][c] += centred;
          short_sums[1][c] += centred * centred;
          short_sums[2][c] += dy.data()[i];
          short_sums[3][c] += dy.data()[i] * centred;
          const size_t row = i / channels;
          if (row % 8 == 7 || row + 1 == rows)
            for (int k = 0; k < 4; ++k) sums[k][c] += double{std::exchange(short_sums[k][c], 0.0f)};
          const float scaled = centred * a.data()[c], from_dy = dy.data()[i] * a.data()[c],
                      from_x = centred * b.data()[c];
          normalized[i] = scaled + shift.data()[c];
          backward[i] = (from_dy + from_x) + shift.data()[c];
        }
        INFO(isa->isa << ", " << rows << " x " << channels);
        Guarded<double> first(channels), second(channels);
        isa->norm.moments(x.data(), rows, channels, mean.data(), first.data(), second.data());
        REQUIRE(same_bits(to_vector(first), sums[0]));
        REQUIRE(same_bits(to_vector(second), sums[1]));
        isa->norm.gradient_moments(x.data(), dy.data(), nullptr, rows, channels, mean.data(), first.data(),
                                   second.data());
        REQUIRE(same_bits(to_vector(first), sums[2]));
        REQUIRE(same_bits(to_vector(second), sums[3]));
        Guarded<float> y(x.size());
        const Normalization f{mean.data(), a.data(), shift.data(), false, false};
        isa->norm.normalize(f, x.data(), nullptr, y.data(), nullptr, rows, channels);
        REQUIRE(bits(y.span()) == bits(normalized));
        auto dx = guarded(normal_values(rows * channels, 2));
        isa->norm.normalize_backward(x.data(), dx.data(), nullptr, dx.data(), rows, channels, mean.data(), a.data(),
                                     b.data(), shift.data());
        REQUIRE(bits(dx.span()) == bits(backward));
      }
}

TEST_CASE("masks cut, select and combine on every instruction set") {
  const auto bit = [](const Guarded<uint8_t>& mask, size_t i) { return (mask.data()[i / 8] >> (i % 8) & 1) != 0; };
  for (const Kernels* isa : available_kernels())
    for (const size_t channels : {8, 16, 40})
      for (const size_t rows : {1, 7, 8, 21}) {
        const size_t n = rows * channels;
        const auto x = guarded(normal_values(n, 1)), dy = guarded(normal_values(n, 2));
        const auto addend = guarded(normal_values(n, 7));
        const auto mean = guarded(normal_values(channels, 3)), a = guarded(normal_values(channels, 4));
        const auto b = guarded(normal_values(channels, 5)), shift = guarded(normal_values(channels, 6));
        INFO(isa->isa << ", " << rows << " x " << channels);
        for (const bool add : {false, true}) {
          std::vector<float> expected(n);
          for (size_t i = 0; i < n; ++i) {
            const size_t c = i % channels;
            const float scaled = (x.data()[i] - mean.data()[c]) * a.data()[c];
            const float shifted = scaled + shift.data()[c], sum = add ? shifted + addend.data()[i] : shifted;
            expected[i] = sum < 0 ? 0 : sum;
          }
          Guarded<float> y(n);
          Guarded<uint8_t> positive(n / 8);
          const Normalization f{mean.data(), a.data(), shift.data(), add, true};
          isa->norm.normalize(f, x.data(), add ? addend.data() : nullptr, y.data(), positive.data(), rows, channels);
          REQUIRE(bits(y.span()) == bits(expected));
          for (size_t i = 0; i < n; ++i) REQUIRE(bit(positive, i) == (expected[i] > 0));
        }
        Guarded<uint8_t> mask(n / 8);
        isa->norm.mask_of_range(x.data(), mask.data(), n, -0.5f, 0.75f);
        std::vector<float> kept(n);
        for (size_t i = 0; i < n; ++i) {
          REQUIRE(bit(mask, i) == (x.data()[i] >= -0.5f && x.data()[i] <= 0.75f));
          kept[i] = bit(mask, i) ? dy.data()[i] : 0;
        }
        Guarded<float> cut(n), plain(n);
        isa->norm.apply_mask(dy.data(), mask.data(), cut.data(), n);
        REQUIRE(bits(cut.span()) == bits(kept));
        isa->norm.normalize_backward(x.data(), cut.data(), nullptr, plain.data(), rows, channels, mean.data(), a.data(),
                                     b.data(), shift.data());
        isa->norm.normalize_backward(x.data(), dy.data(), mask.data(), cut.data(), rows, channels, mean.data(),
                                     a.data(), b.data(), shift.data());
        REQUIRE(bits(cut.span()) == bits(plain.span()));
        Guarded<double> sum(channels), products(channels), masked_sum(channels), masked_products(channels);
        isa->norm.gradient_moments(x.data(), kept.data(), nullptr, rows, channels, mean.data(), sum.data(),
                                   products.data());
        isa->norm.gradient_moments(x.data(), dy.data(), mask.data(), rows, channels, mean.data(), masked_sum.data(),
                                   masked_products.data());
        REQUIRE(same_bits(to_vector(masked_sum), to_vector(sum)));
        REQUIRE(same_bits(to_vector(masked_products), to_vector(products)));
      }
}

TEST_CASE("pooling kernels equal a plain walk over the windows on every instruction set") {
  const int64_t channels = GENERATE(1, 3, 7, 8, 9, 16, 33, 65, 129);
  const PoolGeometry g = GENERATE_COPY(PoolGeometry{.height = 4,
                                                    .width = 6,
                                                    .channels = channels,
                                                    .out_height = 2,
                                                    .out_width = 3,
                                                    .kernel_h = 2,
                                                    .kernel_w = 2,
                                                    .stride_h = 2,
                                                    .stride_w = 2,
                                                    .padding_h = 0,
                                                    .padding_w = 0},
                                       PoolGeometry{.height = 5,
                                                    .width = 4,
                                                    .channels = channels,
                                                    .out_height = 3,
                                                    .out_width = 4,
                                                    .kernel_h = 3,
                                                    .kernel_w = 3,
                                                    .stride_h = 2,
                                                    .stride_w = 1,
                                                    .padding_h = 1,
                                                    .padding_w = 1});
  const auto inputs = static_cast<size_t>(g.height * g.width * channels),
             outputs = static_cast<size_t>(g.out_height * g.out_width * channels);
  std::vector<float> values = normal_values(inputs, 1);
  for (float& v : values) v = std::nearbyint(v * 2) / 2;  // coarse, so that windows have equal maxima
  const auto x = guarded(values), dy = guarded(normal_values(outputs, 2));

  std::vector<float> largest(outputs), average(outputs), to_largest(inputs), to_all(inputs);
  for (int64_t oy = 0; oy < g.out_height; ++oy)
    for (int64_t ox = 0; ox < g.out_width; ++ox)
      for (int64_t c = 0; c < channels; ++c) {
        const auto out = static_cast<size_t>((oy * g.out_width + ox) * channels + c);
        float best = -std::numeric_limits<float>::infinity(), sum = 0;
        size_t best_at = 0;
        const float share = dy.data()[out] / static_cast<float>(g.kernel_h * g.kernel_w);
        for (int64_t ky = 0; ky < g.kernel_h; ++ky)
          for (int64_t kx = 0; kx < g.kernel_w; ++kx) {
            const int64_t iy = oy * g.stride_h - g.padding_h + ky, ix = ox * g.stride_w - g.padding_w + kx;
            if (iy < 0 || iy >= g.height || ix < 0 || ix >= g.width) continue;
            const auto in = static_cast<size_t>((iy * g.width + ix) * channels + c);
            if (values[in] > best) best = values[in], best_at = in;
            sum += values[in];
            to_all[in] += share;
          }
        largest[out] = best;
        average[out] = sum / static_cast<float>(g.kernel_h * g.kernel_w);
        to_largest[best_at] += dy.data()[out];
      }

  for (const Kernels* isa : available_kernels()) {
    INFO(isa->isa << ", " << channels << " channels");
    Guarded<float> y(outputs), dx(inputs), dx_average(inputs);
    isa->pool.max_forward(x.data(), y.data(), g);
    CHECK(bits(y.span()) == bits(largest));
    isa->pool_gradient.max_backward(x.data(), y.data(), dy.data(), dx.data(), g);
    CHECK(std::ranges::equal(dx.span(), to_largest));
    isa->pool.average_forward(x.data(), y.data(), g);
    CHECK(std::ranges::equal(y.span(), average));
    isa->pool_gradient.average_backward(dy.data(), dx_average.data(), g);
    CHECK(std::ranges::equal(dx_average.span(), to_all));
  }
}

TEST_CASE("a NaN in a max-pooling window comes out") {
  const PoolGeometry g{.height = 2,
                       .width = 2,
                       .channels = 9,
                       .out_height = 1,
                       .out_width = 1,
                       .kernel_h = 2,
                       .kernel_w = 2,
                       .stride_h = 2,
                       .stride_w = 2,
                       .padding_h = 0,
                       .padding_w = 0};
  for (const Kernels* isa : available_kernels())
    for (size_t position = 0; position < 4; ++position) {
      std::vector<float> x = normal_values(36, 1), y(9);
      x[position * 9 + 2] = std::nanf("");
      isa->pool.max_forward(x.data(), y.data(), g);
      CHECK(std::isnan(y[2]));
      CHECK(!std::isnan(y[1]));
    }
}

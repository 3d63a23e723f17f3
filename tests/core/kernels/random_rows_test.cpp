// Every kernel of every row against the scalar row, on random sizes and on numbers that are hard: infinite, none at
// all, denormal, at ties, of any magnitude.
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "core/kernels/cases.h"
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

// What all kernels of a row are given, each array up to a page that nobody may touch.
class Numbers {
 public:
  explicit Numbers(RandomStream random)
      : height_(random.below(16) ? 1 + random.below(6) : 0),
        width_(1 + random.below(6)),
        channels_(8 * random.below(6) + (random.below(2) ? random.below(8) : 0)),
        a_(height_ * width_ * channels_),
        b_(a_.size()),
        c_(a_.size()),
        tame_(a_.size()),
        mask_(a_.size() / 8),
        of_channels_(channels_),
        positive_(channels_),
        also_(channels_) {
    for (Guarded<float>* numbers : {&a_, &b_, &c_, &of_channels_})
      for (size_t i = 0; i < numbers->size(); ++i) numbers->data()[i] = hard_number(random);
    for (size_t i = 0; i < mask_.size(); ++i) mask_.data()[i] = static_cast<uint8_t>(random.next());
    for (size_t i = 0; i < tame_.size(); ++i) tame_.data()[i] = random.normal();
    for (size_t i = 0; i < channels_; ++i)
      positive_.data()[i] = std::exp2(random.normal() * 4), also_.data()[i] = 10 * random.uniform();
    x_ = hard_number(random);
    low_ = -3 * random.uniform(), high_ = 5 * random.uniform();
    scale_ = std::exp2(random.normal() * 4), zero_point_ = static_cast<float>(random.below(9)) - 4;
  }

  KernelNumbers view() const {
    return {height_,
            width_,
            channels_,
            a_.data(),
            b_.data(),
            c_.data(),
            tame_.data(),
            mask_.data(),
            of_channels_.data(),
            positive_.data(),
            also_.data(),
            x_,
            low_,
            high_,
            scale_,
            zero_point_};
  }

 private:
  size_t height_, width_, channels_;
  Guarded<float> a_, b_, c_, tame_;
  Guarded<uint8_t> mask_;
  Guarded<float> of_channels_, positive_, also_;
  float x_, low_, high_, scale_, zero_point_;
};

// One after another what the kernels of a row give. Every number of a result is to be written.
class Results final : public KernelCases {
 public:
  bool family(const char* name) override {
    family_ = name;
    return true;
  }
  void visit(const std::string& kernel, size_t count, size_t bytes_each,
             const std::function<void(void*)>& run) override {
    Guarded<uint8_t> y(count * bytes_each);
    for (size_t i = 0; i < y.size(); i += 4) std::memcpy(y.data() + i, &kUnwritten, std::min<size_t>(4, y.size() - i));
    run(y.data());
    std::vector<double> numbers;
    for (size_t i = 0; i < count; ++i) numbers.push_back(number(y.data() + i * bytes_each, bytes_each));
    all_.emplace_back(std::string(family_) + "." + kernel, std::move(numbers));
  }

  // "" where the other row gave the same bits; what is no number has any.
  std::string difference(const Results& other) const {
    REQUIRE(all_.size() == other.all_.size());
    for (size_t k = 0; k < all_.size(); ++k)
      for (size_t i = 0; i < all_[k].second.size(); ++i) {
        const double mine = all_[k].second[i], theirs = other.all_[k].second[i];
        if (std::isnan(mine) ? !std::isnan(theirs) : std::bit_cast<uint64_t>(mine) != std::bit_cast<uint64_t>(theirs))
          return fmt::format("{}, number {}: {}, expected {}", all_[k].first, i, mine, theirs);
      }
    return "";
  }

 private:
  static constexpr float kUnwritten = 0.25f;
  static double number(const uint8_t* at, size_t bytes) {
    float of_float;
    double of_double;
    if (bytes == 1) return *at;
    std::memcpy(&of_float, at, 4);
    if (bytes == 4) return of_float;
    std::memcpy(&of_double, at, 8);
    return of_double;
  }

  const char* family_ = "";
  std::vector<std::pair<std::string, std::vector<double>>> all_;
};

Results all_of(const Kernels& row, const Numbers& numbers) {
  Results results;
  add_all_cases(row, numbers.view(), results);
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
      INFO(row->isa << ", seed " << seed << ", " << numbers.view().rows() << " x " << numbers.view().channels);
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
    const auto all = [&](const Kernels& k) {
      Results results;
      results.family("pool");
      Guarded<float> y(outputs);
      k.pool.max_forward(x.data(), y.data(), g);
      results.add<float>("max_forward", outputs, [&](float* largest) { k.pool.max_forward(x.data(), largest, g); });
      const auto gradient = [&](const char* name, auto&& backward) {
        results.add<float>(name, inputs, [&](float* dx) {
          std::fill_n(dx, inputs, 0.0f);
          backward(dx);
        });
      };
      gradient("max_backward", [&](float* dx) { k.pool_gradient.max_backward(x.data(), y.data(), dy.data(), dx, g); });
      results.add<float>("average_forward", outputs,
                         [&](float* average) { k.pool.average_forward(x.data(), average, g); });
      gradient("average_backward", [&](float* dx) { k.pool_gradient.average_backward(dy.data(), dx, g); });
      return results;
    };
    const Results expected = all(*available_kernels().front());
    for (const Kernels* row : available_kernels().subspan(1)) {
      INFO(row->isa << ", seed " << seed);
      REQUIRE(all(*row).difference(expected) == "");
    }
  }
}

}  // namespace random_rows_test

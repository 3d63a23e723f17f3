// Reading and comparing golden vectors.
#include "support/golden.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <vector>

#include "core/error.h"
#include "core/ops.h"
#include "nn/layout.h"
#include "support/catch.h"

namespace qgrad::golden {
namespace {

bool equal(double actual, double expected, Tolerance t) {
  if (std::isnan(expected)) return std::isnan(actual);
  if (std::isinf(expected) || !std::isfinite(actual)) return actual == expected;
  return std::abs(actual - expected) <= t.absolute + t.relative * std::abs(expected);
}

// [1,0,2] of a flat index.
std::string position(const Shape& shape, int64_t flat) {
  std::string text;
  for (int i = 0; i < shape.rank(); ++i)
    text += fmt::format("{}{}", i ? "," : "", flat / shape.numel_from(i + 1) % shape[i]);
  return "[" + text + "]";
}

std::string beginning(const Json& value) {
  const std::string text = value.dump();
  return text.size() <= 300 ? text : text.substr(0, 300) + "..";
}

}  // namespace

std::filesystem::path directory() {
  const char* chosen = std::getenv("QGRAD_GOLDEN_DIR");
  return chosen ? std::filesystem::path(chosen) : shared_file("golden");
}

std::filesystem::path shared_file(std::string_view relative_path) {
  return std::filesystem::path(QGRAD_SOURCE_DIR).parent_path() / "shared" / relative_path;
}

bool available(const std::filesystem::path& file) {
  if (std::filesystem::exists(file)) return true;
  fmt::print(stderr, "skipped: {} ({} is not there)\n", Catch::getResultCapture().getCurrentTestName(), file.string());
  return false;
}

std::optional<Json> load(std::string_view name) {
  const std::filesystem::path file = directory() / name;
  if (!available(file)) return std::nullopt;
  return read_json(file);
}

Tally::~Tally() {
  fmt::print(stderr, "golden {}: {} cases compared\n", name_, compared_);
  if (compared_ == 0) FAIL_CHECK("golden " << name_ << ": no case was compared");
}

void for_each_case(std::string_view name, const CaseFn& run) {
  const std::optional<Json> file = load(name);
  if (!file) return;
  Tally tally{std::string(name)};
  const Json& cases = file->at("cases");
  for (size_t i = 0; i < cases.size(); ++i) {
    if (cases[i].value("variant", "") == "upstream") continue;
    INFO(name << ", case " << i << ": " << beginning(cases[i]));
    if (run(*file, cases[i])) tally.compared();
  }
}

double real(const Json& value) {
  if (value.is_number()) return value.get<double>();
  const std::string text = value.is_string() ? value.get<std::string>() : "";
  if (text == "inf") return std::numeric_limits<double>::infinity();
  if (text == "-inf") return -std::numeric_limits<double>::infinity();
  check(text == "nan", "golden: expected a number, got {}", value.dump());
  return std::numeric_limits<double>::quiet_NaN();
}

float number(const Json& value) { return static_cast<float>(real(value)); }

bool is_tensor(const Json& value) { return value.is_object() && value.contains("shape") && value.contains("data"); }

Tensor tensor(const Json& value) {
  if (!is_tensor(value)) return Tensor::scalar(number(value));
  std::vector<int64_t> dims;
  for (const Json& dim : value.at("shape")) dims.push_back(dim.get<int64_t>());
  std::vector<float> data;
  for (const Json& x : value.at("data")) data.push_back(number(x));
  return Tensor::from(Shape(std::span<const int64_t>(dims)), data);
}

Tensor activation(const Json& value) {
  const Tensor t = tensor(value);
  const int nchw_to_nhwc[] = {0, 2, 3, 1};
  return t.rank() == 4 ? transpose(t, nchw_to_nhwc) : t;
}

Tensor file_activation(const Tensor& value) {
  const int nhwc_to_nchw[] = {0, 3, 1, 2};
  return value.rank() == 4 ? transpose(value, nhwc_to_nchw) : value;
}

bool raises(const Json& expected) { return expected.is_object() && expected.contains("raises"); }

std::string difference(double actual, double expected, Tolerance tolerance) {
  return equal(actual, expected, tolerance) ? "" : fmt::format("got {:.9g}, expected {:.9g}", actual, expected);
}

std::string difference(const Tensor& actual, const Tensor& expected, Tolerance tolerance) {
  if (!actual.defined() || !expected.defined())
    return actual.defined() == expected.defined() ? ""
           : actual.defined()                     ? "got a tensor, expected none"
                                                  : "got no tensor";
  if (actual.shape() != expected.shape())
    return fmt::format("got shape {}, expected {}", actual.shape(), expected.shape());
  int64_t wrong = 0, worst = 0;
  double worst_error = -1;
  for (int64_t i = 0; i < actual.numel(); ++i) {
    const double a = actual.data()[static_cast<size_t>(i)], e = expected.data()[static_cast<size_t>(i)];
    if (equal(a, e, tolerance)) continue;
    ++wrong;
    const double error = std::isfinite(a - e) ? std::abs(a - e) : std::numeric_limits<double>::infinity();
    if (error > worst_error) worst_error = error, worst = i;
  }
  if (wrong == 0) return "";
  return fmt::format("{} of {} differ; worst at {}: got {:.9g}, expected {:.9g}", wrong, actual.numel(),
                     position(actual.shape(), worst), actual.data()[static_cast<size_t>(worst)],
                     expected.data()[static_cast<size_t>(worst)]);
}

}  // namespace qgrad::golden

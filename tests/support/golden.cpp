// Reading and comparing golden vectors.
#include "support/golden.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

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

// Names of files that were opened by any test.
std::set<std::string>& opened() {
  static std::set<std::string> names;
  return names;
}

std::vector<std::string> golden_files() {
  std::vector<std::string> names;
  if (!std::filesystem::is_directory(directory())) return names;
  for (const auto& entry : std::filesystem::directory_iterator(directory()))
    if (entry.path().extension() == ".json") names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

bool is_of_family(std::string_view name, std::string_view family) {
  if (!name.starts_with(family)) return false;
  std::string_view rest = name.substr(family.size());
  rest.remove_suffix(std::string_view(".json").size());
  return rest.empty() ||
         (rest.size() > 1 && rest[0] == '_' && rest.find_first_not_of("0123456789", 1) == std::string_view::npos);
}

}  // namespace

std::filesystem::path directory() {
  const char* chosen = std::getenv("QGRAD_GOLDEN_DIR");
  if (!chosen) return shared_file("golden");
  check(std::filesystem::is_directory(chosen), "QGRAD_GOLDEN_DIR: {} is no folder", chosen);
  return chosen;
}

std::filesystem::path shared_file(std::string_view relative_path) {
  return std::filesystem::path(QGRAD_SOURCE_DIR).parent_path() / "shared" / relative_path;
}

bool available(const std::filesystem::path& file) {
  if (std::filesystem::exists(file)) return true;
  fmt::print(stderr, "skipped: {} ({} is not there)\n", Catch::getResultCapture().getCurrentTestName(), file.string());
  return false;
}

std::vector<GoldenFile> load_all(std::string_view family) {
  std::vector<GoldenFile> files;
  for (const std::string& name : golden_files())
    if (is_of_family(name, family)) {
      opened().insert(name);
      files.push_back({name, read_json(directory() / name)});
    }
  if (files.empty()) available(directory() / fmt::format("{}.json", family));
  return files;
}

std::optional<Json> load(std::string_view family) {
  std::vector<GoldenFile> files = load_all(family);
  if (files.empty()) return std::nullopt;
  check(files.size() == 1, "golden {}: expected one file, got {}", family, files.size());
  return std::move(files[0].content);
}

std::vector<std::string> unopened() {
  if (opened().empty()) return {};
  std::vector<std::string> names = golden_files();
  std::erase_if(names, [](const std::string& name) { return opened().contains(name); });
  return names;
}

void leave_unopened(std::string_view beginning) {
  for (const std::string& name : golden_files())
    if (name.starts_with(beginning)) {
      fmt::print(stderr, "golden {}: skipped\n", name);
      opened().insert(name);
    }
}

void Tally::add(const Outcome& outcome) {
  if (outcome.skipped_because.empty()) {
    ++compared_;
  } else {
    ++skipped_;
    ++reasons_[outcome.skipped_because];
  }
}

Tally::~Tally() {
  std::string why;
  for (const auto& [reason, count] : reasons_) why += fmt::format("{}{} {}", why.empty() ? " (" : "; ", count, reason);
  fmt::print(stderr, "golden {}: {} cases compared, {} skipped{}{}\n", name_, compared_, skipped_, why,
             why.empty() ? "" : ")");
  if (compared_ == 0) FAIL_CHECK("golden " << name_ << ": no case was compared");
}

void for_each_case(std::string_view family, const CaseFn& run) {
  const std::vector<GoldenFile> files = load_all(family);
  if (files.empty()) return;
  Tally tally{std::string(family)};
  for (const auto& [name, file] : files)
    for (size_t i = 0; i < file.at("cases").size(); ++i) {
      const Json& golden_case = file["cases"][i];
      INFO(name << ", case " << i << ": " << beginning(golden_case));
      tally.add(golden_case.value("variant", "") == "upstream" ? skipped("upstream's bug") : run(file, golden_case));
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

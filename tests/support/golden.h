// Golden vectors: finding the files, reading their tensors, comparing with them. The format is described by the README
// that lies beside the files.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/json.h"
#include "core/tensor.h"

namespace qgrad::golden {

// $QGRAD_GOLDEN_DIR, or ../shared/golden beside the source tree.
std::filesystem::path directory();
// A file that lies beside the source tree in ../shared (models/..), whether or not it exists.
std::filesystem::path shared_file(std::string_view relative_path);

// Whether the file is there; if not, says on stderr that the calling test is skipped.
bool available(const std::filesystem::path& file);
// A golden file by name, or nothing (and the message) when it is absent.
std::optional<Json> load(std::string_view name);

// Counts what a test compares. At its end it prints "golden 03: 64 cases compared"; a test that compared nothing fails.
class Tally {
 public:
  explicit Tally(std::string name) : name_(std::move(name)) {}
  ~Tally();
  Tally(const Tally&) = delete;
  Tally& operator=(const Tally&) = delete;
  void compared() { ++compared_; }
  int count() const { return compared_; }

 private:
  std::string name_;
  int compared_ = 0;
};

// Calls run(file, case) for every case that is not variant "upstream" (informative: the bugs of the original); run
// returns whether it compared something. The case's number and its beginning are added to failure messages. Skips with
// a message where the file is absent, fails when nothing was compared.
using CaseFn = std::function<bool(const Json& file, const Json& golden_case)>;
void for_each_case(std::string_view name, const CaseFn& run);

// --- values ---
float number(const Json& value);              // a number, or "inf", "-inf", "nan"
double real(const Json& value);               // the same in double, for calibration statistics
bool is_tensor(const Json& value);            // {"shape", "data"}
Tensor tensor(const Json& value);             // as it stands in the file; a bare number is a scalar
Tensor activation(const Json& value);         // rank 4: NCHW -> NHWC; otherwise as it stands
Tensor file_activation(const Tensor& value);  // rank 4: NHWC -> NCHW
bool raises(const Json& expected);            // {"raises": ..}: an error of any kind is right

// --- comparisons: "" when equal, else what differs most, for CHECK(difference(..) == "") ---
// |actual - expected| <= absolute + relative * |expected|; infinities must be equal, NaN equals NaN.
struct Tolerance {
  double relative = 1e-5, absolute = 1e-6;
};
inline constexpr Tolerance kExact{0, 0};
std::string difference(const Tensor& actual, const Tensor& expected, Tolerance tolerance = {});
std::string difference(double actual, double expected, Tolerance tolerance = {});

}  // namespace qgrad::golden

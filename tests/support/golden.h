// Golden vectors: finding the files, reading their tensors, comparing with them. The format is described by the README
// that lies beside the files.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "core/tensor.h"

namespace qgrad::golden {

// $QGRAD_GOLDEN_DIR, which must exist then, or ../shared/golden beside the source tree.
std::filesystem::path directory();
// A file that lies beside the source tree in ../shared (models/..), whether or not it exists.
std::filesystem::path shared_file(std::string_view relative_path);

// Whether the file is there; if not, says on stderr that the calling test is skipped.
bool available(const std::filesystem::path& file);

// The files of a family: "<family>.json" and "<family>_<number>.json", whatever the numbers. Those that are here count
// as opened. Empty, with the message, where there is none.
struct GoldenFile {
  std::string name;
  Json content;
};
std::vector<GoldenFile> load_all(std::string_view family);
// The one file of a family that is not split, or nothing (and the message).
std::optional<Json> load(std::string_view family);
// The names of golden files that were not opened; none where no test asked for any.
std::vector<std::string> unopened();
// Says that tests leave the files whose names begin so, since something that they need is not there.
void leave_unopened(std::string_view beginning);

// What became of a case: compared, or skipped for a reason.
struct Outcome {
  std::string skipped_because;  // empty: compared
};
inline const Outcome kCompared{};
inline Outcome skipped(std::string reason) { return {std::move(reason)}; }

// Counts what a test compares. At its end it prints "golden 03: 64 cases compared, 2 skipped (2 upstream's bug)"; a
// test that compared nothing fails.
class Tally {
 public:
  explicit Tally(std::string name) : name_(std::move(name)) {}
  ~Tally();
  Tally(const Tally&) = delete;
  Tally& operator=(const Tally&) = delete;
  void add(const Outcome& outcome);

 private:
  std::string name_;
  int compared_ = 0, skipped_ = 0;
  std::map<std::string, int> reasons_;
};

// Calls run(file, case) for every case of a family's files that is not variant "upstream" (informative: the bugs of the
// original). The case's file, number and beginning are added to failure messages. Skips with a message where there is
// no file, fails when nothing was compared.
using CaseFn = std::function<Outcome(const Json& file, const Json& golden_case)>;
void for_each_case(std::string_view family, const CaseFn& run);

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

// The body of an integer program, which gets a head with its checksum. One that is sound and small runs, with every
// tensor made and without, to the same numbers.
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "engine/engine.h"
#include "engine/program_file.h"
#include "tests/fuzz/fuzz.h"

namespace qgrad::fuzz {
namespace {

std::string with_head(std::string_view body) {
  uint64_t checksum = 0xcbf29ce484222325;
  for (const char c : body) checksum = (checksum ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  char numbers[sizeof deploy::kProgramVersion + sizeof checksum];
  std::memcpy(numbers, &deploy::kProgramVersion, sizeof deploy::kProgramVersion);
  std::memcpy(numbers + sizeof deploy::kProgramVersion, &checksum, sizeof checksum);
  return "QGRADINT" + std::string(numbers, sizeof numbers) + std::string(body);
}

}  // namespace

void one_input(std::string_view bytes) {
  const deploy::Engine engine(deploy::program_from_bytes(with_head(bytes), "fuzzed"));
  if (engine.arena_bytes() > 1 << 16) return;
  const std::vector<float> x(static_cast<size_t>(engine.input_count()), 0.5f);
  std::vector<float> y(static_cast<size_t>(engine.output_count())), traced = y;
  engine.run(x, y);
  engine.run(x, traced, [](int64_t, const deploy::TensorInfo&, const void*) {});
  for (size_t i = 0; i < y.size(); ++i)
    if (y[i] != traced[i] && !(std::isnan(y[i]) && std::isnan(traced[i]))) std::abort();
}

}  // namespace qgrad::fuzz

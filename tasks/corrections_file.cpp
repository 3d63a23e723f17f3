// One safetensors file, whose metadata say what it is of.
#include "tasks/corrections_file.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tasks/progress.h"

namespace qgrad {

CorrectionsFile::CorrectionsFile(OutputFolder& folder, const Json& of) : folder_(folder), of_(of.dump()) {}

std::optional<NamedTensors> CorrectionsFile::load() {
  const std::filesystem::path file = folder_.path() / kName;
  if (!std::filesystem::exists(file)) return std::nullopt;
  TensorFile before = read_safetensors(file);
  if (before.metadata["of"] != of_) {
    note(fmt::format("{}: is of another config, network, data or version, and does not count", file.string()));
    return std::nullopt;
  }
  note(fmt::format("{}: corrections go on from there", file.string()));
  return std::move(before.tensors);
}

void CorrectionsFile::save(const NamedTensors& learned) {
  write_safetensors(folder_.to_write(kName), {.metadata = {{"of", of_}}, .tensors = learned});
}

}  // namespace qgrad

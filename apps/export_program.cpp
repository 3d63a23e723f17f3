// Integer programs as files.
#include "apps/export_program.h"

#include <fmt/format.h>

#include "apps/progress.h"
#include "quant/deploy/file.h"

namespace qgrad {
namespace {

// A program runs without its classes' names, so a data set that is not here is no reason to stop.
std::vector<std::string> class_names(const DataConfig& data, const std::optional<std::string>& folder) {
  Config dataset = data.dataset;
  try {
    return open_dataset(dataset, folder)->class_names();
  } catch (const Error& e) {
    note(fmt::format("classes stay without names: {}", e.what()));
    return {};
  }
}

}  // namespace

size_t export_program(const std::filesystem::path& file, deploy::Program program, const DataConfig& data,
                      const std::optional<std::string>& data_folder) {
  const int32_t channels = program.tensors[static_cast<size_t>(program.input)].channels;
  program.mean = per_channel(data.transforms.mean, channels, "mean");
  program.deviation = per_channel(data.transforms.std, channels, "std");
  program.class_names = class_names(data, data_folder);
  const std::string bytes = deploy::program_bytes(program);
  write_file_atomically(file, bytes);
  return bytes.size();
}

}  // namespace qgrad

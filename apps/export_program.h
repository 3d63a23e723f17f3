// Writing integer programs with what their users need to know about images and classes.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "apps/experiment.h"
#include "quant/deploy/program.h"

namespace qgrad {

// Adds the normalisation and, where the data set is here (`data_folder`: --data), its classes' names. Returns the
// number of bytes written.
size_t export_program(const std::filesystem::path& file, deploy::Program program, const DataConfig& data,
                      const std::optional<std::string>& data_folder);

}  // namespace qgrad

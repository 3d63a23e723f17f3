// The studies of ResNet-20 on CIFAR-10 in one picture: the accuracy that is left at 8 to 2 bits, by what was done for
// it.
#pragma once

#include <filesystem>
#include <string>

namespace qgrad {

// SVG text, from the results of studies in this folder: results.json, few_bits.json and two_bits.json.
std::string frontier_picture(const std::filesystem::path& studies);

}  // namespace qgrad

// One color for one kind of thing, in all tables and charts; each is readable on white and on the dark page.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

namespace qgrad {

inline constexpr const char* kFloatColor = "#7b8794";
inline constexpr const char* kPostTrainColor = "#d0651f";
inline constexpr const char* kQuantAwareColor = "#2f7fd0";
inline constexpr const char* kTrainingColor = "#b8860b";
inline constexpr const char* kValidationColor = "#2e8b57";
inline constexpr const char* kLearningRateColor = "#9460c8";
inline constexpr const char* kWeightsColor = "#4f8f9f";
inline constexpr const char* kActivationsColor = "#c04a7a";
inline constexpr const char* kLevelsColor = "#b8860b";  // of quantization grids

// Of 2 to 8 bits, where bars or marks of several stand side by side; fewer and more have those of the ends.
constexpr const char* color_of_bits(int bits) {
  constexpr std::array kColors{"#d0651f", "#b8860b", "#2f7fd0", "#9460c8", "#4f8f9f", "#c03a6b", "#2e8b57"};
  return kColors[static_cast<size_t>(std::clamp(bits, 2, 8) - 2)];
}

}  // namespace qgrad

// Levels that are not evenly spaced: on a finer grid that has them all, and as a table.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "core/grid.h"
#include "nn/module.h"
#include "quant/quantization.h"

namespace qgrad::deploy {

// Times which all values are integers, the largest of them as small as it can be, and `most` at the most; none where no
// number does that.
std::optional<float> common_scale(std::span<const float> values, int most);

// The grid of the fewest bits that has all integers of this one.
Grid widened_to_bits(const Grid& grid);

// Where the level of a number is looked up: numbers become integers of this grid before, with the offset added to them.
struct LookupGrid {
  Grid grid;
  float offset = 0;
};
// For numbers that can get a bias, and levels on a grid that begins at zero: where all thresholds lie half way between
// integers of that grid, or on them, half its steps and half of such a step as the offset. Else as lookup_grid below.
LookupGrid lookup_grid(const Levels& levels, const Grid& of_levels);
// 8 bits that reach beyond the thresholds, which lie as near to the middle of two integers as such a grid can have
// them.
LookupGrid lookup_grid(const Levels& levels);

// What a function of every number less an offset gives, as its level.
class LevelLookup final : public UnaryModule {
 public:
  LevelLookup(ModulePtr function, float offset, Levels levels);
  std::string_view kind() const override { return "LevelLookup"; }
  Effect effect() const override;

 protected:
  Tensor forward(const Tensor& x) override;

 private:
  Child function_;  // without a name: programs see it as a part of this
  float offset_;
  Levels levels_;
};

}  // namespace qgrad::deploy

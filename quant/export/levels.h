// Levels that are not evenly spaced: on a finer grid that has them all, and as a table.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "core/grid.h"
#include "nn/module.h"

namespace qgrad::deploy {

// Times which all values are integers, the largest of them as small as it can be, and `most` at the most; none where no
// number does that.
std::optional<float> common_scale(std::span<const float> values, int most);

// The grid of the fewest bits that has all integers of this one.
Grid widened_to_bits(const Grid& grid);
// 8 bits that reach as far as the levels, from which the nearest level is looked up.
Grid grid_before(std::span<const float> levels);
// Half the steps of a grid of levels that begins at zero: what lies in the middle between two levels is one of its
// integers.
Grid half_steps(const Grid& grid);

// What a function of every number less an offset gives, as the nearest of the levels, which ascend; half way, the lower
// one.
class NearestLevel final : public UnaryModule {
 public:
  NearestLevel(ModulePtr function, float offset, std::vector<float> levels);
  std::string_view kind() const override { return "NearestLevel"; }
  Effect effect() const override;

 protected:
  Tensor forward(const Tensor& x) override;

 private:
  Child function_;  // without a name: programs see it as a part of this
  float offset_;
  std::vector<float> levels_;
};

}  // namespace qgrad::deploy

// Small random networks, with numbers in them that representations have trouble to hold.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nn/module.h"

namespace qgrad::test {

// What is done to one layer of a network, chosen at random; a new kind stands here, in planted_names() and in plant().
enum class Planted {
  faint_channel,   // its batch norm, or its weights, all but silence a channel that has a bias
  zero_layer,      // all weights are zero
  zero_channel,    // those of one channel
  positive_layer,  // all weights have the same sign, so that they fill one half of a grid
  negative_layer,
  equal_weights,
  huge_layer,     // weights of 1e4 times their size, a batch norm behind them brings their sums back
  tiny_layer,     // 1e-4
  constant_bias,  // biases far larger than what the sums reach
};
const std::vector<std::pair<std::string, Planted>>& planted_names();
std::vector<Planted> all_planted();

// For images [N,8,8,3], five outputs: convolutions plain, strided, dilated, grouped and depthwise, residual sums,
// concatenations, pools, fully connected layers, with batch norms or biases, as the seed says. In evaluation mode.
ModulePtr random_net(uint64_t seed, std::span<const Planted> planted);

// "seed 3: faint_channel, zero_layer"
std::string describe_net(uint64_t seed, std::span<const Planted> planted);

}  // namespace qgrad::test

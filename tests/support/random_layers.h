// Random networks as configs have them: any layers that fit one after another, joined with earlier ones.
#pragma once

#include "core/config.h"
#include "nn/module.h"

namespace qgrad::test {

// {"class": "network", ..} for images [N,8,8,3], five outputs, as the seed says. Layers are named "layer0", "layer1",
// ..
Config random_network(uint64_t seed);

// With parameters drawn by the seed, biases and factors of norms too; in evaluation mode.
ModulePtr random_layers(const Config& network, uint64_t seed);

}  // namespace qgrad::test

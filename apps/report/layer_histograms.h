// The numbers of every layer with the levels that they are put on, to be opened layer by layer: HTML.
#pragma once

#include <string>

#include "core/json.h"

namespace qgrad {

// `layers`: as tasks/layer_facts.h writes them.
std::string layer_histograms(const Json& layers);

}  // namespace qgrad

// The pictures of docs/quantizers: what the quantizers give, and their gradients, computed by the quantizers
// themselves.
#pragma once

#include <map>
#include <string>

namespace qgrad {

// SVG text by the name of the file. The same bytes wherever they are made.
std::map<std::string, std::string> quantizer_pictures();

}  // namespace qgrad

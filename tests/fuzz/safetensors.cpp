// A safetensors file.
#include "nn/safetensors.h"

#include "tests/fuzz/fuzz.h"

namespace qgrad::fuzz {

void one_input(std::string_view bytes) { read_safetensors(file_of(bytes)); }

}  // namespace qgrad::fuzz

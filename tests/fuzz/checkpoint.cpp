// A checkpoint: its network is built, prepared by its quantizer, and gets its numbers.
#include "tasks/model_file.h"
#include "tests/fuzz/fuzz.h"

namespace qgrad::fuzz {

void one_input(std::string_view bytes) { load_model(file_of(bytes), std::nullopt); }

}  // namespace qgrad::fuzz

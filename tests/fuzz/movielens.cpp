// A file of ratings in any of MovieLens' forms, and its split.
#include "data/movielens.h"

#include "tests/fuzz/fuzz.h"

namespace qgrad::fuzz {

void one_input(std::string_view bytes) { leave_one_out(read_movielens(file_of(bytes))); }

}  // namespace qgrad::fuzz

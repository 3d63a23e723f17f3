// One operation of a program whose tensors are sound.
#pragma once

#include "engine/program.h"

namespace qgrad::deploy {

// Throws what is wrong with it.
void check_op(const Program& program, const Op& op);

// Products of a sound operation for one image, or numbers that it looks at.
int64_t work_of(const Program& program, const Op& op);

}  // namespace qgrad::deploy

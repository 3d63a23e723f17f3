// Operations whose results nobody uses.
#pragma once

#include "engine/program.h"

namespace qgrad::deploy {

// The program without tensors, and operations that make them, that neither its output nor another tensor is made of.
void leave_out_unread(Program& program);

}  // namespace qgrad::deploy

// The message of the Error that a call throws.
#pragma once

#include <string>

#include "core/error.h"

namespace qgrad::test {

template <class F>
std::string error_of(F&& call) {
  try {
    call();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace qgrad::test

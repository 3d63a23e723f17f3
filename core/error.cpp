// Throwing and locating errors.
#include "core/error.h"

namespace qgrad {

Error Error::located(std::string_view module_path) const {
  Error e(module_path.empty() ? std::string(what()) : fmt::format("{}, in {}", what(), module_path));
  e.located_ = true;
  return e;
}

namespace detail {
void throw_error(fmt::string_view why, fmt::format_args args) { throw Error(fmt::vformat(why, args)); }
}  // namespace detail

}  // namespace qgrad

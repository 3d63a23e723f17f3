// The one exception type of qgrad, and check(): formatting happens only on failure.
#pragma once

#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <string_view>

namespace qgrad {

// Something the caller can act on, in one line: what was expected, what arrived, where. A NaN in it has no sign, which
// depends on the processor and means nothing.
class Error : public std::runtime_error {
 public:
  explicit Error(std::string what);

  // The same error with ", in <path>" appended; the innermost module to see it names itself, outer ones do not.
  Error located(std::string_view module_path) const;
  bool is_located() const { return located_; }

 private:
  bool located_ = false;
};

namespace detail {
[[noreturn]] void throw_error(fmt::string_view why, fmt::format_args args);
}

template <class... A>
[[noreturn]] void fail(fmt::format_string<A...> why, A&&... args) {
  detail::throw_error(why, fmt::make_format_args(args...));
}

// Throws Error(why) unless ok. Arguments are taken by reference and formatted only on failure.
template <class... A>
void check(bool ok, fmt::format_string<A...> why, A&&... args) {
  if (!ok) [[unlikely]]
    detail::throw_error(why, fmt::make_format_args(args...));
}

}  // namespace qgrad

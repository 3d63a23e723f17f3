// Throwing and locating errors.
#include "core/error.h"

#include <cctype>
#include <utility>

namespace qgrad {
namespace {

// "-nan" where it is a word by itself becomes "nan".
std::string without_signs_of_nans(std::string text) {
  constexpr std::string_view kNan = "-nan";
  const auto is_word = [&](size_t i) {
    return i < text.size() && (std::isalnum(static_cast<unsigned char>(text[i])) || text[i] == '_');
  };
  for (size_t at = text.find(kNan); at != std::string::npos; at = text.find(kNan, at + 1))
    if ((at == 0 || !is_word(at - 1)) && !is_word(at + kNan.size())) text.erase(at, 1);
  return text;
}

}  // namespace

Error::Error(std::string what) : std::runtime_error(without_signs_of_nans(std::move(what))) {}

Error Error::located(std::string_view module_path) const {
  Error e(module_path.empty() ? std::string(what()) : fmt::format("{}, in {}", what(), module_path));
  e.located_ = true;
  return e;
}

namespace detail {
void throw_error(fmt::string_view why, fmt::format_args args) { throw Error(fmt::vformat(why, args)); }
}  // namespace detail

}  // namespace qgrad

// What differs, in words.
#include "tasks/data_description.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace qgrad {
namespace {

constexpr size_t kNamesShown = 20;

std::string names_text(const std::vector<std::string>& names) {
  if (names.size() <= kNamesShown) return joined(names);
  return fmt::format("{} and {} more", joined(std::span(names).first(kNamesShown)), names.size() - kNamesShown);
}

std::vector<std::string> without(const std::vector<std::string>& names, const std::vector<std::string>& others) {
  std::vector<std::string> left;
  std::ranges::copy_if(names, std::back_inserter(left),
                       [&](const std::string& name) { return std::ranges::count(others, name) == 0; });
  return left;
}

// " ('rose' only here, 'tulip' only there)", or where only the order differs, that.
std::string difference_text(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  const std::vector<std::string> only_a = without(a, b), only_b = without(b, a);
  if (only_a.empty() && only_b.empty()) return "in another order";
  std::string text;
  if (!only_a.empty()) text = fmt::format("only the first has {}", names_text(only_a));
  if (!only_b.empty()) text += fmt::format("{}only the second has {}", text.empty() ? "" : ", ", names_text(only_b));
  return text;
}

void check_classes_agree(const Described& a, const Described& b) {
  const auto &first = a.data.classes, &second = b.data.classes;
  if (first.empty() || second.empty() || first == second) return;
  fail("the classes of {} are {}, those of {} are {}: {}", a.whose, names_text(first), b.whose, names_text(second),
       difference_text(first, second));
}

}  // namespace

std::string image_text(std::span<const int64_t> image) { return fmt::format("{}", fmt::join(image, "x")); }

void check_agree(const Described& a, const Described& b) {
  const auto check_numbers = [&](const char* what, const auto& first, const auto& second) {
    check(first.empty() || second.empty() || first == second, "{} of {} is {}, that of {} is {}", what, a.whose,
          fmt::join(first, ", "), b.whose, fmt::join(second, ", "));
  };
  const auto check_count = [&](const char* what, const std::optional<int64_t>& first,
                               const std::optional<int64_t>& second) {
    check(!first || !second || *first == *second, "{} has {} {}, {} has {}", a.whose, first.value_or(0), what, b.whose,
          second.value_or(0));
  };
  check(a.data.image.empty() || b.data.image.empty() || a.data.image == b.data.image,
        "the images of {} are {} (height, width, channels), those of {} are {}", a.whose, image_text(a.data.image),
        b.whose, image_text(b.data.image));
  check_numbers("the mean", a.data.mean, b.data.mean);
  check_numbers("the std", a.data.std, b.data.std);
  check_classes_agree(a, b);
  check_count("users", a.data.users, b.data.users);
  check_count("items", a.data.items, b.data.items);
}

}  // namespace qgrad

// Reading rating files, making synthetic ones, and splitting by time.
#include "data/movielens.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <numeric>
#include <set>

#include "core/random.h"
#include "data/split.h"

namespace qgrad {
namespace {

struct MovieLensConfig {
  std::string dir;
};
void fields(Fields& v, MovieLensConfig& c) {
  v("dir", c.dir, {.help = "folder with ratings.dat, ratings.csv or u.data", .required = true});
}
class MovieLens final : public RatingSource {
 public:
  explicit MovieLens(MovieLensConfig config) : config_(std::move(config)) {}
  InteractionSet read() const override { return read_movielens(find_movielens(config_.dir)); }

 private:
  MovieLensConfig config_;
};
class SyntheticRatings final : public RatingSource {
 public:
  explicit SyntheticRatings(const SyntheticRatingsConfig& config) : config_(config) {}
  InteractionSet read() const override { return synthetic_ratings(config_); }

 private:
  SyntheticRatingsConfig config_;
};
const Registered<RatingSource, MovieLens, MovieLensConfig> movielens{
    "movielens", "MovieLens' ratings, as users and the items that they know"};
const Registered<RatingSource, SyntheticRatings, SyntheticRatingsConfig> synthetic{
    "synthetic_ratings", "ratings drawn by a seed, for trying recommenders"};

struct Line {
  int64_t user = 0, item = 0, timestamp = 0;
};

// Four fields, the third of which is any number.
std::optional<Line> parse_line(std::string_view text, std::string_view separator) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0;;) {
    const size_t end = text.find(separator, begin);
    parts.push_back(text.substr(begin, end - begin));
    if (end == std::string_view::npos) break;
    begin = end + separator.size();
  }
  if (parts.size() != 4) return std::nullopt;
  const auto parse = [](std::string_view part, auto& value) {
    const auto [rest, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    return error == std::errc() && rest == part.data() + part.size();
  };
  Line line;
  double rating = 0;
  if (!parse(parts[0], line.user) || !parse(parts[1], line.item) || !parse(parts[2], rating) ||
      !parse(parts[3], line.timestamp))
    return std::nullopt;
  return line;
}

// Numbers from 0 in ascending order of the ids.
std::map<int64_t, int32_t> numbered(const std::vector<Line>& lines, int64_t Line::*id) {
  std::map<int64_t, int32_t> numbers;
  for (const Line& line : lines) numbers[line.*id] = 0;
  int32_t next = 0;
  for (auto& [key, number] : numbers) number = next++;
  return numbers;
}

float gumbel(RandomStream& random) { return -std::log(-std::log(std::max(random.uniform(), 1e-7f) * 0.999999f)); }

std::vector<float> factors(int64_t count, int64_t width, uint64_t seed, const char* name) {
  RandomStream random(seed, name);
  std::vector<float> values(static_cast<size_t>(count * width));
  for (float& v : values) v = random.normal() / std::sqrt(static_cast<float>(width));
  return values;
}

// Log-normal activity, scaled to the wanted total; everybody has between 5 and half of all items.
std::vector<size_t> activities(const SyntheticRatingsConfig& c) {
  RandomStream random(c.seed, "synthetic activity");
  std::vector<double> weights(static_cast<size_t>(c.users));
  for (double& w : weights) w = std::exp(double{random.normal()});
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<size_t> counts;
  const auto most = static_cast<double>(std::max<int64_t>(1, c.items / 2));
  for (const double w : weights)
    counts.push_back(static_cast<size_t>(
        std::clamp(std::round(static_cast<double>(c.interactions) * w / total), std::min(5.0, most), most)));
  return counts;
}

}  // namespace

InteractionSet read_movielens(const std::filesystem::path& file) {
  std::ifstream in(file);
  check(in.is_open(), "{}: cannot open: {}", file.string(), std::strerror(errno));
  std::vector<Line> lines;
  std::string text, separator;
  for (int64_t number = 1; std::getline(in, text); ++number) {
    if (!text.empty() && text.back() == '\r') text.pop_back();
    if (number == 1) {
      for (const char* candidate : {"::", "\t", ","})
        if (separator.empty() && text.find(candidate) != std::string::npos) separator = candidate;
      check(!separator.empty(), "{}: line 1: expected fields separated by '::', ',' or tabs, got \"{}\"", file.string(),
            text.substr(0, 80));
      if (separator == "," && !parse_line(text, separator)) continue;  // the header
    }
    const auto line = parse_line(text, separator);
    check(line.has_value(), "{}: line {}: expected user, item, rating and timestamp, got \"{}\"", file.string(), number,
          text.substr(0, 80));
    lines.push_back(*line);
  }
  check(!lines.empty(), "{}: no ratings", file.string());
  const auto users = numbered(lines, &Line::user), items = numbered(lines, &Line::item);
  InteractionSet set{static_cast<int64_t>(users.size()), static_cast<int64_t>(items.size()), {}};
  std::set<std::pair<int32_t, int32_t>> known;
  for (const Line& line : lines) {
    const Interaction interaction{users.at(line.user), items.at(line.item), line.timestamp};
    if (known.emplace(interaction.user, interaction.item).second) set.interactions.push_back(interaction);
  }
  return set;
}

std::filesystem::path find_movielens(const std::filesystem::path& folder) {
  for (const char* name : {"ratings.dat", "ratings.csv", "u.data"})
    if (std::filesystem::exists(folder / name)) return folder / name;
  fail("{}: has no ratings.dat, ratings.csv or u.data (MovieLens: https://grouplens.org/datasets/movielens/)",
       folder.string());
}

InteractionSet synthetic_ratings(const SyntheticRatingsConfig& c) {
  const std::vector<float> p = factors(c.users, c.latent_factors, c.seed, "synthetic users"),
                           q = factors(c.items, c.latent_factors, c.seed, "synthetic items");
  Indices rank = all_indices(c.items);
  shuffle(rank, c.seed, "synthetic popularity", 0);
  InteractionSet set{c.users, c.items, {}};
  const std::vector<size_t> counts = activities(c);
  RandomStream choice(c.seed, "synthetic choice");
  const auto width = static_cast<size_t>(c.latent_factors);
  for (size_t u = 0; u < counts.size(); ++u) {
    std::vector<std::pair<float, int32_t>> scores;
    for (size_t i = 0; i < rank.size(); ++i) {
      // Factors have norm 1 on average; sqrt(width) makes the inner product's deviation 1.
      const float product = std::inner_product(p.begin() + static_cast<ptrdiff_t>(u * width),
                                               p.begin() + static_cast<ptrdiff_t>((u + 1) * width),
                                               q.begin() + static_cast<ptrdiff_t>(i * width), 0.0f) *
                            std::sqrt(static_cast<float>(width));
      const float popularity = -c.tail * std::log(1.0f + static_cast<float>(rank[i]));
      scores.emplace_back(-(popularity + c.affinity * product + gumbel(choice)), static_cast<int32_t>(i));
    }
    std::ranges::partial_sort(scores, scores.begin() + static_cast<ptrdiff_t>(counts[u]));
    scores.resize(counts[u]);
    for (size_t k = scores.size(); k > 1; --k) std::swap(scores[k - 1], scores[choice.below(static_cast<uint32_t>(k))]);
    int64_t time = 874724710 + choice.below(20000000);  // as in MovieLens 100K, whose first rating is of that second
    for (const auto& [score, item] : scores) {
      time += 1 + choice.below(120);
      set.interactions.push_back({static_cast<int32_t>(u), item, time});
    }
  }
  return set;
}

LeaveOneOut leave_one_out(const InteractionSet& set) {
  const auto users = static_cast<size_t>(set.users);
  std::vector<std::vector<Interaction>> of_user(users);
  for (const Interaction& interaction : set.interactions)
    of_user.at(static_cast<size_t>(interaction.user)).push_back(interaction);
  LeaveOneOut parts{{},
                    std::vector<int32_t>(users, LeaveOneOut::kNone),
                    std::vector<int32_t>(users, LeaveOneOut::kNone),
                    std::vector<std::vector<int32_t>>(users)};
  for (size_t u = 0; u < users; ++u) {
    std::vector<Interaction>& all = of_user[u];
    std::ranges::stable_sort(all, {}, &Interaction::timestamp);
    for (const Interaction& interaction : all) parts.of_user[u].push_back(interaction.item);
    std::ranges::sort(parts.of_user[u]);
    if (all.size() >= 3) {
      parts.test[u] = all.back().item;
      all.pop_back();
      parts.validation[u] = all.back().item;
      all.pop_back();
    }
    parts.train.insert(parts.train.end(), all.begin(), all.end());
  }
  return parts;
}

}  // namespace qgrad

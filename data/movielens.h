// Who liked what, and when: rating files in MovieLens' formats, and a synthetic set of the same shape.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "core/registry.h"

namespace qgrad {

// That a user rated an item is the interaction, whatever the rating (implicit feedback). Users and items are numbered
// from 0, in the order of the numbers in the file.
struct Interaction {
  int32_t user = 0, item = 0;
  int64_t timestamp = 0;  // seconds
};
struct InteractionSet {
  int64_t users = 0, items = 0;
  std::vector<Interaction> interactions;
};

// Reads "user::item::rating::timestamp" (ratings.dat), "userId,movieId,rating,timestamp" under a header (ratings.csv)
// or the same separated by tabs (u.data); told apart by the first line. Of several ratings of an item by a user the
// first counts. Throws on lines of another form, naming file and line.
InteractionSet read_movielens(const std::filesystem::path& file);
// The rating file of a folder: ratings.dat, ratings.csv or u.data. Throws where there is none.
std::filesystem::path find_movielens(const std::filesystem::path& folder);

// Users and items with latent factors, items with a long-tailed popularity, users of very different activity:
//   item i has popularity -tail * log(1 + rank_i);  user u takes the n_u items of largest
//   popularity + affinity * <p_u, q_i> + Gumbel noise, in a random order of time
// which is sampling without replacement in proportion to exp(popularity + affinity * <p_u, q_i>). As many users, items
// and interactions as MovieLens 100K by default.
struct SyntheticRatingsConfig {
  int64_t users = 943, items = 1682, interactions = 100000;
  int64_t latent_factors = 8;
  float affinity = 2, tail = 1.4f;
  uint64_t seed = 1;
};
inline void fields(Fields& v, SyntheticRatingsConfig& c) {
  v("users", c.users, {.help = "number of users", .min = 1});
  v("items", c.items, {.help = "number of items", .min = 2});
  v("interactions", c.interactions, {.help = "about how many in all", .min = 1});
  v("latent_factors", c.latent_factors, {.help = "of users and items", .min = 1});
  v("affinity", c.affinity, {.help = "how much factors count", .min = 0});
  v("tail", c.tail, {.help = "how quickly popularity falls; 0: all items are alike", .min = 0});
  v("seed", c.seed, {.help = "seed of everything that is drawn"});
}
InteractionSet synthetic_ratings(const SyntheticRatingsConfig& config);

// By time, for every user: the last interaction is for the test, the one before it for validation (None where a user
// has fewer than three), all others for training. (He et al., "Neural collaborative filtering", WWW 2017, section 4.1)
struct LeaveOneOut {
  static constexpr int32_t kNone = -1;
  std::vector<Interaction> train;
  std::vector<int32_t> validation, test;      // the user's item, or kNone
  std::vector<std::vector<int32_t>> of_user;  // all items of each user, ascending
};
LeaveOneOut leave_one_out(const InteractionSet& set);

// The classes of rating data that configs name.
class RatingSource {
 public:
  static constexpr const char* kRole = "rating data set";
  virtual ~RatingSource() = default;
  virtual InteractionSet read() const = 0;
};

}  // namespace qgrad

// Rating files, synthetic ratings, and the split by time.
#include "data/movielens.h"

#include <algorithm>
#include <fstream>
#include <numeric>
#include <set>

#include "support/catch.h"
#include "support/temporary_folder.h"

using namespace qgrad;

namespace {

std::filesystem::path written(const test::TemporaryFolder& folder, const std::string& name, const std::string& text) {
  std::ofstream(folder.path() / name) << text;
  return folder.path() / name;
}

}  // namespace

TEST_CASE("the three forms of MovieLens' files mean the same") {
  const test::TemporaryFolder folder;
  const std::string name = GENERATE("ratings.dat", "ratings.csv", "u.data");
  const std::string text = name == "ratings.dat" ? "7::30::5::100\n3::30::4::101\n7::10::1::99\n"
                           : name == "ratings.csv"
                               ? "userId,movieId,rating,timestamp\r\n7,30,5.0,100\r\n3,30,4.5,101\r\n"
                                 "7,10,0.5,99\r\n"
                               : "7\t30\t5\t100\n3\t30\t4\t101\n7\t10\t1\t99\n";
  written(folder, name, text);
  const InteractionSet set = read_movielens(find_movielens(folder.path()));
  CHECK(set.users == 2);
  CHECK(set.items == 2);
  REQUIRE(set.interactions.size() == 3);
  CHECK(set.interactions[0].user == 1);  // user 7, after user 3
  CHECK(set.interactions[0].item == 1);
  CHECK(set.interactions[2].item == 0);
  CHECK(set.interactions[1].timestamp == 101);
}

TEST_CASE("a repeated rating counts once, and wrong lines are named") {
  const test::TemporaryFolder folder;
  CHECK(read_movielens(written(folder, "a", "1::1::5::10\n1::1::3::20\n2::1::3::5\n")).interactions.size() == 2);
  CHECK_THROWS_WITH(read_movielens(written(folder, "b", "1::1::5::10\n1::x::3::20\n")), Contains("b: line 2"));
  CHECK_THROWS_WITH(read_movielens(written(folder, "c", "1::1::5\n")), Contains("c: line 1"));
  CHECK_THROWS_WITH(read_movielens(written(folder, "d", "nonsense\n")), Contains("separated by"));
  CHECK_THROWS_WITH(read_movielens(written(folder, "e", "")), Contains("no ratings"));
  CHECK_THROWS_WITH(find_movielens(folder.path()), Contains("grouplens"));
}

TEST_CASE("a user's last interaction is tested, the one before validates, the others train") {
  const InteractionSet set{
      3, 9, {{0, 4, 30}, {0, 1, 10}, {1, 8, 1}, {0, 2, 40}, {0, 3, 20}, {1, 7, 2}, {2, 5, 1}, {2, 6, 1}, {2, 0, 1}}};
  const LeaveOneOut parts = leave_one_out(set);
  CHECK(parts.test == std::vector<int32_t>{2, LeaveOneOut::kNone, 0});
  CHECK(parts.validation == std::vector<int32_t>{4, LeaveOneOut::kNone, 6});
  CHECK(parts.of_user[0] == std::vector<int32_t>{1, 2, 3, 4});
  std::vector<int32_t> train;
  for (const Interaction& i : parts.train) train.push_back(i.item);
  CHECK(train == std::vector<int32_t>{1, 3, 8, 7, 5});  // equal times: in the order of the file
}

TEST_CASE("synthetic ratings have the shape of real ones, and are the same again") {
  const InteractionSet set = synthetic_ratings({}), again = synthetic_ratings({});
  CHECK(set.interactions.size() > 90000);
  CHECK(set.interactions.size() < 110000);
  const auto same = [](const Interaction& a, const Interaction& b) {
    return a.user == b.user && a.item == b.item && a.timestamp == b.timestamp;
  };
  CHECK(std::ranges::equal(set.interactions, again.interactions, same));
  CHECK_FALSE(std::ranges::equal(set.interactions, synthetic_ratings({.seed = 2}).interactions, same));

  std::set<std::pair<int32_t, int32_t>> pairs;
  std::vector<size_t> of_item(1682), of_user(943);
  for (const Interaction& i : set.interactions) {
    pairs.emplace(i.user, i.item);
    ++of_item[static_cast<size_t>(i.item)];
    ++of_user[static_cast<size_t>(i.user)];
  }
  CHECK(pairs.size() == set.interactions.size());
  CHECK(*std::ranges::min_element(of_user) >= 5);
  // In MovieLens 100K a fifth of the items has about two thirds of the ratings, and the most active fifth of the users
  // more than half.
  const auto share_of_largest_fifth = [&](std::vector<size_t> counts) {
    std::ranges::sort(counts, std::greater<>());
    const auto end = counts.begin() + static_cast<ptrdiff_t>(counts.size() / 5);
    return static_cast<double>(std::accumulate(counts.begin(), end, size_t{0})) /
           static_cast<double>(set.interactions.size());
  };
  CHECK(share_of_largest_fifth(of_item) > 0.5);
  CHECK(share_of_largest_fifth(of_item) < 0.8);
  CHECK(share_of_largest_fifth(of_user) > 0.45);
}

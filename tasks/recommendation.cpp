// Drawing negatives, and ranking.
#include "tasks/recommendation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/checksum.h"
#include "core/ops.h"
#include "core/ranks.h"
#include "data/split.h"
#include "tasks/experiment.h"
#include "tasks/progress.h"

namespace qgrad {
namespace {

constexpr int64_t kRankedFirst = 10;

Tensor numbers(std::span<const int32_t> values) {
  Tensor t = Tensor::empty({static_cast<int64_t>(values.size())});
  std::ranges::transform(values, t.mutable_data().begin(), [](int32_t v) { return static_cast<float>(v); });
  return t;
}

class RatingBatches final : public Task::Batches {
 public:
  RatingBatches(const RankingData& data, int batch_size, uint64_t seed)
      : data_(data), seed_(seed), batch_size_(static_cast<size_t>(batch_size)) {
    const auto [first, last] = ranks() ? ranks()->examples(batch_size) : std::pair<int64_t, int64_t>(0, batch_size);
    first_ = static_cast<size_t>(first), count_ = static_cast<size_t>(last - first);
  }
  int64_t count() const override { return examples() / static_cast<int64_t>(batch_size_); }
  int64_t examples() const override { return data_.training_examples(); }
  void start_epoch(int64_t epoch, int64_t first_batch) override {
    samples_ = data_.epoch(epoch, seed_);
    next_ = static_cast<size_t>(first_batch) * batch_size_;
  }
  std::optional<Task::Batch> next() override {
    if (next_ + batch_size_ > samples_.labels.size()) return std::nullopt;
    const auto part = [&](const std::vector<int32_t>& all) { return std::span(all).subspan(next_ + first_, count_); };
    const auto labels = part(samples_.labels);
    Task::Batch batch{{numbers(part(samples_.users)), numbers(part(samples_.items))}, {labels.begin(), labels.end()}};
    if (ranks())
      for (Tensor& input : batch.inputs) input.set_part(static_cast<int64_t>(count_));
    next_ += batch_size_;
    return batch;
  }

 private:
  const RankingData& data_;
  uint64_t seed_;
  size_t batch_size_, next_ = 0;
  size_t first_, count_;  // of a batch: what this rank has
  RankingData::Samples samples_;
};

}  // namespace

bool is_recommendation(const Config& dataset) {
  return dataset.has("class") && dataset.json()["class"].is_string() &&
         std::ranges::count(Registry<RatingSource>::instance().names(), dataset.json()["class"].get<std::string>()) > 0;
}

void RankingMetrics::add(int64_t above, int64_t equal) {
  ++users;
  const double share = 1 / static_cast<double>(equal + 1);
  for (int64_t rank = above; rank < std::min(above + equal + 1, kRankedFirst); ++rank) {
    hits += share;
    gain += share / std::log2(static_cast<double>(rank) + 2);
  }
}

Json RankingMetrics::to_json() const {
  return {{"users", users}, {"hit_rate_at_10", hit_rate()}, {"ndcg_at_10", ndcg()}};
}

RankingData::RankingData(Config dataset, uint64_t seed, const std::optional<std::string>& folder)
    : dataset_(std::move(dataset)), seed_(seed) {
  if (folder) dataset_.json()["dir"] = *folder;
  set_ = Registry<RatingSource>::create(dataset_)->read();
  parts_ = leave_one_out(set_);
  check(has(Part::test), "{}: no user has the three interactions that training, validation and test take",
        dataset_.where());
  for (const auto& items : parts_.of_user)
    check(static_cast<int64_t>(items.size()) < set_.items,
          "{}: a user knows all {} items, so that no negatives are left", dataset_.where(), set_.items);
  trained_of_user_.resize(static_cast<size_t>(set_.users));
  for (const Interaction& known : parts_.train) trained_of_user_[static_cast<size_t>(known.user)].push_back(known.item);
  for (std::vector<int32_t>& items : trained_of_user_) std::ranges::sort(items);
}

int32_t RankingData::unknown_item(RandomStream& random, const std::vector<int32_t>& known) const {
  for (;;) {
    const auto item = static_cast<int32_t>(random.below(static_cast<uint32_t>(set_.items)));
    if (!std::ranges::binary_search(known, item)) return item;
  }
}

std::vector<int32_t> RankingData::candidates(Part part, int64_t user) const {
  const int32_t item = held_out(part)[static_cast<size_t>(user)];
  if (item == LeaveOneOut::kNone) return {};
  const int64_t unknown = set_.items - static_cast<int64_t>(parts_.of_user[static_cast<size_t>(user)].size());
  check(unknown >= kNegatives, "{}: user {} has not met {} items, but ranking takes {}", dataset_.where(), user,
        unknown, kNegatives);
  RandomStream random(seed_, fmt::format("ranked {}/{}", part == Part::test ? "test" : "validation", user));
  std::vector<int32_t> chosen{item};
  while (chosen.size() <= static_cast<size_t>(kNegatives)) {
    const int32_t other = unknown_item(random, parts_.of_user[static_cast<size_t>(user)]);
    if (std::ranges::find(chosen, other) == chosen.end()) chosen.push_back(other);
  }
  return chosen;
}

RankingData::Samples RankingData::epoch(int64_t number, uint64_t seed) const {
  constexpr int64_t kPer = 1 + kNegativesPerPositive;
  Indices order = all_indices(training_examples());
  shuffle(order, seed, "recommendation", static_cast<uint64_t>(number));
  RandomStream random(seed, fmt::format("negatives {}", number));
  std::vector<int32_t> drawn;  // in the order of the interactions, so that the shuffle changes nothing
  for (const Interaction& positive : parts_.train) {
    drawn.push_back(positive.item);
    for (int k = 0; k < kNegativesPerPositive; ++k)
      drawn.push_back(unknown_item(random, trained_of_user_[static_cast<size_t>(positive.user)]));
  }
  Samples samples;
  for (const int64_t at : order) {
    samples.users.push_back(parts_.train[static_cast<size_t>(at / kPer)].user);
    samples.items.push_back(drawn[static_cast<size_t>(at)]);
    samples.labels.push_back(at % kPer == 0);
  }
  return samples;
}

int64_t RankingData::training_examples() const { return std::ssize(parts_.train) * (1 + kNegativesPerPositive); }

std::unique_ptr<Task::Batches> RankingData::training(int batch_size, const std::optional<uint64_t>& seed) const {
  return std::make_unique<RatingBatches>(*this, batch_size, seed.value_or(seed_));
}

Tensor RankingData::logits(const Tensor& output) const {
  const Tensor two[] = {Tensor::zeros(output.shape()), output};
  return concat(two, 1);
}

bool RankingData::has(Part part) const {
  return std::ranges::any_of(held_out(part), [](int32_t item) { return item != LeaveOneOut::kNone; });
}

Json RankingData::describe() const {
  return {{"class", dataset_.json().at("class")},
          {"users", set_.users},
          {"items", set_.items},
          {"training_interactions", parts_.train.size()},
          {"test_users", std::ranges::count_if(parts_.test, [](int32_t i) { return i != LeaveOneOut::kNone; })}};
}

Json RankingData::checksums() const {
  uint32_t sum = 0;
  for (const Interaction& i : set_.interactions) {
    const std::array<int64_t, 3> numbers{i.user, i.item, i.timestamp};
    sum = crc32c({reinterpret_cast<const char*>(numbers.data()), sizeof numbers}, sum);
  }
  return {{"interactions", fmt::format("{:08x}", sum)}};
}

Json RankingData::data() const {
  DataConfig data;
  data.dataset = dataset_;
  return write_config(data);
}

std::string RankingData::whose() const {
  const std::string name = dataset_.json().at("class").get<std::string>();
  return dataset_.has("dir") ? fmt::format("{} in {}", name, dataset_.json().at("dir").get<std::string>()) : name;
}

Json RankingData::evaluate(Module& model, Part part, const std::string& label) const {
  constexpr int64_t kUsersPerBatch = 50;
  const EvaluationMode evaluation(model);
  RankingMetrics metrics;
  Progress progress(label, set_.users, "users");
  for (int64_t first = 0; first < set_.users; first += kUsersPerBatch) {
    const int64_t end = std::min(first + kUsersPerBatch, set_.users);
    std::vector<int32_t> users, items;
    for (int64_t user = first; user < end; ++user) {
      const std::vector<int32_t> ranked = candidates(part, user);
      items.insert(items.end(), ranked.begin(), ranked.end());
      users.resize(items.size(), static_cast<int32_t>(user));
    }
    if (users.empty()) continue;
    const Tensor scores = model(numbers(users), numbers(items));
    for (size_t at = 0; at < users.size(); at += kNegatives + 1) {
      const auto row = scores.data().subspan(at, kNegatives + 1);
      const auto others = row.subspan(1);
      metrics.add(std::ranges::count_if(others, [&](float other) { return !(other <= row[0]); }),
                  std::ranges::count(others, row[0]));
    }
    if (!label.empty()) progress.update(end, fmt::format("hit rate {:.2f}", metrics.hit_rate()));
  }
  return metrics.to_json();
}

}  // namespace qgrad

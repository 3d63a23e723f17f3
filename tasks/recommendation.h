// Recommendation as a task: implicit feedback with sampled negatives (He et al., "Neural collaborative
// filtering", WWW 2017, sections 3.1 and 4.1).
#pragma once

#include <vector>

#include "core/random.h"
#include "data/movielens.h"
#include "tasks/task.h"

namespace qgrad {

// Whether a config's data set is one of interactions rather than of images.
bool is_recommendation(const Config& dataset);

// How often a user's held-out item is among the ten first of it and 99 items that are new to the user, and how high.
// Items of equal scores, of which quantized models have many, are taken in every order alike: these are expectations.
struct RankingMetrics {
  int64_t users = 0;
  double hits = 0, gain = 0;

  double hit_rate() const { return users ? 100.0 * hits / static_cast<double>(users) : 0; }
  double ndcg() const { return users ? 100.0 * gain / static_cast<double>(users) : 0; }
  void add(int64_t above, int64_t equal);  // how many others have higher scores, and the same
  Json to_json() const;                    // {"users", "hit_rate_at_10", "ndcg_at_10"}, in percent
};

// The interactions of an experiment, split by time, and the negatives to rank against.
class RankingData final : public Task {
 public:
  // `folder`: where --data says the files are.
  RankingData(Config dataset, uint64_t seed, const std::optional<std::string>& folder);

  // A user's held-out item first, then kNegatives others that the user never met; empty where nothing is held out.
  // Drawn from stream (seed, part, user).
  std::vector<int32_t> candidates(Part part, int64_t user) const;

  // What an epoch trains on, in its order: every training interaction, and for each kNegativesPerPositive items that
  // are not among the user's training ones (held-out items are unknown to training).
  struct Samples {
    std::vector<int32_t> users, items, labels;  // label 1: an interaction
  };
  Samples epoch(int64_t number, uint64_t seed) const;

  int64_t training_examples() const override;  // samples of an epoch
  std::unique_ptr<Batches> training(int batch_size, const std::optional<uint64_t>& seed) const override;
  // Users' scores z [N,1] as logits 0 and z of two classes, whose cross entropy is that of sigmoid(z).
  Tensor logits(const Tensor& output) const override;
  bool has(Part part) const override;
  // For all users with a held-out item. A score of it that is no number is the lowest.
  Json evaluate(Module& model, Part part, const std::string& label) const override;
  std::string score() const override { return "hit_rate_at_10"; }
  std::string unit() const override { return "interactions"; }
  Json describe() const override;
  Json checksums() const override;  // {"interactions"}
  DataDescription description() const override { return {.users = set_.users, .items = set_.items}; }
  Json data() const override;
  std::string whose() const;  // for messages

  static constexpr int kNegatives = 99, kNegativesPerPositive = 4;

 private:
  const std::vector<int32_t>& held_out(Part part) const { return part == Part::test ? parts_.test : parts_.validation; }
  int32_t unknown_item(RandomStream& random, const std::vector<int32_t>& known) const;  // known: ascending

  Config dataset_;
  uint64_t seed_;
  InteractionSet set_;
  LeaveOneOut parts_;
  std::vector<std::vector<int32_t>> trained_of_user_;  // ascending
};

}  // namespace qgrad

// Accuracy of a model on a data set.
#pragma once

#include <functional>

#include "core/config.h"
#include "core/json.h"
#include "data/loader.h"
#include "nn/module.h"

namespace qgrad {

// Sums over images, so that a short last batch weighs what it holds.
struct Metrics {
  int64_t images = 0, top1_hits = 0, top5_hits = 0;
  double loss_sum = 0;

  double top1() const { return percent(top1_hits); }
  double top5() const { return percent(top5_hits); }
  double loss() const { return images ? loss_sum / static_cast<double>(images) : 0; }
  Json to_json() const;  // {"images", "top1", "top5", "loss"}

  // Of one image. Of equal logits the lower class counts as the larger.
  struct Score {
    double loss;
    bool top1, top5;
  };
  static std::vector<Score> scores(const Tensor& logits, std::span<const int32_t> labels);
  void add(std::span<const Score> scores);
  void add(const Tensor& logits, std::span<const int32_t> labels) { add(scores(logits, labels)); }

 private:
  double percent(int64_t hits) const {
    return images ? 100.0 * static_cast<double>(hits) / static_cast<double>(images) : 0;
  }
};

inline void fields(Fields& v, Metrics& c) {
  v("images", c.images, {.min = 0});
  v("top1_hits", c.top1_hits, {.min = 0});
  v("top5_hits", c.top5_hits, {.min = 0});
  v("loss_sum", c.loss_sum);
}

// Of what `forward` makes of everything the loader gives; shows progress under `label` unless it is empty. With ranks
// (core/ranks.h) of what the loaders of all of them give, in order.
Metrics evaluate(const std::function<Tensor(const Tensor& images)>& forward, Loader& loader, const std::string& label);
// Of a model, in evaluation mode.
Metrics evaluate(Module& model, Loader loader, const std::string& label);
// The same numbers of a float model, which computes every image by itself: faster.
Metrics evaluate_float(Module& model, Loader loader, const std::string& label);

// Throws, with `when` before it, where one is no finite number.
void check_finite(const Json& metrics, const std::string& when);

}  // namespace qgrad

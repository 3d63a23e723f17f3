// Counting hits and summing losses.
#include "tasks/metrics.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/batch_sum.h"
#include "nn/inference.h"
#include "tasks/progress.h"
#include "tasks/task.h"

namespace qgrad {

std::vector<Metrics::Score> Metrics::scores(const Tensor& logits, std::span<const int32_t> labels) {
  const int64_t classes = logits.dim(-1);
  check(logits.rank() == 2 && logits.dim(0) == static_cast<int64_t>(labels.size()),
        "the model gave {} for {} images, expected [images, classes]", logits.shape(), labels.size());
  std::vector<Score> all;
  for (size_t i = 0; i < labels.size(); ++i) {
    const auto row = logits.data().subspan(i * static_cast<size_t>(classes), static_cast<size_t>(classes));
    const auto label = static_cast<size_t>(labels[i]);
    check(label < row.size(), "label {} but the model has {} classes", label, classes);
    int64_t rank = 0;
    double largest = row[0], total = 0;
    for (size_t c = 0; c < row.size(); ++c) {
      // A NaN counts as larger, so that a model that broke scores nothing.
      rank += c != label && !(row[c] < row[label] || (row[c] == row[label] && c > label));
      largest = std::max(largest, static_cast<double>(row[c]));
    }
    for (const float logit : row) total += std::exp(logit - largest);
    all.push_back({largest + std::log(total) - row[label], rank == 0, rank < 5});
  }
  return all;
}

void Metrics::add(std::span<const Score> scores) {
  for (const Score& score : scores) {
    loss_sum += score.loss;
    top1_hits += score.top1;
    top5_hits += score.top5;
  }
  images += std::ssize(scores);
}

std::string metrics_text(const Json& metrics) {
  std::string text;
  for (auto metric = std::next(metrics.begin()); metric != metrics.end(); ++metric)
    text += fmt::format("{}{} {:.{}f}", text.empty() ? "" : "  ", metric.key(), metric->get<double>(),
                        metric.key() == "loss" ? 5 : 2);
  return text;
}

Json Metrics::to_json() const { return {{"images", images}, {"top1", top1()}, {"top5", top5()}, {"loss", loss()}}; }

void check_finite(const Json& metrics, const std::string& when) {
  for (const auto& [name, value] : metrics.items())
    if (value.is_number()) check(std::isfinite(value.get<double>()), "{}: {} is {}", when, name, value.get<double>());
}

Metrics evaluate(const std::function<Tensor(const Tensor& images)>& forward, Loader& loader, const std::string& label) {
  Metrics mine;
  std::vector<Metrics::Score> scores;
  Progress progress(label, loader.images());
  loader.start_epoch(0);
  while (const auto batch = loader.next()) {
    const auto of_batch = Metrics::scores(forward(batch->images), batch->labels);
    mine.add(of_batch);
    if (ranks()) scores.insert(scores.end(), of_batch.begin(), of_batch.end());
    if (!label.empty()) progress.update(mine.images, fmt::format("top1 {:.2f}", mine.top1()));
  }
  if (!ranks()) return mine;
  Metrics all;
  add_in_turn(true, std::span(&all, 1), [&] { all.add(scores); });
  return all;
}

Metrics evaluate(Module& model, Loader loader, const std::string& label) {
  const EvaluationMode evaluating(model);
  return evaluate([&](const Tensor& images) { return model(images); }, loader, label);
}

Metrics evaluate_float(Module& model, Loader loader, const std::string& label) {
  const EvaluationMode evaluating(model);
  return evaluate([&](const Tensor& images) { return forward_in_blocks(model, images, kInferenceBlock); }, loader,
                  label);
}

}  // namespace qgrad

// Counting hits and summing losses.
#include "tasks/metrics.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "nn/inference.h"
#include "tasks/progress.h"
#include "tasks/task.h"

namespace qgrad {

void Metrics::add(const Tensor& logits, std::span<const int32_t> labels) {
  const int64_t classes = logits.dim(-1);
  check(logits.rank() == 2 && logits.dim(0) == static_cast<int64_t>(labels.size()),
        "the model gave {} for {} images, expected [images, classes]", logits.shape(), labels.size());
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
    loss_sum += largest + std::log(total) - row[label];
    top1_hits += rank == 0;
    top5_hits += rank < 5;
  }
  images += static_cast<int64_t>(labels.size());
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
  Metrics metrics;
  Progress progress(label, loader.images());
  loader.start_epoch(0);
  while (const auto batch = loader.next()) {
    metrics.add(forward(batch->images), batch->labels);
    if (!label.empty()) progress.update(metrics.images, fmt::format("top1 {:.2f}", metrics.top1()));
  }
  return metrics;
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

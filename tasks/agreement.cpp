// Sums over all images, in double.
#include "tasks/agreement.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "nn/models/network.h"
#include "tasks/progress.h"

namespace qgrad {
namespace {

// One output: a part of the row that a network gives for an example.
struct Part {
  OutputAgreement result;
  size_t begin, end;
  double signal = 0, noise = 0, product = 0, energy = 0;

  void add(std::span<const float> expected, std::span<const float> got) {
    const auto x = expected.subspan(begin, end - begin), y = got.subspan(begin, end - begin);
    for (size_t i = 0; i < x.size(); ++i) {
      const double a = x[i], b = y[i];
      signal += a * a, energy += b * b, product += a * b, noise += (a - b) * (a - b);
    }
    ++result.examples;
    result.same_top1 += std::ranges::max_element(x) - x.begin() == std::ranges::max_element(y) - y.begin();
  }
  OutputAgreement finished() {
    result.sqnr_db = noise == 0 ? INFINITY : 10 * std::log10(signal / noise);
    result.cosine = signal > 0 && energy > 0 ? product / std::sqrt(signal * energy) : noise == 0;
    return result;
  }
};

std::vector<Part> parts_of(Module& model, const Tensor& images, size_t width) {
  auto* network = dynamic_cast<Network*>(&model);
  if (!network || network->output_names().size() == 1) return {{.result = {}, .begin = 0, .end = width}};
  std::vector<Part> parts;
  size_t at = 0;
  const std::vector<Tensor> outputs = network->separate(std::span(&images, 1));
  for (size_t i = 0; i < outputs.size(); ++i) {
    const auto size = static_cast<size_t>(outputs[i].shape().numel_from(1));
    parts.push_back({.result = {.name = network->output_names()[i]}, .begin = at, .end = at + size});
    at += size;
  }
  return parts;
}

}  // namespace

std::vector<OutputAgreement> agreement(Module& reference, const Forward& quantized, Loader loader,
                                       const std::string& label) {
  std::vector<Part> parts;
  Progress progress(label, loader.images());
  int64_t done = 0;
  loader.start_epoch(0);
  while (const auto batch = loader.next()) {
    const Tensor expected = reference(batch->images), got = quantized(batch->images);
    const auto width = static_cast<size_t>(expected.numel() / expected.dim(0));
    check(got.numel() == expected.numel(), "agreement: outputs of {} and {}", expected.shape(), got.shape());
    if (parts.empty()) parts = parts_of(reference, batch->images, width);
    for (size_t i = 0; i < static_cast<size_t>(expected.dim(0)); ++i)
      for (Part& part : parts)
        part.add(expected.data().subspan(i * width, width), got.data().subspan(i * width, width));
    progress.update(done += batch->images.dim(0), "");
  }
  std::vector<OutputAgreement> results;
  for (Part& part : parts) results.push_back(part.finished());
  return results;
}

Json OutputAgreement::to_json() const {
  return {{"output", name.empty() ? Json() : Json(name)},
          {"images", examples},
          {"top1_agreement", agreement()},
          {"sqnr_db", std::isfinite(sqnr_db) ? Json(sqnr_db) : Json()},
          {"cosine", cosine}};
}

std::string agreement_text(const std::vector<OutputAgreement>& outputs) {
  std::string text;
  for (const OutputAgreement& o : outputs)
    text += fmt::format("{}{:.2f} % of {} images have the float network's top-1, SQNR {:.2f} dB, cosine {:.5f}\n",
                        o.name.empty() ? "" : o.name + ": ", o.agreement(), o.examples, o.sqnr_db, o.cosine);
  return text;
}

}  // namespace qgrad

// The list, and how it is shown.
#include "apps/report/terms.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "apps/report/table.h"

namespace qgrad {
namespace {

struct Term {
  const char *heading, *explanation;
};
constexpr Term kTerms[] = {
    {"W/A", "bits of the weights and of the activations; 32: float"},
    {"top-1 %", "how often the class with the largest output is the right one"},
    {"HR@10 %", "how often the item that was held out is among a user's first ten"},
    {"NDCG@10 %", "how high it is among them"},
    {"change", "percentage points above (+) or below (-) float"},
    {"top-5 %", "how often the right class is among the five largest outputs"},
    {"loss", "the mean cross entropy; less is better"},
    {"weights", "size of all weights and biases with their bits packed, and of the scales"},
    {"engine %", "top-1 of the integer program on the same images"},
    {"images/s", "that the integer program classifies on this machine"},
    {"simulated", "images/s of the network that was quantized, which computes in float"},
    {"program", "size of the program's file"},
    {"time", "to make the row, training and evaluation included"},
    {"size", "of weights, biases and scales with their bits packed; of a program: of its file"},
    {"agreement %", "how often the largest outputs of both networks are at the same place"},
    {"SQNR dB",
     "signal to quantization noise, 10 log10(sum y^2 / sum (y - quantized y)^2); more is better, and 6 dB are "
     "about one bit"},
    {"cosine", "of the angle between float and quantized outputs; 1 where they are proportional"},
    {"saturated", "share of a layer's outputs beyond the last level, which is where they are cut off"},
    {"bits W", "bits of a layer's weights; empty: it has none, or they are float"},
    {"bits A", "bits of what a layer gives; empty: float"},
    {"bits of inputs", "bits of what a layer reads; empty: float"},
    {"bits B", "bits of a layer's bias; empty: as exact as its sums"},
    {"step of W", "distance of two levels of the weights; a range where channels have their own"},
    {"step of A", "distance of two levels of what the layer gives"},
    {"by override", "the entry of the config's overrides that the layer goes by; empty: as everywhere"},
    {"train loss", "mean cross entropy on the training images of the epoch, as they were augmented"},
    {"train top-1 %", "top-1 on the training images of the epoch, as they were augmented, before each step"},
    {"lr", "learning rate of the epoch's last step"},
    {"quantized",
     "what was quantized: weights or activations (what the layer gives) of one layer alone, all_but one layer, or "
     "everything as the config says"},
    {"divergence",
     "of the softmax of the outputs from the float network's, in nats, the mean over images (Kullback and Leibler); 0 "
     "where nothing differs, whatever the labels are"},
    {"rank by SQNR", "beside the measured SQNR of the outputs, which is what is estimated"},
    {"rank by divergence", "beside the measured divergence"},
    {"rank by loss", "beside the measured loss, which goes up and down by chance where little is lost"},
    {"of the layer", "SQNR in dB of what the layer gives for the first 16 images, before other layers read it"},
    {"all but it", "lost where all is quantized as the config says, but this layer"},
    {"mean bits", "sum over all numbers of their bits, divided by how many numbers there are"},
    {"expected SQNR dB", "of the whole network, when the noise of single layers adds up; more is better"},
    {"lost",
     "points of top-1 below the float network on the calibration images, of agreement where there are no labels"},
};

}  // namespace

std::string explanation_of(const std::string& heading) {
  constexpr std::string_view kOfValidation = "validation ";
  if (heading.starts_with(kOfValidation)) {
    const std::string of_rest = explanation_of(heading.substr(kOfValidation.size()));
    return of_rest.empty() ? "" : of_rest + "; on the training images that are held out";
  }
  const auto term = std::ranges::find(kTerms, heading, &Term::heading);
  return term == std::end(kTerms) ? "" : term->explanation;
}

std::string glossary(const std::vector<std::string>& headings) {
  std::string list;
  for (const std::string& heading : headings)
    if (const std::string text = explanation_of(heading); !text.empty())
      list += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escape_html(heading), escape_html(text));
  if (list.empty()) return "";
  return "<details class=\"glossary\"><summary>What the columns say</summary><dl>\n" + list + "</dl></details>\n";
}

}  // namespace qgrad

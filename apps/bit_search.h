// Bits for every layer under budgets, or under a limit of what they may cost: measured, chosen, and checked.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tasks/experiment.h"

namespace qgrad {

// What quantizing a part of a layer hurts, in numbers that add up over layers as long as they are small.
enum class BitCost {
  divergence,  // of the answers' softmax from the float network's, in nats
  noise        // share of the outputs that is noise
};
std::vector<std::pair<std::string, BitCost>> enum_names(BitCost*);

struct BitsConfig {
  std::vector<int> choices{2, 3, 4, 5, 6, 8};
  std::optional<BitCost> cost;
  // Means are over all weights, and over all numbers that layers give for an image; bit operations a share of those
  // with 8 bits everywhere.
  std::optional<double> mean_weights, weights_kib, mean_activations, bit_operations;
  std::optional<double> accuracy_drop;
};
void fields(Fields& v, BitsConfig& c);
// Throws, naming `where`, where there is no budget or two for the same.
void check_bits(const BitsConfig& bits, const std::string& where);

// What a search found.
struct SearchResult {
  Json quantizer;  // a config
  Json report;
  std::string text;
};

// Processes share the measuring; all but the first return nothing. folder: where they leave word for each other.
SearchResult search_bits(const BitsConfig& bits, const ExperimentConfig& experiment, const Config& quantizer,
                         const CalibrationConfig& calibration, const ImageTask& data,
                         const std::filesystem::path& folder);

}  // namespace qgrad

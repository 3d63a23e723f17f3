// Lowering of what only moves numbers: layers behind others of the kind move what those got.
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "quant/export/moves.h"
#include "quant/export/program_builder.h"

namespace qgrad::deploy {

class MoveLowering : public ProgramBuilder {
 public:
  static bool is_move(const Effect& effect) {
    return effect.kind == Effect::Kind::moves || effect.kind == Effect::Kind::splits;
  }
  // Layers that look at neighbours do so within one image.
  static void check_one_image(Module& layer, const Shape& output) {
    using Kind = Effect::Kind;
    const Kind kind = layer.effect().kind;
    const bool looks_around = kind == Kind::picks || kind == Kind::averages ||
                              (layer.weighted_sum() && layer.weighted_sum()->weight.raw().rank() == 4);
    check(!looks_around || output[0] == 1, "it gives {} images for one", output[0]);
  }

  // What stands behind others that move numbers moves those that they got.
  int32_t moved(const GraphNode& node, const std::vector<Value>& inputs) {
    int32_t from = inputs[0].tensor;
    std::vector<int32_t> places = moved_places(function_of(node), std::array{inputs[0].shape});
    if (const auto known = moves_.find(from); known != moves_.end()) {
      places = moved_twice(known->second.places, places);
      from = known->second.from;
    }
    const TensorInfo source = tensor(from), to = of_output(node, "", source.type, source.grid);
    if (stays(places, source, to)) return from;
    Op op = moving(places, source, to);
    op.inputs = {from};
    const int32_t output = emit(std::move(op), add_tensor(to));
    moves_[output] = {from, std::move(places)};
    return output;
  }
  static std::function<Tensor(Inputs)> function_of(const GraphNode& node) {
    if (node.kind == "flatten") return [](Inputs x) { return flatten(x[0]); };
    check(node.module, "it is no layer, but an operation of a module with layers");
    return [&layer = *node.module](Inputs x) { return layer.call(x); };
  }

  // A concatenation of other dimensions than channels, of inputs of one type and grid.
  int32_t joined(const GraphNode& node, const std::vector<Value>& inputs) {
    const bool is_float =
        std::ranges::any_of(inputs, [&](const Value& input) { return tensor(input.tensor).type == Type::float32; });
    std::vector<int32_t> tensors;
    std::vector<Shape> shapes;
    for (const Value& input : inputs) {
      tensors.push_back(is_float ? as_float(input.tensor) : input.tensor);
      shapes.push_back(input.shape);
    }
    const TensorInfo to = of_output(node, "", tensor(tensors[0]).type, tensor(tensors[0]).grid);
    Op op = gathering(moved_places(function_of(node), shapes), to);
    op.inputs = std::move(tensors);
    return emit(std::move(op), add_tensor(to));
  }

  // Whether numbers are moved otherwise than within images, as they are seen with a batch of one.
  bool mixes_tokens() const {
    return std::ranges::any_of(result_.program.ops,
                               [](const Op& op) { return op.kind == OpKind::gather || op.kind == OpKind::matmul; });
  }

 private:
  // Of a tensor that was made by moving others.
  struct Move {
    int32_t from;
    std::vector<int32_t> places;
  };
  std::map<int32_t, Move> moves_;
};

}  // namespace qgrad::deploy

// Layers that only move numbers: where each number that they give stands in what they get.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "engine/program.h"
#include "nn/module.h"

namespace qgrad::deploy {

// Of each number that move gives, its place among those of inputs of these shapes, which follow each other, or
// Op::kZeros: found by moving the places themselves.
std::vector<int32_t> moved_places(const std::function<Tensor(Inputs)>& move, std::span<const Shape> inputs);

// The places of what moves numbers to `second` places after others have moved them to `first`.
std::vector<int32_t> moved_twice(const std::vector<int32_t>& first, const std::vector<int32_t>& second);

// Whether every number stays where it is, in a tensor of the same size.
bool stays(const std::vector<int32_t>& places, const TensorInfo& from, const TensorInfo& to);

// The operation for it that says most by least, without its tensors: channels_first, select, or gather.
Op moving(const std::vector<int32_t>& places, const TensorInfo& from, const TensorInfo& to);

// A gather, whose constants are zeros of the output's grid.
Op gathering(std::vector<int32_t> places, const TensorInfo& to);

// Whether a batch gives what its images, of this shape, give alone: layers are followed for one image, and may move
// numbers from one to another.
bool keeps_images_apart(Module& model, const Shape& image);

}  // namespace qgrad::deploy

// What moves numbers, and what puts several into one.
#include <algorithm>
#include <limits>

#include "core/divide_up.h"
#include "core/ops.h"
#include "nn/onnx/translation.h"

namespace qgrad::onnx {
namespace {

using Results = std::vector<Known>;

// --- reshaping ---
// Sizes that a file with a fixed batch says, for any batch.
Dims for_any_batch(const Translation& node, const Known& x, Dims dims) {
  const int64_t batch = node.builder().batch_in_file();
  const bool has_batch = std::ranges::any_of(x.dims, [](int64_t d) { return d >= kBatch; });
  const bool knows = std::ranges::any_of(dims, [](int64_t d) { return d >= kBatch; });
  if (!has_batch || knows || batch <= 0 || batch == kBatch || dims.empty()) return dims;
  const bool open = std::ranges::count(dims, -1) == 1;
  for (int64_t& dim : dims) {
    if (dim <= 0 || dim % batch != 0) continue;
    const int64_t own = dim;
    if (__builtin_mul_overflow(own / batch, kBatch, &dim)) return dims;
    Dims rest = dims;
    std::erase(rest, -1);
    const int64_t all = count(x.dims), known = count(rest);
    if (open ? known != 0 && all % known == 0 && all / known < kBatch : all == known) return dims;
    dim = own;
  }
  return dims;
}

Results reshape_to(const Translation& node) {
  const Known& x = node.input(0);
  Dims dims = node.ints(1);
  if (!node.number("allowzero", 0))
    for (size_t i = 0; i < dims.size(); ++i) {
      check(dims[i] != 0 || i < x.dims.size(), "there is no dimension {} in {} to be kept", i, dims_text(x.dims));
      if (dims[i] == 0) dims[i] = x.dims[i];
    }
  dims = for_any_batch(node, x, dims);
  const auto open = std::ranges::find(dims, -1);
  if (open != dims.end()) {
    *open = 1;
    const int64_t all = count(x.dims), known = count(dims);
    check(std::ranges::count(dims, -1) == 0 && known != 0 && all % known == 0,
          "{} can not become {} with one size open", dims_text(x.dims), dims_text(dims));
    *open = all / known;
  }
  return {node.reshaped(x, dims)};
}

Results flatten_from(const Translation& node) {
  const Known& x = node.input(0);
  const int64_t given = node.number("axis", 1), axis = given < 0 ? given + x.rank() : given;
  check(axis >= 0 && axis <= x.rank(), "there is no axis {} in {}", given, dims_text(x.dims));
  const auto middle = x.dims.begin() + axis;
  return {node.reshaped(x, {count(Dims(x.dims.begin(), middle)), count(Dims(middle, x.dims.end()))})};
}

std::vector<bool> marked(const Translation& node, const std::vector<int64_t>& axes, int rank) {
  std::vector<bool> marks(static_cast<size_t>(rank), false);
  for (const int64_t axis : axes) {
    check(axis >= -rank && axis < rank, "there is no axis {} in {} dimensions", axis, rank);
    marks[static_cast<size_t>(axis < 0 ? axis + rank : axis)] = true;
  }
  check(std::ssize(axes) == std::ranges::count(marks, true), "an axis of {} stands twice", node.op());
  return marks;
}

Results squeezed(const Translation& node) {
  const Known& x = node.input(0);
  const auto axes = node.ints("axes", 1);
  const std::vector<bool> marks = marked(node, axes.value_or(Dims()), x.rank());
  Dims dims;
  for (size_t i = 0; i < x.dims.size(); ++i) {
    const bool goes = axes ? marks[i] : x.dims[i] == 1;
    check(!goes || x.dims[i] == 1, "axis {} of {} can not go", i, dims_text(x.dims));
    if (!goes) dims.push_back(x.dims[i]);
  }
  return {node.reshaped(x, dims)};
}

Results unsqueezed(const Translation& node) {
  const Known& x = node.input(0);
  const Dims axes = node.ints("axes", 1).value_or(Dims());
  const std::vector<bool> marks = marked(node, axes, x.rank() + static_cast<int>(axes.size()));
  Dims dims;
  auto next = x.dims.begin();
  for (const bool is_new : marks) dims.push_back(is_new ? 1 : *next++);
  return {node.reshaped(x, dims)};
}

Order order_of(const Translation& node, const Known& x) {
  Dims reversed;
  for (int i = x.rank(); i-- > 0;) reversed.push_back(i);
  const Dims perm = node.numbers("perm", reversed);
  Order order;
  for (const int64_t dim : perm) order.push_back(node.axis(x, dim));
  Order sorted = order;
  std::ranges::sort(sorted);
  check(sorted == in_order(x.dims.size()), "its order is no permutation of {} dimensions", x.rank());
  return order;
}

Results transpose_to(const Translation& node) {
  return {node.transposed(node.input(0), order_of(node, node.input(0)))};
}

// --- depth and space ---
// As NumPy's reshape, transpose and reshape of the definition.
Results depth_to_space(const Translation& node) {
  const Known& x = node.input(0);
  const int64_t b = node.positive("blocksize");
  check(x.rank() == 4 && x.dims[1] % (b * b) == 0, "{} does not divide into blocks of {}", dims_text(x.dims), b);
  const int64_t n = x.dims[0], c = x.dims[1] / (b * b), h = x.dims[2], w = x.dims[3];
  const bool columns = node.text("mode", "DCR") == "CRD";
  const Known split = node.reshaped(x, columns ? Dims{n, c, b, b, h, w} : Dims{n, b, b, c, h, w});
  const Known moved = node.transposed(split, columns ? Order{0, 1, 4, 2, 5, 3} : Order{0, 3, 4, 1, 5, 2});
  return {node.reshaped(moved, {n, c, h * b, w * b})};
}

Results space_to_depth(const Translation& node) {
  const Known& x = node.input(0);
  const int64_t b = node.positive("blocksize");
  check(x.rank() == 4 && b <= x.dims[2] && b <= x.dims[3] && x.dims[2] % b == 0 && x.dims[3] % b == 0,
        "{} does not divide into blocks of {}", dims_text(x.dims), b);
  const int64_t n = x.dims[0], c = x.dims[1], h = x.dims[2] / b, w = x.dims[3] / b;
  const Known moved = node.transposed(node.reshaped(x, {n, c, h, b, w, b}), {0, 3, 5, 1, 2, 4});
  return {node.reshaped(moved, {n, c * b * b, h, w})};
}

// --- parts ---
int64_t clamped_index(int64_t index, int64_t size, int64_t low, int64_t high) {
  if (index < 0 && index >= -size) index += size;
  return std::clamp(index < 0 ? low : index, low, high);
}

Known slice_of(const Translation& node, const Known& x, int axis, int64_t begin, int64_t end, int64_t step) {
  const int64_t size = x.dims[static_cast<size_t>(axis)];
  check(step != 0, "a step of 0");
  if (size >= kBatch) {
    check(begin == 0 && step == 1 && (end >= size || end == std::numeric_limits<int32_t>::max()),
          "a part of the batch is not supported");
    return x;
  }
  if (step > 0)
    return node.sliced(x, axis, clamped_index(begin, size, 0, size), clamped_index(end, size, 0, size), step);
  // Backwards, "before the first" has no number: an open end.
  const int64_t first = clamped_index(begin, size, -1, size - 1), last = clamped_index(end, size, -1, size - 1);
  return node.sliced(x, axis, first, last < 0 ? std::nullopt : std::optional(last), step);
}

Results slice_to(const Translation& node) {
  Known x = node.input(0);
  const Dims starts = node.ints("starts", 1).value_or(Dims()), ends = node.ints("ends", 2).value_or(Dims());
  Dims axes;
  for (size_t i = 0; i < starts.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  axes = node.ints("axes", 3).value_or(axes);
  const Dims steps = node.has(4) ? node.ints(4) : Dims(starts.size(), 1);
  check(starts.size() == ends.size() && axes.size() == starts.size() && steps.size() == starts.size(),
        "{} starts, {} ends, {} axes and {} steps", starts.size(), ends.size(), axes.size(), steps.size());
  for (size_t i = 0; i < starts.size(); ++i) x = slice_of(node, x, node.axis(x, axes[i]), starts[i], ends[i], steps[i]);
  return {x};
}

Results split_to(const Translation& node) {
  const Known& x = node.input(0);
  const int axis = node.axis(x, node.number("axis", 0));
  const int64_t size = x.dims[static_cast<size_t>(axis)];
  const auto parts = static_cast<int64_t>(node.outputs());
  check(size < kBatch, "the batch is not to be split");
  const int64_t each = divide_up(size, parts);
  Dims sizes = node.ints("split", 1).value_or(Dims());
  if (sizes.empty())
    for (int64_t left = size; std::ssize(sizes) < parts; left -= sizes.back()) sizes.push_back(std::min(each, left));
  int64_t total = 0;
  for (const int64_t part : sizes) total += part >= 0 && part <= size ? part : size + 1;
  check(total == size && std::ssize(sizes) == parts, "sizes of {} do not make up {} in {} parts", dims_text(sizes),
        size, parts);
  const bool equal = std::ranges::count(sizes, sizes[0]) == parts && !x.is_constant();
  Results results;
  int64_t begin = 0;
  for (int64_t i = 0; i < parts; begin += sizes[static_cast<size_t>(i)], ++i)
    results.push_back(equal ? node.layer("Split", {x}, {{"dim", x.stored(axis)}, {"parts", parts}, {"index", i}})
                            : node.sliced(x, axis, begin, begin + sizes[static_cast<size_t>(i)], 1));
  return results;
}

Results gather(const Translation& node) {
  const Known& x = node.input(0);
  const int axis = node.axis(x, node.number("axis", 0));
  const int64_t size = x.dims[static_cast<size_t>(axis)];
  check(size < kBatch, "examples can not be chosen from the batch");
  Dims indices = node.ints(1);
  for (int64_t& i : indices) {
    check(i >= -size && i < size, "there is no place {} in a dimension of {}", i, size);
    if (i < 0) i += size;
  }
  const Known& where = node.input(1);
  const Known y = indices.size() == 1 ? node.sliced(x, axis, indices[0], indices[0] + 1, 1)
                                      : node.layer("Gather", {x}, {{"dim", x.stored(axis)}, {"indices", indices}});
  Dims dims(y.dims.begin(), y.dims.begin() + axis);
  dims.insert(dims.end(), where.dims.begin(), where.dims.end());
  dims.insert(dims.end(), y.dims.begin() + axis + 1, y.dims.end());
  return {node.reshaped(y, dims)};
}

Results concatenated(const Translation& node) {
  std::vector<Known> all = node.aligned(node.all(1));
  const int axis = node.axis(all[0], node.number("axis"));
  if (all.size() == 1) return {all[0]};
  const bool has_batch = axis != 0 && std::ranges::any_of(all, [](const Known& x) { return x.dims[0] >= kBatch; });
  for (Known& x : all)
    if (has_batch && x.is_constant()) x = node.stored(node.for_every_example(x), all[0].order);
  return {node.layer("Concat", all, {{"dim", all[0].stored(axis)}})};
}

// --- more of the same ---
Results padded(const Translation& node) {
  const Known& x = node.input(0);
  const auto rank = static_cast<size_t>(x.rank());
  const Dims pads = node.ints("pads", 1).value_or(Dims());
  Dims axes;
  for (int i = 0; i < x.rank(); ++i) axes.push_back(i);
  if (node.has(3)) axes = node.ints(3);
  check(pads.size() == 2 * axes.size(), "{} pads for {} dimensions", pads.size(), axes.size());
  Dims before(rank, 0), after(rank, 0);  // as stored
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto at = static_cast<size_t>(x.stored(node.axis(x, axes[i])));
    before[at] = pads[i];
    after[at] = pads[i + axes.size()];
  }
  if (before == Dims(rank, 0) && after == before) return {x};
  const float value = node.has(2) ? node.floats(2).item() : node.real("value", 0);
  Json settings{{"before", before}, {"after", after}, {"mode", node.text("mode", "constant")}};
  if (value != 0) settings["value"] = value;
  return {node.layer("Pad", {x}, settings)};
}

Results expanded(const Translation& node) {
  const Known& x = node.input(0);
  Dims wanted = node.ints(1);
  const auto rank = std::max(x.dims.size(), wanted.size());
  Dims own(rank - x.dims.size(), 1);
  own.insert(own.end(), x.dims.begin(), x.dims.end());
  wanted.insert(wanted.begin(), rank - wanted.size(), 1);
  for (size_t i = 0; i < rank; ++i) {
    check(own[i] == wanted[i] || own[i] == 1 || wanted[i] == 1 || own[i] >= kBatch, "{} does not expand to {}",
          dims_text(x.dims), dims_text(wanted));
    if (wanted[i] == 1 || own[i] >= kBatch) wanted[i] = own[i];
  }
  const Known y = node.reshaped(x, own);
  if (wanted == own) return {y};
  if (wanted[0] == kBatch && own[0] == 1) {
    check(y.is_constant(), "a value of one example for the whole batch is not supported");
    Known one = y;
    if (const Dims rest(wanted.begin() + 1, wanted.end()); !std::equal(rest.begin(), rest.end(), own.begin() + 1)) {
      Dims shape = wanted;
      shape[0] = 1;
      one = node.layer("Expand", {node.plain(y)}, {{"shape", shape}});
    }
    return {node.for_every_example(one)};
  }
  Json shape = Json::array();
  for (const int dim : y.order) {
    const int64_t size = wanted[static_cast<size_t>(dim)];
    check(size < kBatch || own[static_cast<size_t>(dim)] >= kBatch, "{} does not expand to {}", dims_text(own),
          dims_text(wanted));
    shape.push_back(size >= kBatch ? -1 : size);
  }
  return {node.layer("Expand", {y}, {{"shape", shape}})};
}

// --- reductions ---
Results reduced(const Translation& node, const char* layer) {
  const Known& x = node.input(0);
  const auto given = node.ints("axes", 1);
  const bool keeps = node.number("keepdims", 1) != 0, all = !given || given->empty();
  if (all && node.number("noop_with_empty_axes", 0)) return {x};
  Dims every;
  for (int i = 0; i < x.rank(); ++i) every.push_back(i);
  const std::vector<bool> marks = marked(node, all ? every : *given, x.rank());
  if (layer == std::string_view("ReduceMean") && x.rank() == 4 &&
      marks == std::vector<bool>{false, false, true, true}) {
    const Known y = node.layer("GlobalAvgPool2d", {node.images(x)});
    return {keeps ? y : node.reshaped(y, {y.dims[0], y.dims[1]})};
  }
  std::vector<int> dims;
  Dims kept;
  for (int i = 0; i < x.rank(); ++i) {
    if (marks[static_cast<size_t>(i)]) dims.push_back(x.stored(i));
    if (!marks[static_cast<size_t>(i)]) kept.push_back(x.dims[static_cast<size_t>(i)]);
  }
  std::ranges::sort(dims);
  const Known y = node.layer(layer, {x}, {{"dims", dims}, {"keep_dims", true}});
  return {keeps ? y : node.reshaped(y, kept)};
}

Translate reduction(const char* layer) {
  return [layer](const Translation& node) { return reduced(node, layer); };
}

// --- what only constants have ---
Results only_known(const Translation&) {
  fail("its result is needed as a constant, but depends on what the network computes");
}

}  // namespace

Translations shape_translations() {
  Translations table{{"Reshape", reshape_to},
                     {"Flatten", flatten_from},
                     {"Squeeze", squeezed},
                     {"Unsqueeze", unsqueezed},
                     {"Transpose", transpose_to},
                     {"DepthToSpace", depth_to_space},
                     {"SpaceToDepth", space_to_depth},
                     {"Slice", slice_to},
                     {"Split", split_to},
                     {"Gather", gather},
                     {"Concat", concatenated},
                     {"Pad", padded},
                     {"Expand", expanded},
                     {"ReduceMean", reduction("ReduceMean")},
                     {"ReduceSum", reduction("ReduceSum")},
                     {"ReduceMax", reduction("ReduceMax")},
                     {"ReduceMin", reduction("ReduceMin")}};
  for (const char* op :
       {"And", "Ceil", "Constant", "ConstantOfShape", "Equal", "Floor", "Greater", "GreaterOrEqual", "Less",
        "LessOrEqual", "Mod", "Not", "Or", "Range", "ReduceProd", "Round", "Shape", "Size", "Where"})
    table[op] = only_known;
  return table;
}

}  // namespace qgrad::onnx

// Reading inputs and attributes, and bringing values into another order or shape.
#include "nn/onnx/translation.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "core/ops.h"

namespace qgrad::onnx {
namespace {

// Dimensions of two shapes of as many numbers, that go together: none, one or several of each.
struct Group {
  std::vector<int> before, after;
};

std::vector<Group> groups_of(const Dims& before, const Dims& after) {
  std::vector<Group> groups;
  size_t i = 0, j = 0;
  while (i < before.size() || j < after.size()) {
    Group group;
    const bool one_before = i < before.size() && before[i] == 1, one_after = j < after.size() && after[j] == 1;
    if (one_before || one_after) {
      if (one_before) group.before.push_back(static_cast<int>(i++));
      if (one_after) group.after.push_back(static_cast<int>(j++));
      groups.push_back(std::move(group));
      continue;
    }
    check(i < before.size() && j < after.size(), "{} can not become {}", dims_text(before), dims_text(after));
    int64_t a = before[i], b = after[j];
    group.before.push_back(static_cast<int>(i++));
    group.after.push_back(static_cast<int>(j++));
    while (a != b) {
      check(a < b ? i < before.size() : j < after.size(), "{} can not become {}", dims_text(before), dims_text(after));
      if (a < b) {
        a *= before[i];
        group.before.push_back(static_cast<int>(i++));
      } else {
        b *= after[j];
        group.after.push_back(static_cast<int>(j++));
      }
    }
    groups.push_back(std::move(group));
  }
  return groups;
}

// The shape of a stored value for a Reshape: the batch is what is left over.
Json shape_setting(const Dims& stored) {
  Json shape = Json::array();
  int open = 0;
  for (const int64_t dim : stored) {
    open += dim >= kBatch;
    check(dim < kBatch || dim % kBatch == 0, "a dimension of {} is no multiple of the batch", dims_text({dim}));
    shape.push_back(dim >= kBatch ? -1 : dim);
  }
  check(open <= 1, "a shape of {}, where the batch stands twice, is not supported", dims_text(stored));
  return {{"shape", shape}};
}

Dims stored_dims(const Dims& dims, const Order& order) {
  Dims stored;
  for (const int dim : order) stored.push_back(dims[static_cast<size_t>(dim)]);
  return stored;
}

Tensor permuted(const Tensor& x, const Order& from, const Order& to) {
  Order by;
  for (const int dim : to) by.push_back(static_cast<int>(std::ranges::find(from, dim) - from.begin()));
  return transpose(x, by);
}

}  // namespace

int64_t count(const Dims& dims) {
  int64_t count = 1;
  for (const int64_t dim : dims)
    check(dim >= 0 && !__builtin_mul_overflow(count, dim, &count), "{} is no shape that can be had", dims_text(dims));
  return count;
}

std::string dims_text(const Dims& dims) {
  std::vector<std::string> words;
  for (const int64_t dim : dims) {
    const int64_t batches = dim / kBatch, rest = dim % kBatch;
    std::string word = batches == 0 ? "" : batches == 1 ? "batch" : fmt::format("{} batch", batches);
    if (rest != 0 || batches == 0) word += fmt::format("{}{}", batches ? " + " : "", rest);
    words.push_back(word);
  }
  return fmt::format("[{}]", fmt::join(words, ", "));
}

Order in_order(size_t rank) {
  Order order(rank);
  std::iota(order.begin(), order.end(), 0);
  return order;
}

int Known::stored(int dim) const {
  if (dim < 0) dim += rank();
  return static_cast<int>(std::ranges::find(order, dim) - order.begin());
}

const Known& Translation::input(size_t i) const {
  check(has(i), "it has no input {}", i);
  return *inputs_[i];
}

std::vector<Known> Translation::all(size_t least) const {
  check(inputs_.size() >= least, "it has {} inputs, expected {} at least", inputs_.size(), least);
  std::vector<Known> all;
  for (size_t i = 0; i < inputs_.size(); ++i) all.push_back(input(i));
  return all;
}

std::vector<size_t> Translation::present() const {
  std::vector<size_t> there;
  for (size_t i = 0; i < inputs_.size(); ++i)
    if (has(i)) there.push_back(i);
  return there;
}

Translation Translation::with(const std::vector<Known>& first) const {
  std::vector<const Known*> inputs = inputs_;
  for (size_t i = 0; i < first.size(); ++i) inputs.at(i) = &first[i];
  return {builder_, node_, opset_, std::move(inputs)};
}

Tensor Translation::floats(size_t i) const {
  const Known& x = input(i);
  check(x.is_constant(), "its input {} is computed by the network, where a constant is expected", i);
  if (x.ints) {
    const std::vector<float> values(x.ints->begin(), x.ints->end());
    return Tensor::from(Shape(x.dims), values);
  }
  return x.order == in_order(x.dims.size()) ? x.floats : permuted(x.floats, x.order, in_order(x.dims.size()));
}

const std::vector<int64_t>& Translation::ints(size_t i) const {
  const Known& x = input(i);
  check(x.ints.has_value(), "its input {} is expected to be a constant of whole numbers", i);
  return *x.ints;
}

int64_t Translation::whole(size_t i) const {
  check(ints(i).size() == 1, "its input {} is expected to be one whole number, got {}", i, ints(i).size());
  return ints(i)[0];
}

int64_t Translation::number(const std::string& attribute, std::optional<int64_t> absent) const {
  const auto it = node_.attributes.find(attribute);
  if (it == node_.attributes.end() && absent) return *absent;
  check(it != node_.attributes.end() && it->second.ints.size() == 1, "expected one whole number for {}", attribute);
  return it->second.ints[0];
}

int64_t Translation::positive(const std::string& attribute, std::optional<int64_t> absent) const {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  const int64_t value = number(attribute, absent);
  check(value >= 1 && value <= kMost, "expected 1 to {} for {}, got {}", kMost, attribute, value);
  return value;
}

float Translation::real(const std::string& attribute, std::optional<float> absent) const {
  const auto it = node_.attributes.find(attribute);
  if (it == node_.attributes.end() && absent) return *absent;
  check(it != node_.attributes.end() && it->second.floats.size() == 1, "expected one number for {}", attribute);
  return it->second.floats[0];
}

std::vector<int64_t> Translation::numbers(const std::string& attribute, std::vector<int64_t> absent) const {
  const auto it = node_.attributes.find(attribute);
  return it == node_.attributes.end() ? absent : it->second.ints;
}

std::vector<float> Translation::reals(const std::string& attribute) const {
  const auto it = node_.attributes.find(attribute);
  return it == node_.attributes.end() ? std::vector<float>() : it->second.floats;
}

std::string Translation::text(const std::string& attribute, std::string absent) const {
  const auto it = node_.attributes.find(attribute);
  return it == node_.attributes.end() || it->second.texts.empty() ? absent : it->second.texts[0];
}

const Constant& Translation::tensor(const std::string& attribute) const {
  const auto it = node_.attributes.find(attribute);
  check(it != node_.attributes.end() && it->second.tensor, "expected a tensor for {}", attribute);
  return *it->second.tensor;
}

std::optional<std::vector<int64_t>> Translation::ints(const std::string& attribute, size_t i) const {
  if (has(attribute)) return numbers(attribute);
  if (has(i)) return ints(i);
  return std::nullopt;
}

Known Translation::layer(const std::string& name, std::vector<Known> x, Json settings,
                         NetworkBuilder::Parameters parameters) const {
  Order order = x.at(0).order;
  return builder_.add(name, std::move(settings), std::move(x), std::move(order), std::move(parameters));
}

Known Translation::stored(const Known& x, const Order& order) const {
  if (x.order == order) return x;
  if (x.is_constant()) {
    Known result = x;
    result.order = order;
    check(x.floats.defined(), "whole numbers where floats are expected");
    result.floats = permuted(x.floats, x.order, order);
    return result;
  }
  Order by;
  for (const int dim : order) by.push_back(x.stored(dim));
  return layer("Transpose", {x}, {{"order", by}}, order);
}

Known Translation::images(const Known& x) const {
  check(x.rank() == 4, "expected images [N, C, H, W], got {}", dims_text(x.dims));
  return stored(x, kImages);
}

Known Translation::transposed(const Known& x, const Order& dims) const {
  Known result = x;
  result.dims.clear();
  Order place(dims.size());
  for (size_t i = 0; i < dims.size(); ++i) {
    result.dims.push_back(x.dims[static_cast<size_t>(dims[i])]);
    place[static_cast<size_t>(dims[i])] = static_cast<int>(i);
  }
  for (int& dim : result.order) dim = place[static_cast<size_t>(dim)];
  return result;
}

// Dimensions that split, or that are put together, need not be moved where they lie side by side.
Known Translation::reshaped(const Known& x, const Dims& dims) const {
  check(count(x.dims) == count(dims), "{} can not become {}", dims_text(x.dims), dims_text(dims));
  if (x.ints) return constant_of(*x.ints, dims);
  if (x.dims == dims) return x;
  std::vector<Group> groups =
      count(dims) == 0 ? std::vector{Group{in_order(x.dims.size()), in_order(dims.size())}} : groups_of(x.dims, dims);
  const bool flattens = dims.size() == 2 && x.order == kImages && dims[0] == x.dims[0];
  if (flattens && !x.is_constant()) return layer("Flatten", {x}, Json::object(), in_order(2));
  // A vector as an image of one pixel, which a convolution then multiplies as a matrix does.
  if (dims.size() == 4 && dims[2] == 1 && dims[3] == 1 && x.order == kImages && dims[0] == x.dims[0] &&
      !x.is_constant())
    return layer("Reshape", {reshaped(x, {dims[0], dims[1]})}, shape_setting(stored_dims(dims, kImages)), kImages);
  // Groups in the order in which they are stored; new dimensions of one go with what is before them.
  const auto place = [&](const Group& g) {
    int first = x.rank();
    for (const int dim : g.before) first = std::min(first, x.stored(dim));
    return g.before.empty() ? -1 : first;
  };
  std::vector<std::pair<int, Group>> sorted;
  int last = -1;
  for (Group& group : groups) {
    if (!group.before.empty()) last = place(group);
    sorted.emplace_back(last, std::move(group));
  }
  std::ranges::stable_sort(sorted, {}, &std::pair<int, Group>::first);
  Order before, after;
  for (const auto& [at, group] : sorted) {
    before.insert(before.end(), group.before.begin(), group.before.end());
    after.insert(after.end(), group.after.begin(), group.after.end());
  }
  if (auto known = shuffled(x, before, dims, after)) return *known;
  const Known y = stored(x, before);
  if (y.is_constant()) {
    Known result{.dims = dims, .order = after};
    result.floats = y.floats.reshaped(Shape(stored_dims(dims, after)));
    return result;
  }
  if (stored_dims(y.dims, before) == stored_dims(dims, after)) {
    Known result = y;
    result.dims = dims;
    result.order = after;
    return result;
  }
  return layer("Reshape", {y}, shape_setting(stored_dims(dims, after)), after);
}

// Of an image whose channels were split, exchanged and put together again.
std::optional<Known> Translation::shuffled(const Known& x, const Order& before, const Dims& dims,
                                           const Order& after) const {
  const NetworkBuilder::Made* split = builder_.maker(x);
  if (x.order == before || !split || split->layer != "Reshape") return std::nullopt;
  const Known& image = split->inputs[0];
  const Dims whole = stored_dims(image.dims, image.order), parts = stored_dims(x.dims, x.order);
  const size_t outer = whole.size() - 1;
  if (stored_dims(dims, after) != whole || !std::equal(whole.begin(), whole.end() - 1, parts.begin()))
    return std::nullopt;
  std::vector<int> exchanged;
  for (size_t i = 0; i < before.size(); ++i) {
    const int from = x.stored(before[i]);
    if (i < outer && from != static_cast<int>(i)) return std::nullopt;
    if (i >= outer) exchanged.push_back(from - static_cast<int>(outer));
  }
  Tensor places = Tensor::empty({whole.back()});
  std::iota(places.mutable_data().begin(), places.mutable_data().end(), 0.0f);
  const Dims split_channels(parts.begin() + static_cast<std::ptrdiff_t>(outer), parts.end());
  const Tensor moved = transpose(places.reshaped(Shape(split_channels)), exchanged);
  const std::vector<int64_t> indices(moved.data().begin(), moved.data().end());
  return layer("Gather", {image}, {{"dim", outer}, {"indices", indices}}, after);
}

int Translation::axis(const Known& x, int64_t axis) const {
  check(axis >= -x.rank() && axis < x.rank(), "there is no axis {} in {}", axis, dims_text(x.dims));
  return static_cast<int>(axis < 0 ? axis + x.rank() : axis);
}

Known Translation::sliced(const Known& x, int dim, int64_t begin, std::optional<int64_t> end, int64_t step) const {
  const int64_t size = x.dims[static_cast<size_t>(dim)];
  if (begin == 0 && step == 1 && (!end || *end == size)) return x;
  check(size < kBatch, "a part of the batch is not supported");
  Json settings{{"dim", x.stored(dim)}, {"begin", begin}, {"end", end ? Json(*end) : Json()}, {"step", step}};
  return layer("Slice", {x}, settings);
}

std::vector<Known> Translation::aligned(std::vector<Known> operands) const {
  int rank = 0;
  for (const Known& x : operands) rank = std::max(rank, x.rank());
  const auto guide =
      std::ranges::find_if(operands, [&](const Known& x) { return !x.is_constant() && x.rank() == rank; });
  const Order order = guide == operands.end() ? in_order(static_cast<size_t>(rank)) : guide->order;
  for (Known& x : operands) {
    if (x.ints) x = constant_of(Tensor::from(Shape(x.dims), std::vector<float>(x.ints->begin(), x.ints->end())));
    Dims dims(static_cast<size_t>(rank - x.rank()), 1);
    dims.insert(dims.end(), x.dims.begin(), x.dims.end());
    x = stored(reshaped(x, dims), order);
  }
  return operands;
}

Known Translation::for_every_example(const Known& constant) const {
  const Known x = plain(constant);
  check(x.rank() > 0 && x.dims[0] == 1, "{} is not the same for every example of a batch", dims_text(x.dims));
  return layer("PerExample", {builder_.first_input()}, {{"shape", Dims(x.dims.begin() + 1, x.dims.end())}}, x.order,
               {{"value", x.floats}});
}

}  // namespace qgrad::onnx

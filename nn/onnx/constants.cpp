// Arithmetic of shapes, and whatever else is known before the network runs.
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>

#include "nn/onnx/translation.h"

namespace qgrad::onnx {
namespace {

using Results = std::vector<Known>;
using Ints = std::vector<int64_t>;

constexpr int64_t kMostFolded = int64_t{1} << 24;  // numbers of a constant; their places are floats on the way

Known whole(Ints values, Dims dims) { return constant_of(std::move(values), std::move(dims)); }
Known row(Ints values) {
  const auto size = static_cast<int64_t>(values.size());
  return whole(std::move(values), {size});
}

// --- one after the other, with broadcasting ---
// For every element of `to`, the place in a tensor of dims `from`.
std::vector<size_t> places(const Dims& from, const Dims& to) {
  check(count(to) <= kMostFolded, "a constant of {} is larger than {} numbers", dims_text(to), kMostFolded);
  std::vector<size_t> places(static_cast<size_t>(count(to)));
  for (size_t i = 0; i < places.size(); ++i) {
    size_t rest = i, step = 1;
    for (size_t d = 1; d <= from.size(); ++d) {
      const auto size = static_cast<size_t>(to[to.size() - d]), own = static_cast<size_t>(from[from.size() - d]);
      places[i] += own == 1 ? 0 : rest % size * step;
      rest /= size;
      step *= own;
    }
  }
  return places;
}

Dims common_dims(const std::vector<Known>& operands) {
  Shape shape;
  for (const Known& x : operands) shape = broadcast(shape, Shape(x.dims));
  return {shape.dims().begin(), shape.dims().end()};
}

template <class F>
Known each(const std::vector<Known>& operands, F&& f) {
  const Dims dims = common_dims(operands);
  const std::vector<size_t> a = places(operands[0].dims, dims), b = places(operands[1].dims, dims);
  Ints values(a.size());
  for (size_t i = 0; i < values.size(); ++i) values[i] = f((*operands[0].ints)[a[i]], (*operands[1].ints)[b[i]]);
  return whole(std::move(values), dims);
}

// Sums, products and negatives wrap: a file's numbers may be any.
int64_t wrapped(int64_t (*op)(uint64_t, uint64_t), int64_t a, int64_t b) {
  return op(static_cast<uint64_t>(a), static_cast<uint64_t>(b));
}
int64_t wrapped_sum(int64_t a, int64_t b) {
  return wrapped([](uint64_t x, uint64_t y) { return static_cast<int64_t>(x + y); }, a, b);
}
int64_t wrapped_difference(int64_t a, int64_t b) {
  return wrapped([](uint64_t x, uint64_t y) { return static_cast<int64_t>(x - y); }, a, b);
}
int64_t wrapped_product(int64_t a, int64_t b) {
  return wrapped([](uint64_t x, uint64_t y) { return static_cast<int64_t>(x * y); }, a, b);
}
int64_t wrapped_negative(int64_t a) { return wrapped_difference(0, a); }

int64_t quotient(int64_t a, int64_t b) {
  check(b != 0, "a division by zero in constants");
  return b == -1 ? wrapped_negative(a) : a / b;
}
int64_t remainder(int64_t a, int64_t b, bool of_c) {
  check(b != 0, "a division by zero in constants");
  if (b == -1) return 0;
  const int64_t r = a % b;
  return !of_c && r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

using Two = std::function<int64_t(int64_t, int64_t)>;
std::map<std::string, Two, std::less<>> operations(const Translation& node) {
  const bool of_c = node.number("fmod", 0) != 0;
  return {{"Add", wrapped_sum},
          {"Sub", wrapped_difference},
          {"Mul", wrapped_product},
          {"Div", quotient},
          {"Mod", [=](int64_t a, int64_t b) { return remainder(a, b, of_c); }},
          {"Equal", [](int64_t a, int64_t b) { return int64_t{a == b}; }},
          {"Greater", [](int64_t a, int64_t b) { return int64_t{a > b}; }},
          {"GreaterOrEqual", [](int64_t a, int64_t b) { return int64_t{a >= b}; }},
          {"Less", [](int64_t a, int64_t b) { return int64_t{a < b}; }},
          {"LessOrEqual", [](int64_t a, int64_t b) { return int64_t{a <= b}; }},
          {"And", [](int64_t a, int64_t b) { return int64_t{a && b}; }},
          {"Or", [](int64_t a, int64_t b) { return int64_t{a || b}; }},
          {"Max", [](int64_t a, int64_t b) { return std::max(a, b); }},
          {"Min", [](int64_t a, int64_t b) { return std::min(a, b); }}};
}

std::optional<Known> of_one(const Translation& node) {
  const Known& x = node.input(0);
  Ints values = *x.ints;
  const auto apply = [&](auto f) {
    std::ranges::transform(values, values.begin(), f);
    return whole(values, x.dims);
  };
  if (node.op() == "Neg") return apply(wrapped_negative);
  if (node.op() == "Abs") return apply([](int64_t a) { return a < 0 ? wrapped_negative(a) : a; });
  if (node.op() == "Not") return apply([](int64_t a) { return int64_t{a == 0}; });
  return std::nullopt;
}

// --- moving whole numbers: their places are moved as floats, by the translations of floats ---
std::optional<Results> moved(const Translation& node) {
  static const std::set<std::string, std::less<>> kMoving{"Concat",   "Expand",    "Flatten",  "Gather",
                                                          "Identity", "Reshape",   "Slice",    "Split",
                                                          "Squeeze",  "Transpose", "Unsqueeze"};
  if (!kMoving.contains(node.op()) || !node.has(0) || !node.input(0).ints) return std::nullopt;
  if (node.op() == "Identity") return Results{node.input(0)};
  const size_t moving = node.op() == "Concat" ? node.inputs() : 1;
  Ints values;
  std::vector<Known> numbered;
  for (size_t i = 0; i < moving; ++i) {
    const Ints& own = node.ints(i);
    Tensor indices = Tensor::empty(Shape(node.input(i).dims));
    std::iota(indices.mutable_data().begin(), indices.mutable_data().end(), static_cast<float>(values.size()));
    values.insert(values.end(), own.begin(), own.end());
    numbered.push_back(constant_of(std::move(indices)));
  }
  check(std::ssize(values) <= kMostFolded, "a constant of {} whole numbers is larger than {}", values.size(),
        kMostFolded);
  Results results = shape_translations().find(node.op())->second(node.with(numbered));
  for (Known& result : results) {
    check(result.is_constant(), "whole numbers for every example of a batch are not supported");
    const Tensor at = node.plain(result).floats;
    Ints chosen;
    for (const float i : at.data()) chosen.push_back(values.at(static_cast<size_t>(i)));
    result = whole(std::move(chosen), result.dims);
  }
  return results;
}

std::optional<Known> reduced_ints(const Translation& node) {
  const Known& x = node.input(0);
  const bool is_all = !node.ints("axes", 1) || x.rank() == 1;
  if (!is_all || x.ints->empty()) return std::nullopt;
  const Dims dims(node.number("keepdims", 1) ? x.dims.size() : 0, 1);
  const auto result = [&](int64_t value) { return whole({value}, dims); };
  if (node.op() == "ReduceMax") return result(std::ranges::max(*x.ints));
  if (node.op() == "ReduceMin") return result(std::ranges::min(*x.ints));
  const auto total = [&](int64_t start, auto op) { return std::accumulate(x.ints->begin(), x.ints->end(), start, op); };
  if (node.op() == "ReduceSum") return result(total(0, wrapped_sum));
  if (node.op() == "ReduceProd") return result(total(1, wrapped_product));
  return std::nullopt;
}

// --- making constants ---
Known given(const Translation& node) {
  if (node.has("value")) return constant_of(node.tensor("value"));
  if (node.has("value_int")) return whole({node.number("value_int")}, {});
  if (node.has("value_ints")) return row(node.numbers("value_ints"));
  if (node.has("value_float")) return constant_of(Tensor::scalar(node.real("value_float")));
  check(node.has("value_floats"), "a constant of strings, or sparse, is not supported");
  const std::vector<float> values = node.reals("value_floats");
  return constant_of(Tensor::from({static_cast<int64_t>(values.size())}, values));
}

Known filled(const Translation& node) {
  const Dims dims = node.ints(0);
  check(count(dims) <= kMostFolded, "a constant of {} is larger than {} numbers", dims_text(dims), kMostFolded);
  const Known value = node.has("value") ? constant_of(node.tensor("value")) : constant_of(Tensor::zeros({1}));
  check(count(value.dims) == 1, "expected one number for value, got {}", dims_text(value.dims));
  if (value.ints) return whole(Ints(static_cast<size_t>(count(dims)), value.ints->front()), dims);
  return constant_of(Tensor::full(Shape(dims), value.floats.data()[0]));
}

Known shape_of(const Translation& node) {
  const Dims& dims = node.input(0).dims;
  const int64_t rank = std::ssize(dims);
  const auto place = [&](const char* name, int64_t absent) {
    const int64_t at = node.number(name, absent);
    return std::clamp<int64_t>(at < 0 ? at + rank : at, 0, rank);
  };
  const int64_t begin = place("start", 0), end = std::max(begin, place("end", rank));
  return row(Ints(dims.begin() + begin, dims.begin() + end));
}

template <class T>
int64_t steps_of(T start, T limit, T delta) {
  const double steps =
      std::ceil((static_cast<double>(limit) - static_cast<double>(start)) / static_cast<double>(delta));
  check(delta != 0 && steps <= static_cast<double>(kMostFolded), "a range from {} to {} by {}", start, limit, delta);
  return static_cast<int64_t>(std::max(0.0, steps));
}

Known range(const Translation& node) {
  if (node.input(0).floats.defined()) {
    const float start = node.floats(0).item(), limit = node.floats(1).item(), delta = node.floats(2).item();
    std::vector<float> values;
    for (int64_t i = 0; i < steps_of(start, limit, delta); ++i) values.push_back(start + static_cast<float>(i) * delta);
    return constant_of(Tensor::from({static_cast<int64_t>(values.size())}, values));
  }
  const int64_t start = node.whole(0), limit = node.whole(1), delta = node.whole(2);
  Ints values;
  for (int64_t i = 0; i < steps_of(start, limit, delta); ++i)
    values.push_back(wrapped_sum(start, wrapped_product(i, delta)));
  return row(std::move(values));
}

Known cast_constant(const Translation& node) {
  const Known& x = node.input(0);
  const auto to = static_cast<Type>(node.number("to"));
  const bool to_real = to == Type::float32 || to == Type::float64 || to == Type::float16 || to == Type::bfloat16;
  if (to_real) return constant_of(node.floats(0));
  if (x.ints && to != Type::boolean) return x;
  Ints values;
  if (x.ints) values = *x.ints;
  if (!x.ints)
    for (const float value : node.floats(0).data()) {
      check(std::fabs(value) < 0x1p63f, "{} is no whole number that can be had", value);
      values.push_back(static_cast<int64_t>(value));
    }
  if (to == Type::boolean)
    for (int64_t& value : values) value = value != 0;
  return whole(std::move(values), x.dims);
}

Known chosen(const Translation& node) {
  const std::vector<Known> all = node.all(3);
  const Dims dims = common_dims(all);
  const std::array at{places(all[0].dims, dims), places(all[1].dims, dims), places(all[2].dims, dims)};
  const Ints& conditions = node.ints(0);
  const auto choose = [&](auto to, const auto& a, const auto& b) {
    for (size_t i = 0; i < at[0].size(); ++i) to[i] = conditions[at[0][i]] ? a[at[1][i]] : b[at[2][i]];
  };
  if (all[1].ints && all[2].ints) {
    Ints values(at[0].size());
    choose(values.begin(), *all[1].ints, *all[2].ints);
    return whole(std::move(values), dims);
  }
  Tensor values = Tensor::empty(Shape(dims));
  const Tensor a = node.floats(1), b = node.floats(2);
  choose(values.mutable_data().begin(), a.data(), b.data());
  return constant_of(std::move(values));
}

std::optional<Known> rounded(const Translation& node) {
  float (*f)(float) = node.op() == "Floor"   ? static_cast<float (*)(float)>(std::floor)
                      : node.op() == "Ceil"  ? static_cast<float (*)(float)>(std::ceil)
                      : node.op() == "Round" ? static_cast<float (*)(float)>(std::nearbyint)
                                             : nullptr;
  if (!f || !node.input(0).floats.defined()) return std::nullopt;
  Tensor x = node.floats(0).clone();
  for (float& value : x.mutable_data()) value = f(value);
  return constant_of(std::move(x));
}

std::optional<Known> single(const Translation& node) {
  const std::string& op = node.op();
  if (op == "Constant") return given(node);
  if (op == "Shape") return shape_of(node);
  if (op == "Size") return whole({count(node.input(0).dims)}, {});
  if (op == "ConstantOfShape" && node.input(0).ints) return filled(node);
  const std::vector<size_t> there = node.present();
  if (there.empty() || !std::ranges::all_of(there, [&](size_t i) { return node.input(i).is_constant(); }))
    return std::nullopt;
  if (op == "Range") return range(node);
  if (op == "Cast") return cast_constant(node);
  if (op == "Where" && there.size() == 3) return chosen(node);
  if (auto known = rounded(node)) return known;
  if (!std::ranges::all_of(there, [&](size_t i) { return node.input(i).ints.has_value(); })) return std::nullopt;
  if (op.starts_with("Reduce")) return reduced_ints(node);
  if (there.size() == 1) return of_one(node);
  const auto operations_of_two = operations(node);
  const auto it = operations_of_two.find(op);
  if (it == operations_of_two.end()) return std::nullopt;
  std::vector<Known> all = node.all(2);
  Known result = all[0];
  for (size_t i = 1; i < all.size(); ++i) result = each({result, all[i]}, it->second);
  return result;
}

}  // namespace

std::optional<std::vector<Known>> folded(const Translation& node) {
  if (auto results = moved(node)) return results;
  if (auto known = single(node)) return Results{*known};
  return std::nullopt;
}

}  // namespace qgrad::onnx

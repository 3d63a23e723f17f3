// What is validated is what the engine reads: every field of every kind of operation, spoilt in every way.
#include "engine/program.h"

#include <functional>
#include <limits>
#include <optional>
#include <set>
#include <tuple>

#include "core/random.h"
#include "engine/engine.h"
#include "engine/small_program.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/guarded.h"

using namespace qgrad;
using deploy::Op;
using deploy::OpKind;
using deploy::Program;
using deploy::Type;

namespace {

// A sound program with one operation of interest, and the fields of it that the engine reads.
struct Case {
  std::string name;
  Program program;
  size_t op;
  std::set<std::string> reads;
};

const Grid kGrid{.scale = 20, .zero_point = 3, .qmin = -100, .qmax = 120};

// [3,width,4] through the operation to [height,width,channels] and, where it is of bytes, through quantize and
// dequantize.
Case around(std::string name, Op op, Type in, deploy::TensorInfo out, std::set<std::string> reads, int32_t width = 3) {
  Program p;
  const auto add = [&](deploy::TensorInfo t) {
    if (t.type == Type::byte) t.grid = kGrid;
    p.tensors.push_back(t);
    return static_cast<int32_t>(p.tensors.size()) - 1;
  };
  const deploy::TensorInfo image{.type = Type::float32, .height = 3, .width = width, .channels = 4};
  int32_t at = add(image);
  if (in == Type::byte) {
    at = add({.type = Type::byte, .height = 3, .width = width, .channels = 4});
    p.ops.push_back({.kind = OpKind::quantize, .inputs = {0}, .output = at, .low = {0}, .high = {220}});
  }
  for (int32_t& input : op.inputs) input = at;
  op.output = add(out);
  p.ops.push_back(op);
  if (out.type == Type::byte) {
    deploy::TensorInfo values = out;
    values.type = Type::float32;
    const int32_t output = add(values);
    p.ops.push_back({.kind = OpKind::dequantize, .inputs = {op.output}, .output = output});
  }
  p.output = static_cast<int32_t>(p.tensors.size()) - 1;
  reads.insert({"kind", "inputs", "output"});
  return {std::move(name), std::move(p), in == Type::byte ? size_t{1} : size_t{0}, std::move(reads)};
}

std::vector<Case> cases() {
  const deploy::TensorInfo bytes{.type = Type::byte, .height = 3, .width = 3, .channels = 4};
  deploy::TensorInfo floats = bytes, row = floats, wide = bytes, wide_floats = bytes, pooled = bytes;
  floats.type = wide_floats.type = Type::float32;
  wide.channels = wide_floats.channels = 8;
  row.height = row.width = 1, row.channels = 36;
  pooled.height = pooled.width = 2;
  deploy::TensorInfo pooled_floats = pooled;
  pooled_floats.type = Type::float32;
  const deploy::Window window{.kernel_h = 3, .kernel_w = 3, .padding_h = 1, .padding_w = 1};
  const deploy::Window pool{.kernel_h = 2, .kernel_w = 2};
  const std::vector<int16_t> weight(3 * 3 * 4 * 4, -7);
  const std::vector<float> real_weight(3 * 3 * 4 * 4, 0.25f), four{1, 2, 3, 4};
  const std::vector<int32_t> bias{1, -2, 3, -4};
  const std::vector<uint8_t> low(4, 2), high(4, 200);
  std::array<uint8_t, 256> table{};
  for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<uint8_t>(i % 200);
  const std::set<std::string> output{"low", "high"},
      conv{"window", "weight", "bias", "sum_shift", "weight_step", "rescale", "low", "high"};

  std::vector<Case> list;
  list.push_back(around("quantize", {.kind = OpKind::quantize, .inputs = {0}, .low = {0}, .high = {220}}, Type::float32,
                        bytes, output));
  list.push_back(around("dequantize", {.kind = OpKind::dequantize, .inputs = {0}}, Type::byte, floats, {}));
  list.push_back(around("conv",
                        {.kind = OpKind::conv,
                         .inputs = {0},
                         .window = window,
                         .weight = weight,
                         .bias = bias,
                         .sum_shift = 2,
                         .rescale = four,
                         .low = low,
                         .high = high},
                        Type::byte, bytes, conv));
  for (const auto& [name, kind] : {std::pair("add", OpKind::add), {"multiply", OpKind::multiply}})
    list.push_back(
        around(name, {.kind = kind, .inputs = {0, 0}, .low = {0}, .high = {220}}, Type::byte, bytes, output));
  list.push_back(around("sum of floats", {.kind = OpKind::add, .inputs = {0, 0}}, Type::float32, floats, {}));
  list.push_back(around("product of floats", {.kind = OpKind::multiply, .inputs = {0, 0}}, Type::float32, floats, {}));
  list.push_back(around("lookup", {.kind = OpKind::lookup, .inputs = {0, 0}, .tables = {table, table}}, Type::byte,
                        wide, {"tables"}));
  list.push_back(
      around("max_pool", {.kind = OpKind::max_pool, .inputs = {0}, .window = pool}, Type::byte, pooled, {"window"}));
  list.push_back(around("max_pool of floats", {.kind = OpKind::max_pool, .inputs = {0}, .window = pool}, Type::float32,
                        pooled_floats, {"window"}));
  list.push_back(around("average_pool", {.kind = OpKind::average_pool, .inputs = {0}, .window = pool}, Type::float32,
                        pooled_floats, {"window"}));
  list.push_back(around("channels_first", {.kind = OpKind::channels_first, .inputs = {0}}, Type::byte, row, {}));
  list.push_back(around("real_conv",
                        {.kind = OpKind::real_conv,
                         .inputs = {0},
                         .window = window,
                         .weight = weight,
                         .bias = {0, 0, 0, 0},
                         .real_bias = four,
                         .rescale = four},
                        Type::byte, floats,
                        {"window", "weight", "bias", "sum_shift", "weight_step", "real_bias", "rescale"}));
  list.push_back(around(
      "float_conv",
      {.kind = OpKind::float_conv, .inputs = {0}, .window = window, .real_weight = real_weight, .real_bias = four},
      Type::float32, floats, {"window", "real_weight", "real_bias"}));
  list.push_back(around("clamp", {.kind = OpKind::clamp, .inputs = {0}, .real_low = -1, .real_high = 1}, Type::float32,
                        floats, {"real_low", "real_high"}));
  for (const auto type : {Type::byte, Type::float32})
    list.push_back(
        around("select",
               {.kind = OpKind::select, .inputs = {0}, .rows = {1, 2}, .columns = {2, -1}, .channels = {3, -1, 0, 1}},
               type, type == Type::byte ? pooled : pooled_floats, {"rows", "columns", "channels"}));
  for (const auto type : {Type::byte, Type::float32}) {
    Op op{.kind = OpKind::resample, .inputs = {0}, .rescale = {0.5f}, .rows = {0, 1}, .columns = {0, 0}};
    op.row_weights = {1, 3, 2, 2};
    op.column_weights = {1, 1, 2, 0, 3, 1};
    std::set<std::string> reads{"rows", "columns", "row_weights", "column_weights", "rescale"};
    if (type == Type::byte) op.low = {0}, op.high = {220}, reads.insert({"low", "high"});
    list.push_back(around("resample", op, type, type == Type::byte ? pooled : pooled_floats, reads));
  }
  list.push_back(around("layer_norm",
                        {.kind = OpKind::layer_norm,
                         .inputs = {0},
                         .real_weight = four,
                         .real_bias = four,
                         .low = {0},
                         .high = {220},
                         .epsilon = 1e-5f},
                        Type::byte, bytes, {"real_weight", "real_bias", "low", "high", "epsilon"}));
  for (const auto type : {Type::byte, Type::float32})
    list.push_back(around("gather",
                          {.kind = OpKind::gather,
                           .inputs = {0, 0},
                           .places = {35, 71, -1, -2, 0, 0, 1, 2, 3, 40, 41, 42, 7, -3, 9, 8},
                           .constants = {1, 220, 100}},
                          type, type == Type::byte ? pooled : pooled_floats, {"places", "constants"}));
  deploy::TensorInfo square = bytes;
  square.width = 4;
  list.push_back(around("matmul",
                        {.kind = OpKind::matmul, .inputs = {0, 0}, .rescale = {0.02f}, .low = {3}, .high = {220}},
                        Type::byte, square, {"rescale", "low", "high"}, 4));
  std::vector<int32_t> exponentials;
  for (int32_t i = 0; i <= 220; ++i) exponentials.push_back(1 << (29 - i / 10));
  list.push_back(around(
      "softmax",
      {.kind = OpKind::softmax, .inputs = {0}, .low = {0}, .high = {220}, .exponentials = std::move(exponentials)},
      Type::byte, bytes, {"exponentials", "low", "high"}));
  list.push_back(around("concat", {.kind = OpKind::concat, .inputs = {0, 0}}, Type::float32, wide_floats, {}));
  return list;
}

// Does not compile where an operation gets another field, which wants its line in spoilt_operations().
bool same(const Op& a, const Op& b) {
  const auto fields = [](const Op& op) {
    const auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21, f22,
                 f23, f24, f25] = op;
    return std::tie(f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21, f22,
                    f23, f24, f25);
  };
  return fields(a) == fields(b);
}

using Spoil = std::function<void(Program&)>;
// Ways to spoil a field, with the field's name; of an operation, or of the program where it is "".
struct Spoilt {
  std::string field;
  Spoil spoil;
};

template <class T>
std::vector<T> extremes() {
  using Limits = std::numeric_limits<T>;
  std::vector<T> values{0, 1, 2, 100, Limits::max(), Limits::lowest()};
  if constexpr (std::is_signed_v<T>) values.push_back(-1);
  if constexpr (std::is_floating_point_v<T>)
    for (const T value : {Limits::quiet_NaN(), Limits::infinity(), -Limits::infinity(), Limits::denorm_min()})
      values.push_back(value);
  return values;
}

template <class T>
std::vector<std::function<void(T&)>> spoilers() {
  std::vector<std::function<void(T&)>> list;
  if constexpr (std::is_same_v<T, bool>) {
    list.push_back([](bool& value) { value = !value; });
  } else if constexpr (std::is_enum_v<T>) {
    for (const int value : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 255})
      list.push_back([value](T& field) { field = static_cast<T>(value); });
  } else if constexpr (std::is_arithmetic_v<T>) {
    for (const T value : extremes<T>()) list.push_back([value](T& field) { field = value; });
  } else if constexpr (std::is_same_v<T, deploy::Window>) {
    for (auto member : {&T::kernel_h, &T::kernel_w, &T::stride_h, &T::stride_w, &T::padding_h, &T::padding_w,
                        &T::dilation_h, &T::dilation_w, &T::groups})
      for (const int32_t value : {-1, 0, 1, 2, 3, 4, 5, 65536, 65537, INT32_MAX, INT32_MIN})
        list.push_back([=](T& window) { window.*member = value; });
  } else if constexpr (std::is_same_v<T, std::array<uint8_t, 256>>) {
    list.push_back([](T& table) { table.fill(255); });
  } else {  // lists
    list.push_back([](T& values) { values.clear(); });
    list.push_back([](T& values) { values.empty() ? values.resize(1) : values.resize(values.size() - 1); });
    list.push_back([](T& values) { values.resize(values.size() + 1); });
    list.push_back([](T& values) { values.resize(values.size() + 100); });
    for (const auto& spoil : spoilers<typename T::value_type>())
      list.push_back([spoil](T& values) {
        if (values.empty()) values.resize(1);
        spoil(values.back());
      });
  }
  return list;
}

std::vector<Spoilt> spoilt_operations(size_t index) {
  std::vector<Spoilt> list;
  const auto add = [&](const char* name, auto Op::*field) {
    for (const auto& spoil : spoilers<std::remove_reference_t<decltype(std::declval<Op&>().*field)>>())
      list.push_back({name, [=](Program& p) { spoil(p.ops[index].*field); }});
  };
  add("kind", &Op::kind), add("inputs", &Op::inputs), add("output", &Op::output), add("window", &Op::window);
  add("weight", &Op::weight), add("bias", &Op::bias), add("sum_shift", &Op::sum_shift);
  add("weight_step", &Op::weight_step), add("real_weight", &Op::real_weight), add("real_bias", &Op::real_bias);
  add("real_low", &Op::real_low), add("real_high", &Op::real_high), add("rescale", &Op::rescale);
  add("low", &Op::low), add("high", &Op::high);
  add("tables", &Op::tables);
  add("rows", &Op::rows), add("columns", &Op::columns), add("channels", &Op::channels);
  add("row_weights", &Op::row_weights), add("column_weights", &Op::column_weights), add("epsilon", &Op::epsilon);
  add("places", &Op::places), add("constants", &Op::constants), add("exponentials", &Op::exponentials);
  return list;
}

std::vector<Spoilt> spoilt_programs(const Program& program) {
  std::vector<Spoilt> list;
  const auto add = [&](auto field_of) {
    using Field = std::remove_reference_t<decltype(field_of(std::declval<Program&>()))>;
    for (const auto& spoil : spoilers<Field>()) list.push_back({"", [=](Program& p) { spoil(field_of(p)); }});
  };
  add([](Program & p) -> auto& { return p.input; });
  add([](Program & p) -> auto& { return p.output; });
  add([](Program & p) -> auto& { return p.mean; });
  add([](Program & p) -> auto& { return p.deviation; });
  add([](Program & p) -> auto& { return p.class_names.emplace_back(); });
  for (size_t t = 0; t < program.tensors.size(); ++t) {
    add([t](Program & p) -> auto& { return p.tensors[t].type; });
    add([t](Program & p) -> auto& { return p.tensors[t].height; });
    add([t](Program & p) -> auto& { return p.tensors[t].width; });
    add([t](Program & p) -> auto& { return p.tensors[t].channels; });
    add([t](Program & p) -> auto& { return p.tensors[t].grid.scale; });
    add([t](Program & p) -> auto& { return p.tensors[t].grid.zero_point; });
    add([t](Program & p) -> auto& { return p.tensors[t].grid.qmin; });
    add([t](Program & p) -> auto& { return p.tensors[t].grid.qmax; });
  }
  return list;
}

// Of inputs that no image has. Address and UndefinedBehaviorSanitizer are the judges of what runs.
bool refused_or_run(Program program) {
  std::optional<deploy::Engine> engine;
  try {
    engine.emplace(std::move(program));
  } catch (const Error&) {
    return true;
  }
  const auto numbers = static_cast<size_t>(engine->input_count()),
             outputs = static_cast<size_t>(engine->output_count());
  if (numbers > 10'000 || outputs > 10'000) return false;
  for (const float value : {0.0f, 1e38f, -1e38f, std::numeric_limits<float>::quiet_NaN()}) {
    test::Guarded<float> image(numbers), result(outputs);
    for (size_t i = 0; i < numbers; ++i) image.data()[i] = i % 3 == 0 ? value : static_cast<float>(i) / 8 - 2;
    engine->run(image.span(), {result.data(), outputs});
  }
  return false;
}

}  // namespace

TEST_CASE("a field that an operation has no use for is refused, and one that it reads is checked") {
  for (const Case& c : cases()) {
    INFO(c.name);
    REQUIRE_NOTHROW(deploy::Engine(c.program));
    REQUIRE_FALSE(refused_or_run(c.program));
    for (const Spoilt& spoilt : spoilt_operations(c.op)) {
      INFO(spoilt.field);
      Program program = c.program;
      spoilt.spoil(program);
      const bool refused = refused_or_run(program);
      if (!c.reads.contains(spoilt.field) && !same(program.ops[c.op], c.program.ops[c.op])) CHECK(refused);
    }
  }
}

TEST_CASE("a program whose sizes, types, grids or ends are spoilt is refused or harmless") {
  for (const Case& c : cases())
    for (const Spoilt& spoilt : spoilt_programs(c.program)) {
      Program program = c.program;
      spoilt.spoil(program);
      refused_or_run(std::move(program));
    }
}

TEST_CASE("a program that is spoilt in several places is refused or harmless") {
  RandomStream random(5, "spoilt");
  const auto below = [&](size_t n) {
    return std::min(n - 1, static_cast<size_t>(random.uniform() * static_cast<float>(n)));
  };
  for (const Case& c : cases()) {
    std::vector<Spoilt> ways = spoilt_operations(c.op);
    for (const Spoilt& spoilt : spoilt_programs(c.program)) ways.push_back(spoilt);
    for (int round = 0; round < 200; ++round) {
      Program program = c.program;
      for (size_t times = 2 + below(2); times > 0; --times) ways[below(ways.size())].spoil(program);
      refused_or_run(std::move(program));
    }
  }
}

TEST_CASE("a resample whose sums floats could not hold, or that reads beyond its image, is refused") {
  const std::vector<Case> all = cases();
  const auto found = std::ranges::find(all, "resample", &Case::name);
  REQUIRE(found != all.end());
  const auto why = [&](auto&& spoil) {
    Program program = found->program;
    spoil(program.ops[found->op]);
    return test::error_of([&] { deploy::validate(program); });
  };
  CHECK(why([](Op&) {}) == "no error");
  CHECK_THAT(why([](Op& op) { op.row_weights[1] = 1 << 16; }), Contains("sums may reach") && Contains("beyond 2^24"));
  CHECK_THAT(why([](Op& op) { op.column_weights[0] = 0.5f; }), Contains("its weight 0.5 is no integer"));
  CHECK_THAT(why([](Op& op) { op.rows[1] = 2; }), Contains("rows 2 and the 1 behind it are not within 3"));
  CHECK_THAT(why([](Op& op) { op.columns[0] = -1; }), Contains("columns -1 and the 2 behind it are not within 3"));
  CHECK_THAT(why([](Op& op) { op.column_weights.resize(8); }), Contains("8 weights for 2 columns of 3"));
  CHECK_THAT(why([](Op& op) { op.row_weights.clear(); }), Contains("0 weights for 2 rows of 3"));
  CHECK_THAT(why([](Op& op) { op.rescale[0] = 0; }), Contains("expected one positive factor"));
}

TEST_CASE("a gather, a product of matrices or a softmax whose numbers do not fit is refused") {
  const auto why = [](const char* name, auto&& spoil) {
    const std::vector<Case> all = cases();
    const auto found = std::ranges::find(all, name, &Case::name);
    REQUIRE(found != all.end());
    Program program = found->program;
    spoil(program, program.ops[found->op]);
    return test::error_of([&] { deploy::validate(program); });
  };
  CHECK_THAT(why("gather", [](Program&, Op& op) { op.places[3] = 72; }),
             Contains("place 72 is none of 72 numbers and 3 constants"));
  CHECK_THAT(why("gather", [](Program&, Op& op) { op.places[3] = -4; }), Contains("place -4 is none of 72 numbers"));
  CHECK_THAT(why("gather", [](Program&, Op& op) { op.constants[1] = 221; }),
             Contains("221 is not on the output's grid"));
  CHECK_THAT(why("gather", [](Program&, Op& op) { op.constants[1] = 0.5f; }), Contains("not on the output's grid"));
  CHECK_THAT(why("gather", [](Program& p, Op& op) { p.tensors[static_cast<size_t>(op.output)].grid.scale = 7; }),
             Contains("the types or grids of input 0 and output differ"));
  CHECK(why("gather", [](Program& p, Op& op) {
          std::ranges::fill(op.places, -1);
          p.tensors[static_cast<size_t>(op.output)].grid.scale = 7;
        }) == "no error");
  CHECK_THAT(why("matmul", [](Program& p, Op& op) { p.tensors[static_cast<size_t>(op.output)].channels = 5; }),
             Contains("3x4x4 times 3x4x4 is no 3x4x5"));
  CHECK_THAT(why("matmul",
                 [](Program& p, Op&) {
                   for (deploy::TensorInfo& t : p.tensors) t.height = 1, t.width = t.channels = 1 << 13;
                 }),
             Contains("more than"));
  CHECK_THAT(why("softmax", [](Program&, Op& op) { op.exponentials[0] = 0; }), Contains("of the largest is zero"));
  CHECK_THAT(why("softmax", [](Program&, Op& op) { op.exponentials[9] = -1; }), Contains("exponential -1 is negative"));
  CHECK_THAT(why("softmax", [](Program&, Op& op) { op.exponentials.pop_back(); }),
             Contains("expected 221 exponentials"));
}

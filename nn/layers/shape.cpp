// Construction and printing of the layers that put numbers elsewhere.
#include "nn/layers/shape.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace qgrad {

// For fields(), found by the type.
std::vector<std::pair<std::string, PadMode>> enum_names(PadMode*) {
  return {
      {"constant", PadMode::constant}, {"reflect", PadMode::reflect}, {"edge", PadMode::edge}, {"wrap", PadMode::wrap}};
}
std::vector<std::pair<std::string, ResizeMode>> enum_names(ResizeMode*) {
  return {{"nearest", ResizeMode::nearest}, {"linear", ResizeMode::linear}, {"cubic", ResizeMode::cubic}};
}
std::vector<std::pair<std::string, ResizeCoordinates>> enum_names(ResizeCoordinates*) {
  return {{"half_pixel", ResizeCoordinates::half_pixel},
          {"asymmetric", ResizeCoordinates::asymmetric},
          {"align_corners", ResizeCoordinates::align_corners},
          {"pytorch_half_pixel", ResizeCoordinates::pytorch_half_pixel},
          {"half_pixel_symmetric", ResizeCoordinates::half_pixel_symmetric}};
}
std::vector<std::pair<std::string, ResizeRounding>> enum_names(ResizeRounding*) {
  return {{"floor", ResizeRounding::floor},
          {"ceil", ResizeRounding::ceil},
          {"round_prefer_floor", ResizeRounding::round_prefer_floor},
          {"round_prefer_ceil", ResizeRounding::round_prefer_ceil}};
}

namespace {

const RegisteredLayer<Reshape, ReshapeConfig> reshape_class{"Reshape"};
const RegisteredLayer<Transpose, TransposeConfig> transpose_class{"Transpose"};
const RegisteredLayer<Slice, SliceConfig> slice_class{"Slice"};
const RegisteredLayer<Pad, PadConfig> pad_class{"Pad"};
const RegisteredLayer<Gather, GatherConfig> gather_class{"Gather"};
const RegisteredLayer<Expand, ExpandConfig> expand_class{"Expand"};
const RegisteredLayer<Resize, ResizeConfig> resize_class{"Resize"};

}  // namespace

void fields(Fields& v, ReshapeConfig& c) {
  v("shape", c.shape,
    {.help = "sizes of all dimensions, the batch's included; one may be -1: what is left",
     .min = -1,
     .required = true});
}
void fields(Fields& v, TransposeConfig& c) {
  v("order", c.order, {.help = "of every dimension of the result, which one of the input it is", .required = true});
}
void fields(Fields& v, SliceConfig& c) {
  v("dim", c.dim, {.help = "dimension of which a part is taken"});
  v("begin", c.begin, {.help = "first place; negative: from the end; null: the first in the direction of the step"});
  v("end", c.end, {.help = "the place behind the last; negative: from the end; null: all the way"});
  v("step", c.step, {.help = "from one place to the next; negative: backwards"});
}
void fields(Fields& v, PadConfig& c) {
  v("before", c.before, {.help = "of every dimension, how much comes before it; negative: cut off", .required = true});
  v("after", c.after, {.help = "of every dimension, how much comes behind it; negative: cut off", .required = true});
  v("mode", c.mode,
    {.help = "what comes there: a value (\"constant\"), the numbers mirrored (\"reflect\"), the first and the last "
             "(\"edge\"), those of the other side (\"wrap\")"});
  v("value", c.value, {.help = "the value of mode \"constant\""});
}
void fields(Fields& v, GatherConfig& c) {
  v("dim", c.dim, {.help = "dimension of which places are taken"});
  v("indices", c.indices, {.help = "the places, in order; negative: from the end", .required = true});
}
void fields(Fields& v, ExpandConfig& c) {
  v("shape", c.shape, {.help = "sizes of all dimensions; -1: as it is", .min = -1, .required = true});
}
void fields(Fields& v, ResizeConfig& c) {
  v("size", c.size, {.help = "height and width of the result; null: the scale says it", .min = 1});
  v("scale", c.scale, {.help = "of height and width; null: the ratio of the sizes", .min = 0, .above_min = true});
  v("mode", c.options.mode, {.help = "\"nearest\", \"linear\" or \"cubic\""});
  v("coordinates", c.options.coordinates,
    {.help =
         "\"half_pixel\", \"asymmetric\", \"align_corners\", \"pytorch_half_pixel\" or \"half_pixel_symmetric\", as "
         "ONNX defines them"});
  v("rounding", c.options.rounding,
    {.help = "of mode \"nearest\": \"floor\", \"ceil\", \"round_prefer_floor\" or \"round_prefer_ceil\""});
  v("cubic_coefficient", c.options.cubic_coefficient, {.help = "of mode \"cubic\""});
}

Reshape::Reshape(const ReshapeConfig& config) : shape_(config.shape) {
  check(std::ranges::count(shape_, -1) <= 1, "Reshape: expected one -1 at the most, got {}", fmt::join(shape_, "x"));
}

std::string Reshape::describe() const { return fmt::format("{}", fmt::join(shape_, "x")); }
std::string Transpose::describe() const { return fmt::format("{}", fmt::join(order_, ", ")); }
std::string Expand::describe() const { return fmt::format("{}", fmt::join(shape_, "x")); }

Tensor Reshape::forward(const Tensor& x) {
  std::vector<int64_t> dims = shape_;
  const auto open = std::ranges::find(dims, -1);
  if (open != dims.end()) *open = 1;
  const int64_t known = Shape(dims).numel();
  if (open != dims.end()) *open = known > 0 ? x.numel() / known : 0;
  check(Shape(dims).numel() == x.numel(), "Reshape: {} does not become {}", x.shape(), fmt::join(shape_, "x"));
  return reshape(x, Shape(dims));
}

Slice::Slice(const SliceConfig& config) : config_(config) { check(config.step != 0, "Slice: a step of 0"); }

std::string Slice::describe() const {
  const auto text = [](const std::optional<int64_t>& at) { return at ? fmt::format("{}", *at) : std::string(); };
  return fmt::format("{}:{}:{}, dim={}", text(config_.begin), text(config_.end), config_.step, config_.dim);
}

Pad::Pad(const PadConfig& config) : config_(config) {
  check(config.before.size() == config.after.size(), "Pad: {} amounts before, and {} after", config.before.size(),
        config.after.size());
}

Effect Pad::effect() const {
  const bool zeros = config_.mode != PadMode::constant || config_.value == 0;
  return {.kind = zeros ? Effect::Kind::moves : Effect::Kind::mixes};
}

std::string Pad::describe() const {
  const std::string text =
      fmt::format("before={}, after={}", fmt::join(config_.before, "x"), fmt::join(config_.after, "x"));
  if (config_.mode != PadMode::constant) return text + ", " + enum_name(config_.mode);
  return config_.value == 0 ? text : text + fmt::format(", value={}", config_.value);
}

Tensor Expand::forward(const Tensor& x) {
  std::vector<int64_t> dims = shape_;
  const int64_t missing = std::ssize(dims) - x.rank();
  check(missing >= 0, "Expand: {} has more dimensions than {}", x.shape(), fmt::join(shape_, "x"));
  for (size_t i = 0; i < dims.size(); ++i) {
    const int64_t own = static_cast<int64_t>(i) - missing;
    check(dims[i] >= 0 || own >= 0, "Expand: {} has no dimension for the -1 of {}", x.shape(), fmt::join(shape_, "x"));
    if (dims[i] < 0) dims[i] = x.dim(static_cast<int>(own));
  }
  return expand(x, Shape(dims));
}

Resize::Resize(const ResizeConfig& config) : options_(config.options) {
  check(config.size || config.scale, "Resize: expected a size, or scales");
  check(!config.size || config.size->size() == 2, "Resize: expected a size [height, width], got {} numbers",
        config.size ? config.size->size() : 0);
  check(!config.scale || config.scale->size() == 2, "Resize: expected scales of height and width, got {} numbers",
        config.scale ? config.scale->size() : 0);
  if (config.size) options_.height = config.size->at(0), options_.width = config.size->at(1);
  if (config.scale) options_.scale_h = config.scale->at(0), options_.scale_w = config.scale->at(1);
}

Effect Resize::effect() const {
  if (options_.mode == ResizeMode::cubic) return {};  // it overshoots
  return {.kind = options_.mode == ResizeMode::nearest ? Effect::Kind::moves : Effect::Kind::averages};
}

std::string Resize::describe() const {
  std::string text = options_.height ? fmt::format("size={}x{}", *options_.height, *options_.width)
                                     : fmt::format("scale={}x{}", *options_.scale_h, *options_.scale_w);
  text += fmt::format(", {}, {}", enum_name(options_.mode), enum_name(options_.coordinates));
  return options_.mode == ResizeMode::nearest ? text + ", " + enum_name(options_.rounding) : text;
}

}  // namespace qgrad

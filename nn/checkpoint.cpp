// Between a model's tensors and a file's.
#include "nn/checkpoint.h"

#include <nlohmann/json.hpp>
#include <set>

#include "core/checksum.h"
#include "core/file_kind.h"
#include "nn/models/architecture.h"

namespace qgrad {
namespace {

constexpr const char* kConfigKey = "qgrad";

// The tensors a model wants from a file.
struct Wanted {
  std::optional<Shape> shape;  // in the file; none: any shape, or absent
  Parameter* parameter = nullptr;
  Buffer* buffer = nullptr;

  const Limits& limits() const { return parameter ? parameter->limits() : buffer->limits(); }
  void set(const Tensor& value) const {
    if (parameter)
      parameter->set_raw(from_file_layout(value, parameter->layout()));
    else
      buffer->set(value.clone());
  }
};

// A few of a list of complaints, and how many there are.
class Complaints {
 public:
  void add(std::string what) {
    if (count_++ < 3) text_ += (text_.empty() ? "" : ", ") + std::move(what);
  }
  std::string text(std::string_view heading) const {
    if (count_ == 0) return "";
    return fmt::format("; {} {}{}", heading, text_, count_ > 3 ? fmt::format(" and {} more", count_ - 3) : "");
  }

 private:
  std::string text_;
  int count_ = 0;
};

std::map<std::string, Wanted> wanted_by(Module& model) {
  std::map<std::string, Wanted> wanted;
  for (Parameter* p : all_parameters(model))
    wanted[p->path()] = {file_shape(p->raw().shape(), p->layout()), p, nullptr};
  for (Buffer* b : all_buffers(model))
    wanted[b->path()] = {(*b)().defined() ? std::optional((*b)().shape()) : std::nullopt, nullptr, b};
  return wanted;
}

// "; missing fc.bias; unknown x; wrong shape: y is [3], wanted [4]", or "".
std::string misfit(const std::map<std::string, Wanted>& wanted, const NamedTensors& tensors) {
  Complaints missing, unknown, wrong;
  std::set<std::string> present;
  for (const auto& [name, tensor] : tensors) {
    present.insert(name);
    const auto it = wanted.find(name);
    if (it == wanted.end())
      unknown.add(name);
    else if (it->second.shape && *it->second.shape != tensor.shape())
      wrong.add(fmt::format("{} is {}, wanted {}", name, tensor.shape(), *it->second.shape));
  }
  for (const auto& [name, want] : wanted)
    if (want.shape && !present.contains(name)) missing.add(name);
  return missing.text("missing") + unknown.text("unknown") + wrong.text("wrong shape:");
}

void check_numbers(std::string_view source, const std::string& name, const Tensor& tensor, const Limits& limits) {
  for (size_t i = 0; i < tensor.data().size(); ++i) {
    const float value = tensor.data()[i];
    check(value >= limits.low && value <= limits.high, "{}: {}: number {} is {}, expected {}", source, name, i, value,
          limits == Limits() ? "a finite one" : fmt::format("one from {} to {}", limits.low, limits.high));
  }
}

bool is_onnx_file(const std::filesystem::path& file) {
  return file.extension() == ".onnx" || kind_of_file(file) == "an ONNX model";
}

}  // namespace

void check_numbers(Module& model, std::string_view source) {
  for (const Parameter* p : all_parameters(model)) check_numbers(source, p->path(), p->raw(), p->limits());
  for (const Buffer* b : all_buffers(model))
    if ((*b)().defined()) check_numbers(source, b->path(), (*b)(), b->limits());
}

std::string state_checksum(Module& model) {
  uint32_t sum = 0;
  for (const auto& [path, tensor] : model_state(model)) {
    sum = crc32c(fmt::format("{} {}", path, tensor.shape()), sum);
    const std::span<const float> numbers = tensor.data();
    sum = crc32c({reinterpret_cast<const char*>(numbers.data()), numbers.size_bytes()}, sum);
  }
  return fmt::format("{:08x}", sum);
}

NamedTensors model_state(Module& model) {
  NamedTensors state;
  visit_modules(model, [&](Module& m) {
    for (const Parameter* p : m.parameters())
      if (p->defined()) state.emplace_back(p->path(), to_file_layout(p->raw(), p->layout()));
    for (const Buffer* b : m.buffers())
      if ((*b)().defined()) state.emplace_back(b->path(), (*b)());
  });
  return state;
}

void save_checkpoint(const std::filesystem::path& file, Module& model, const Json& config) {
  check_numbers(model, file.string());
  write_checkpoint(file, {.file = file, .tensors = model_state(model), .config = config});
}

void write_checkpoint(const std::filesystem::path& file, const Checkpoint& checkpoint) {
  std::map<std::string, std::string> metadata = checkpoint.metadata;
  metadata.merge(std::map<std::string, std::string>{{"format", "pt"}, {kConfigKey, json_line(checkpoint.config)}});
  write_safetensors(file, {.metadata = metadata, .tensors = checkpoint.tensors});
}

Checkpoint import_checkpoint(const std::filesystem::path& onnx_file, const onnx::ImportOptions& options) {
  const onnx::Imported imported = [&] {
    onnx::Model model = onnx::read(onnx_file);
    try {
      return onnx::import_model(std::move(model), options);
    } catch (const Error& e) {
      fail("{}: {}", onnx_file.string(), e.what());
    }
  }();
  Checkpoint checkpoint{.file = onnx_file, .tensors = model_state(*imported.build())};
  checkpoint.config = {{"name", onnx_file.stem().string()}, {"model", imported.model.json()}};
  const Json& inputs = imported.model.json().at("inputs");
  if (inputs.size() == 1 && inputs[0].at("shape").size() == 3)
    checkpoint.config["trained_on"] = {{"image", inputs[0].at("shape")}};
  return checkpoint;
}

Checkpoint read_checkpoint(const std::filesystem::path& file) {
  if (is_onnx_file(file)) return import_checkpoint(file, {});
  TensorFile content = read_safetensors(file);
  Checkpoint checkpoint{.file = file, .tensors = std::move(content.tensors), .metadata = std::move(content.metadata)};
  if (const auto it = checkpoint.metadata.find(kConfigKey); it != checkpoint.metadata.end()) {
    checkpoint.config = parse_json(it->second, fmt::format("{} (metadata '{}')", file.string(), kConfigKey));
    checkpoint.metadata.erase(it);
  }
  return checkpoint;
}

void load_state(Module& model, const NamedTensors& state, std::string_view source) {
  const std::map<std::string, Wanted> wanted = wanted_by(model);
  const std::string complaint = misfit(wanted, state);
  check(complaint.empty(), "{}: does not fit {}{}", source, model.kind(), complaint);
  for (const auto& [name, tensor] : state) check_numbers(source, name, tensor, wanted.at(name).limits());
  for (const auto& [name, tensor] : state) wanted.at(name).set(tensor);
}

std::optional<Json> guess_architecture(const Checkpoint& checkpoint) {
  // Classifiers end in a linear layer, whose weight is the last matrix.
  int64_t classes = 0;
  for (const auto& [name, tensor] : checkpoint.tensors)
    if (tensor.rank() == 2) classes = tensor.dim(0);
  if (classes == 0) return std::nullopt;

  const Json schema = Registry<Architecture>::instance().schema();
  for (const Json& entry : schema.at("oneOf")) {
    const bool is_default_but_classes = entry.at("required").size() == 1 && entry.at("properties").contains("classes");
    if (!is_default_but_classes) continue;
    const Json config = {{"class", entry["properties"]["class"]["const"]}, {"classes", classes}};
    const ModulePtr model = Registry<Architecture>::create({config, checkpoint.file.string(), "model"})->make();
    if (misfit(wanted_by(*model), checkpoint.tensors).empty()) return config;
  }
  return std::nullopt;
}

}  // namespace qgrad

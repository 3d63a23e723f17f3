// Files to begin with, a folder for each fuzz target, and words of configs: fuzz_seeds FOLDER.
// $QGRAD_ONNX_BACKEND: the folder of ONNX's own tests, whose models are added where they are small.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/schema.h"
#include "core/file.h"
#include "engine/program_file.h"
#include "engine/small_program.h"
#include "nn/checkpoint.h"
#include "nn/models/architecture.h"
#include "quant/export/every_layer.h"
#include "quant/export/lowering.h"
#include "quant/export/onnx.h"
#include "support/image_files.h"
#include "support/random_net.h"
#include "support/temporary_folder.h"
#include "tests/fuzz/fuzz.h"

namespace qgrad::fuzz {
namespace {

namespace fs = std::filesystem;

constexpr uintmax_t kLargest = 16384;  // what is longer takes too long to vary

// Numbered files of one target.
class Seeds {
 public:
  explicit Seeds(fs::path folder) : folder_(std::move(folder)) {}
  void add(std::string_view bytes) {
    if (bytes.size() <= kLargest) write_file_atomically(folder_ / std::to_string(count_++), bytes);
  }
  void add_files(const fs::path& below, const std::string& extension) {
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(below))
      if (entry.path().extension() == extension && entry.file_size() <= kLargest)
        add(read_file(entry.path(), "a seed"));
  }

 private:
  fs::path folder_;
  int count_ = 0;
};

// Everything that stands in quotes in a schema: keys, and the names of classes and values.
void collect_words(const Json& schema, std::set<std::string>& words) {
  if (schema.is_string() && schema.get<std::string>().find(' ') == std::string::npos)
    words.insert(schema.get<std::string>());
  if (!schema.is_structured()) return;
  for (const auto& [key, value] : schema.items()) {
    if (schema.is_object()) words.insert(key);
    collect_words(value, words);
  }
}

void write_words(const fs::path& file) {
  std::set<std::string> words;
  for (const std::string& command : commands_with_schema()) collect_words(config_schema(command), words);
  std::string text;
  for (const std::string& word : words)
    if (word.find_first_of("\\\"/#") == word.npos) text += "\"\\\"" + word + "\\\"\"\n";
  write_file_atomically(file, text);
}

constexpr const char* kFloatNet =
    R"({"class": "network", "inputs": [{"name": "image", "shape": [6, 8, 3]}], "nodes": [
  {"name": "conv", "class": "Conv2d", "out": 4, "padding": 1}, {"name": "relu", "class": "ReLU"},
  {"name": "pool", "class": "MaxPool2d", "kernel": 2}, {"name": "mix", "class": "Conv2d", "out": 4, "kernel": 1},
  {"name": "add", "class": "EltwiseAdd", "inputs": ["mix", "pool"]}, {"name": "clip", "class": "ReLU6"},
  {"name": "join", "class": "Concat", "inputs": ["clip", "pool"]}, {"name": "average", "class": "AvgPool2d", "kernel": 2},
  {"name": "flat", "class": "Flatten"}, {"name": "fc", "class": "Linear", "out": 5}]})";

constexpr const char* kResampledNet =
    R"({"class": "network", "inputs": [{"name": "image", "shape": [6, 8, 3]}], "nodes": [
  {"name": "conv", "class": "Conv2d", "out": 4, "padding": 1}, {"name": "norm", "class": "LayerNorm", "shape": [4]},
  {"name": "large", "class": "Resize", "scale": [2, 1.5], "mode": "linear"},
  {"name": "inside", "class": "AvgPool2d", "kernel": 3, "padding": 1, "count_padding": false},
  {"name": "flat", "class": "Flatten"}, {"name": "fc", "class": "Linear", "out": 5}]})";

// Of one network in float, others quantized.
std::vector<deploy::Program> programs() {
  const ModulePtr in_float = Registry<Architecture>::create(Config::parse(kFloatNet, "model"))->build(1);
  in_float->set_training(false);
  std::vector<deploy::Program> all{deploy::lower(*in_float, Tensor::zeros({1, 6, 8, 3})).program};
  const auto add = [&](ModulePtr net, const Json& quantizer, const Tensor& images) {
    const ModulePtr model = test::quantized(std::move(net), quantizer, images);
    all.push_back(deploy::lower(*model, Tensor::zeros({1, images.dim(1), images.dim(2), 3})).program);
  };
  for (const char* mode : {"SYMMETRIC", "ASYMMETRIC_UNSIGNED"})
    add(test::every_layer(4), {{"bits_weights", 2}, {"mode", mode}}, test::normal_tensor({4, 4, 4, 3}, 1));
  add(Registry<Architecture>::create(Config::parse(kResampledNet, "model"))->build(1), Json::object(),
      test::normal_tensor({4, 6, 8, 3}, 1));
  for (int bits = 2; bits <= 8; ++bits)
    add(test::random_net(static_cast<uint64_t>(bits), {}), {{"bits_weights", bits}}, test::images(4, 1));
  return all;
}

// Without the checksums, which no change would pass.
std::string without_checksums(const std::string& file) {
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  Json header = parse_json(file.substr(sizeof length, length), "header");
  header["__metadata__"].erase("qgrad_crc32c");
  const std::string text = header.dump(), numbers = file.substr(sizeof length + length);
  length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + text + numbers;
}

// Of small networks, in float, and as two quantizers prepare them.
std::vector<std::string> checkpoints() {
  std::vector<std::string> all;
  const test::TemporaryFolder folder;
  const fs::path file = folder.path() / "net.safetensors";
  for (const char* quantizer : {"null", R"({"class": "LSQQuantizer", "bits_weights": 4, "bits_activations": 4})",
                                R"({"class": "PACTQuantizer", "bits_weights": 8, "bits_activations": 4})"}) {
    const Json config = {{"name", "net"},
                         {"seed", 1},
                         {"data", {{"dataset", {{"class", "digits"}}}}},
                         {"model", parse_json(R"({"class": "network", "inputs": [{"shape": [8, 8, 1]}], "nodes": [
                            {"name": "conv", "class": "Conv2d", "out": 2, "kernel": 3}, {"name": "relu", "class": "ReLU"},
                            {"name": "flat", "class": "Flatten"}, {"name": "fc", "class": "Linear", "out": 10}]})",
                                              "model")},
                         {"trained_on", {{"image", {8, 8, 1}}}},
                         {"quantizer", parse_json(quantizer, "quantizer")},
                         {"metrics", nullptr}};
    ModulePtr model = Registry<Architecture>::create({config["model"], "", "model"})->build(1);
    if (!config["quantizer"].is_null())
      Registry<Quantizer>::create({config["quantizer"], "", "quantizer"})
          ->prepare(model, nullptr, Tensor::zeros({1, 8, 8, 1}));
    save_checkpoint(file, *model, config);
    all.push_back(read_file(file, "a checkpoint"));
    all.push_back(without_checksums(all.back()));
  }
  return all;
}

std::string statistics(bool with_histograms) {
  QuantStats stats;
  for (const char* layer : {"conv", "relu"}) {
    TensorStats tensor{.min = -1,
                       .max = 3,
                       .avg_min = -0.5,
                       .avg_max = 2,
                       .mean = 0.1,
                       .std = 1,
                       .b = 0.7,
                       .shape = "(4, 3, 8, 8)",
                       .total_numel = 768,
                       .histogram = {}};
    if (with_histograms)
      tensor.histogram = Histogram{.bin_width = 0.5, .first_bin = -2, .counts = {1, 20, 40, 7, 0, 0, 2, 1}};
    stats.add(layer) = {.inputs = {tensor}, .output = tensor};
  }
  return json_text(stats_to_json(stats));
}

void write_seeds(const fs::path& to) {
  const fs::path source = QGRAD_SOURCE_DIR;
  Seeds config(to / "config"), safetensors(to / "safetensors"), checkpoint(to / "checkpoint"), program(to / "program"),
      onnx(to / "onnx"), stats(to / "statistics"), cifar10(to / "cifar10"), movielens(to / "movielens"),
      image(to / "image");
  for (const char* folder : {"configs", "examples"}) config.add_files(source / folder, ".json");
  write_words(to / "config.dict");
  write_words(to / "checkpoint.dict");
  for (const std::string& file : checkpoints()) safetensors.add(file), checkpoint.add(file);
  program.add(deploy::program_bytes(test::small_program()).substr(kProgramHead));
  for (const deploy::Program& p : programs()) {
    program.add(deploy::program_bytes(p).substr(kProgramHead));
    onnx.add(deploy::onnx_model(p, {.name = "net"}));
  }
  if (const char* tests = std::getenv("QGRAD_ONNX_BACKEND")) onnx.add_files(tests, ".onnx");
  stats.add(statistics(false)), stats.add(statistics(true));
  cifar10.add(std::string(1, '\2') + std::string(3072, '\1')), cifar10.add("short");
  movielens.add("1::10::5::100\n1::20::3::90\n2::10::4::80\n1::30::4::110\n");
  movielens.add("userId,movieId,rating,timestamp\n1,10,5.0,100\n1,20,3.5,90\n2,10,4,80\r\n");
  movielens.add("196\t242\t3\t881250949\n186\t302\t3\t891717742\n196\t302\t1\t881250950\n");
  image.add_files(source / "examples", ".png");
  for (const int64_t channels : {1, 2, 3, 4}) {
    const Image picture = test::random_image({5, 7, channels}, 1);
    for (const auto write : {test::write_png, test::write_jpeg}) {
      image.add(test::bytes_of(write, picture));
      image.add(test::with_exif(test::bytes_of(write, picture), test::exif(6, "MM")));
    }
  }
}

}  // namespace
}  // namespace qgrad::fuzz

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: fuzz_seeds FOLDER\n"), 2;
  qgrad::fuzz::write_seeds(argv[1]);
}

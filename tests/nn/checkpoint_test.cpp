// Checkpoints and the safetensors format, honest and hostile.
#include "nn/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/random.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "nn/models/architecture.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/golden.h"
#include "support/values.h"

using namespace qgrad;

namespace {

// A folder that is removed with everything in it.
struct TemporaryFolder {
  std::filesystem::path path;
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "qgrad_XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
};

ModulePtr small_model(int64_t seed = 1) {
  auto model = std::make_unique<Sequential>();
  model->add("conv", std::make_unique<Conv2d>(square_conv(2, 3, 3))).add("bn", std::make_unique<BatchNorm2d>(3));
  model->add("fc", std::make_unique<Linear>(4, 5));
  initialize(*model, static_cast<uint64_t>(seed), ConvInit::uniform_fan_in);
  return model;
}

std::string bytes_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string safetensors(const std::string& header, size_t data_bytes) {
  std::string bytes(8, '\0');
  const uint64_t length = header.size();
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(data_bytes, '\1');
}

// The error that reading these bytes gives; "" when they are accepted.
std::string error_of(const std::string& bytes) {
  const TemporaryFolder folder;
  const auto file = folder.path / "x.safetensors";
  std::ofstream(file, std::ios::binary) << bytes;
  try {
    read_safetensors(file);
  } catch (const Error& e) {
    const std::string what = e.what();
    CHECK(what.starts_with(file.string()));
    CHECK(what.find('\n') == std::string::npos);
    return what.substr(file.string().size());
  }
  return "";
}

std::string load_error(Module& model, const Checkpoint& checkpoint) {
  try {
    load_state(model, checkpoint);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("numbers that are not finite are refused by name, on the way in and on the way out") {
  const TemporaryFolder folder;
  const ModulePtr model = small_model(), other = small_model(2);
  const NamedTensors good = model_state(*model), before = model_state(*other);
  for (size_t i = 0; i < good.size(); ++i)
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
      INFO(good[i].first << " holds " << bad);
      Checkpoint spoilt{.file = "spoilt.safetensors", .tensors = good};
      spoilt.tensors[i].second = good[i].second.clone();
      spoilt.tensors[i].second.mutable_data().back() = bad;
      CHECK_THAT(load_error(*other, spoilt),
                 Contains("spoilt.safetensors: " + good[i].first + ": number ") && Contains("expected "));
      CHECK(test::bits(model_state(*other)[i].second) == test::bits(before[i].second));
    }
  for (Parameter* p : all_parameters(*model)) {
    INFO(p->path());
    const float was = std::exchange(p->raw().mutable_data()[0], NAN);
    CHECK_THAT(test::error_of([&] { save_checkpoint(folder.path / "x.safetensors", *model, {}); }),
               Contains(p->path()));
    CHECK_FALSE(std::filesystem::exists(folder.path / "x.safetensors"));
    p->raw().mutable_data()[0] = was;
  }
}

TEST_CASE("a bit that changed in a checkpoint is an error that names the file and the tensor") {
  const TemporaryFolder folder;
  const auto file = folder.path / "x.safetensors";
  const ModulePtr model = small_model();
  save_checkpoint(file, *model, {{"name", "abcdefgh"}});
  const std::string good = bytes_of(file);
  const NamedTensors tensors = model_state(*model);
  size_t at = good.size();
  for (size_t i = tensors.size(); i-- > 0;) {
    at -= tensors[i].second.data().size_bytes();
    std::string damaged = good;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    CHECK_THAT(error_of(damaged), Contains(": " + tensors[i].first + ": the file is damaged"));
  }
  std::string damaged = good;
  damaged[good.find("abcdefgh")] = 'b';
  CHECK_THAT(error_of(damaged), Contains(": __metadata__: the file is damaged"));
  const auto renamed = [&](const std::string& from, const std::string& to) {
    std::string bytes = good;
    return bytes.replace(bytes.find(from), from.size(), to);
  };
  CHECK_THAT(error_of(renamed("\"fc.bias\"", "\"fc.bios\"")), Contains(": fc.bias: has a checksum, and is not there"));
  CHECK_THAT(error_of(renamed("\\\"fc.bias\\\":\\\"", "\\\"fc.bios\\\":\\\"")), Contains("fc.bios: has a checksum"));
  CHECK(error_of(renamed("qgrad_crc32c", "others_crc32")).empty());  // as of a program that knows no checksums
}

TEST_CASE("files have checksums that other programs can compute, and readers see none of it") {
  const TemporaryFolder folder;
  const auto file = folder.path / "x.safetensors";
  write_safetensors(file, {.metadata = {{"a", "1234"}, {"b", "56789"}}, .tensors = {{"x", Tensor::full({8}, 0)}}});
  const std::string bytes = bytes_of(file);
  CHECK_THAT(bytes, Contains(R"("qgrad_crc32c":"{\"__metadata__\":\")") && Contains(R"(\"x\":\"8a9136aa\"}")"));
  CHECK(read_safetensors(file).metadata == std::map<std::string, std::string>{{"a", "1234"}, {"b", "56789"}});
}

TEST_CASE("a variance below zero is refused") {
  const ModulePtr model = small_model();
  Checkpoint checkpoint{.file = "x.safetensors", .tensors = model_state(*model)};
  for (auto& [name, tensor] : checkpoint.tensors)
    if (name == "bn.running_var") tensor = Tensor::from({3}, std::vector<float>{1, -1e-3f, 1});
  CHECK_THAT(load_error(*model, checkpoint), Contains("bn.running_var: number 1 is -0.001, expected one from 0"));
}

TEST_CASE("a model that was saved and loaded is the same, statistics included") {
  const TemporaryFolder folder;
  const auto file = folder.path / "deep" / "model.safetensors";
  const ModulePtr saved = small_model(1), loaded = small_model(2);
  saved->children()[1]->as<BatchNorm2d>()->running_var.set(Tensor::full({3}, 7));
  save_checkpoint(file, *saved, {{"model", {{"class", "x"}}}});
  const Checkpoint checkpoint = read_checkpoint(file);
  CHECK(checkpoint.config == Json{{"model", {{"class", "x"}}}});
  CHECK(checkpoint.metadata.at("format") == "pt");
  load_state(*loaded, checkpoint);
  const NamedTensors a = model_state(*saved), b = model_state(*loaded);
  REQUIRE(a.size() == 8);
  for (size_t i = 0; i < a.size(); ++i) {
    CHECK(a[i].first == b[i].first);
    CHECK(golden::difference(b[i].second, a[i].second, golden::kExact) == "");
  }
}

TEST_CASE("a batch norm that counts its batches is loaded with its count") {
  const TemporaryFolder folder;
  BatchNorm2d saved({.features = 3, .momentum = std::nullopt}), loaded({.features = 3, .momentum = std::nullopt});
  saved(test::normal_tensor({2, 2, 2, 3}, 1));
  save_checkpoint(folder.path / "x", saved, {});
  load_state(loaded, read_checkpoint(folder.path / "x"));
  CHECK(loaded.next_momentum() == 0.5);
}

TEST_CASE("the file has PyTorch's names and layouts") {
  const ModulePtr model = small_model();
  const NamedTensors state = model_state(*model);
  std::vector<std::string> lines;
  for (const auto& [name, tensor] : state) lines.push_back(name + " " + to_string(tensor.shape()));
  CHECK(lines == std::vector<std::string>{"conv.weight [3,2,3,3]", "conv.bias [3]", "bn.weight [3]", "bn.bias [3]",
                                          "bn.running_mean [3]", "bn.running_var [3]", "fc.weight [5,4]",
                                          "fc.bias [5]"});
}

TEST_CASE("the same model gives the same bytes") {
  const TemporaryFolder folder;
  save_checkpoint(folder.path / "a", *small_model(), {{"seed", 1}});
  save_checkpoint(folder.path / "b", *small_model(), {{"seed", 1}});
  CHECK(bytes_of(folder.path / "a") == bytes_of(folder.path / "b"));
  uint64_t header = 0;
  std::memcpy(&header, bytes_of(folder.path / "a").data(), 8);
  CHECK(header % 8 == 0);
}

TEST_CASE("what does not fit the model is named, and nothing is changed") {
  const ModulePtr model = small_model();
  Checkpoint checkpoint{.file = "m.safetensors", .tensors = model_state(*model)};
  auto& tensors = checkpoint.tensors;
  for (auto& [name, tensor] : tensors) tensor = Tensor::full(tensor.shape(), 9);
  const auto erase = [&](const char* wanted) {
    std::erase_if(tensors, [&](const auto& t) { return t.first == wanted; });
  };

  SECTION("missing") {
    erase("fc.bias");
    CHECK(load_error(*model, checkpoint) == "m.safetensors: does not fit Sequential; missing fc.bias");
  }
  SECTION("unknown") {
    tensors.emplace_back("fc.scale", Tensor::scalar(1));
    CHECK(load_error(*model, checkpoint) == "m.safetensors: does not fit Sequential; unknown fc.scale");
  }
  SECTION("shape") {
    erase("fc.weight");
    tensors.emplace_back("fc.weight", Tensor::zeros({4, 5}));
    CHECK(load_error(*model, checkpoint) ==
          "m.safetensors: does not fit Sequential; wrong shape: fc.weight is [4,5], wanted [5,4]");
  }
  SECTION("many") {
    tensors.clear();
    CHECK(load_error(*model, checkpoint) ==
          "m.safetensors: does not fit Sequential; missing bn.bias, bn.running_mean, bn.running_var and 5 more");
  }
  for (const auto& [name, tensor] : model_state(*model))
    for (const float value : tensor.data()) REQUIRE(value != 9);
}

TEST_CASE("headers that lie are refused, naming what is wrong") {
  const std::string good = R"({"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}})";
  CHECK(error_of(safetensors(good, 24)) == "");
  CHECK(error_of("") == ": 0 bytes are too few for a safetensors file");
  CHECK(error_of(safetensors(good, 24).substr(0, 40)).find("announced") != std::string::npos);
  CHECK(error_of(std::string(8, '\xff') + good).find("announced") != std::string::npos);
  CHECK(error_of(safetensors(good, 23)).find("do not lie in 23 bytes") != std::string::npos);
  CHECK(error_of(safetensors(good, 25)) == ": the tensors end at byte 24 of 25 bytes of data");
  CHECK(error_of(safetensors("[]", 0)) == ": the header is no JSON object");
  CHECK(error_of(safetensors("{\"a\":", 0)) != "");
  const auto one = [](const std::string& entry) { return error_of(safetensors("{\"a\":" + entry + "}", 24)); };
  CHECK(one(R"(7)").starts_with(": a: expected dtype, shape and data_offsets"));
  CHECK(one(R"({"dtype":"F16","shape":[2,6],"data_offsets":[0,24]})") == ": a: dtype F16, only F32 is read");
  CHECK(one(R"({"dtype":"F32","shape":[2,4],"data_offsets":[0,24]})").find("does not fit its 24 bytes") !=
        std::string::npos);
  CHECK(one(R"({"dtype":"F32","shape":[-2,-3],"data_offsets":[0,24]})").find("is no list of sizes") !=
        std::string::npos);
  CHECK(one(R"({"dtype":"F32","shape":[1,1,1,1,1,2,3],"data_offsets":[0,24]})").find("7 dimensions") !=
        std::string::npos);
  CHECK(one(R"({"dtype":"F32","shape":[4294967296,4294967296,6],"data_offsets":[0,24]})").find("does not fit") !=
        std::string::npos);
  CHECK(one(R"({"dtype":"F32","shape":[6],"data_offsets":[24,0]})").find("do not lie") != std::string::npos);
  CHECK(one(R"({"dtype":"F32","shape":[6],"data_offsets":[0,1e400]})") != "");
  CHECK(error_of(safetensors(R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},)"
                             R"("b":{"dtype":"F32","shape":[4],"data_offsets":[8,24]}})",
                             24)) == ": b: data begins at byte 8, the tensor before it ends at 16");
  CHECK(error_of(safetensors(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                             R"("a":{"dtype":"F32","shape":[5],"data_offsets":[4,24]}})",
                             24)) != "");
  CHECK(error_of(safetensors(R"({"__metadata__":{"x":1}})", 0)) == ": __metadata__.x is no string");
}

TEST_CASE("damaged files are refused or read, never more than that") {
  const TemporaryFolder folder;
  const auto file = folder.path / "model.safetensors";
  save_checkpoint(file, *small_model(), {{"seed", 1}});
  const std::string good = bytes_of(file);
  RandomStream random(1, "damage");
  int refused = 0;
  for (int trial = 0; trial < 400; ++trial) {
    std::string bad = good;
    for (uint32_t flips = random.below(4) + 1; flips > 0; --flips)
      bad[random.below(static_cast<uint32_t>(std::min<size_t>(bad.size(), 900)))] =
          static_cast<char>(random.below(256));
    if (trial % 4 == 0) bad.resize(random.below(static_cast<uint32_t>(bad.size())));
    refused += error_of(bad) != "";
  }
  CHECK(refused > 300);
}

TEST_CASE("PyTorch's batch counters are skipped") {
  const std::string header = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]},)"
                             R"("bn.num_batches_tracked":{"dtype":"I64","shape":[],"data_offsets":[0,8]}})";
  const TemporaryFolder folder;
  std::ofstream(folder.path / "x", std::ios::binary) << safetensors(header, 16);
  const TensorFile content = read_safetensors(folder.path / "x");
  REQUIRE(content.tensors.size() == 1);
  CHECK(content.tensors[0].first == "a");
}

TEST_CASE("a file that is not there, or a folder, is an error that says so") {
  const TemporaryFolder folder;
  CHECK_THROWS_AS(read_checkpoint(folder.path / "none"), Error);
  CHECK_THROWS_AS(read_checkpoint(folder.path), Error);
}

TEST_CASE("the architecture of a bare state dict is found by its names and shapes") {
  for (const char* name : {"resnet32", "plain20", "preact_resnet20_conv_ds", "convnet"}) {
    const Json config = {{"class", name}, {"classes", 7}};
    const ModulePtr model = Registry<Architecture>::create({config, "", "model"})->make();
    Checkpoint checkpoint{.file = "x", .tensors = model_state(*model)};
    CHECK(guess_architecture(checkpoint) == config);
    checkpoint.tensors.pop_back();
    CHECK(guess_architecture(checkpoint) == std::nullopt);
  }
}

TEST_CASE("the ancestor's trained ResNet-20 loads into resnet20") {
  const auto file = golden::shared_file("models/distiller_resnet20_cifar10.safetensors");
  if (!golden::available(file)) return;
  const Checkpoint checkpoint = read_checkpoint(file);
  CHECK(checkpoint.tensors.size() == 107);
  CHECK(checkpoint.config.is_null());
  CHECK(checkpoint.metadata.at("arch") == "resnet20_cifar");
  const std::optional<Json> config = guess_architecture(checkpoint);
  REQUIRE(config == Json{{"class", "resnet20"}, {"classes", 10}});
  const ModulePtr model = Registry<Architecture>::create({*config, "", "model"})->make();
  CHECK(load_error(*model, checkpoint) == "");
}

// Program files: what is written is what is read, and nothing else is read.
#include "engine/program_file.h"

#include <cstring>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "core/json.h"
#include "core/random.h"
#include "engine/engine.h"
#include "engine/small_program.h"
#include "nn/init.h"
#include "nn/models/architecture.h"
#include "quant/export/every_layer.h"
#include "quant/export/lowering.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

using namespace qgrad;
using test::error_of;

namespace {

constexpr size_t kBody = 8 + 4 + 8;

deploy::Program program_of(const Json& config) {
  const ModulePtr model = test::quantized(test::every_layer(), config, test::images(4, 1));
  return deploy::lower(*model, test::images(1, 2)).program;
}

// With the checksum of what it holds now.
std::string signed_again(std::string file) {
  uint64_t hash = 0xcbf29ce484222325;
  for (size_t i = kBody; i < file.size(); ++i) hash = (hash ^ static_cast<uint8_t>(file[i])) * 0x100000001b3;
  std::memcpy(file.data() + 12, &hash, sizeof hash);
  return file;
}

// Runs what is read, where it is of a reasonable size. True where the file was refused.
bool refused_or_run(const std::string& file) {
  deploy::Program program;
  try {
    program = deploy::program_from_bytes(file, "fuzzed");
  } catch (const Error&) {
    return true;
  }
  const deploy::Engine engine(std::move(program));
  if (engine.arena_bytes() > 1 << 20) return false;
  std::vector<float> x(static_cast<size_t>(engine.input_count()), 0.5f), y(static_cast<size_t>(engine.output_count()));
  engine.run(x, y);
  return false;
}

}  // namespace

TEST_CASE("a program that was written is read as it was, in every width") {
  for (const int bits : {2, 3, 4, 5, 8})
    for (const char* mode : {"SYMMETRIC", "ASYMMETRIC_UNSIGNED"}) {
      INFO(bits << " bits " << mode);
      const deploy::Program program = program_of({{"bits_weights", bits}, {"mode", mode}, {"per_channel_wts", true}});
      const std::string bytes = deploy::program_bytes(program);
      const test::TemporaryFolder folder;
      write_file_atomically(folder.path() / "net.qgi", bytes);
      const deploy::Program again = deploy::read_program(folder.path() / "net.qgi");
      CHECK(deploy::program_bytes(again) == bytes);
      const Tensor x = test::images(3, 5);
      std::vector<float> y(15), y_again(15);
      deploy::Engine(program).run(x.data(), y);
      deploy::Engine(again).run(x.data(), y_again);
      CHECK(test::bits(y) == test::bits(y_again));
    }
}

TEST_CASE("a file that is no sound program is refused with its name and the reason") {
  const std::string good = deploy::program_bytes(program_of(Json::object()));
  const auto why = [](std::string_view bytes) {
    return error_of([&] { deploy::program_from_bytes(bytes, "net.qgi"); });
  };
  CHECK_THAT(why("PK"), Contains("net.qgi: is no integer program"));
  std::string other = good;
  other[8] = 9;
  CHECK_THAT(why(other), Contains("net.qgi: it has version 9"));
  other = good;
  other[other.size() / 2] ^= 1;
  CHECK_THAT(why(other), Contains("net.qgi: it is damaged"));
  CHECK_THAT(why(signed_again(good + "x")), Contains("it ends too early"));  // with how pictures are prepared
  const std::string preparation("\0\0\0\0\1\7", 6);
  CHECK_NOTHROW(deploy::program_from_bytes(signed_again(good + preparation), ""));
  CHECK_THAT(why(signed_again(good + preparation + "x")), Contains("something follows"));
  CHECK_THAT(error_of([] { deploy::read_program("/nowhere/net.qgi"); }), Contains("/nowhere/net.qgi: cannot open"));
  for (size_t size = 0; size < good.size(); size += 7) {
    CHECK_THROWS_AS(deploy::program_from_bytes(std::string_view(good).substr(0, size), ""), Error);
    if (size >= kBody) CHECK_THROWS_AS(deploy::program_from_bytes(signed_again(good.substr(0, size)), ""), Error);
  }
}

TEST_CASE("hostile program files are refused or harmless") {
  const std::string good = deploy::program_bytes(program_of({{"bits_weights", 4}}));
  RandomStream random(7, "fuzz");
  const auto below = [&](size_t n) {
    return std::min(n - 1, static_cast<size_t>(random.uniform() * static_cast<float>(n)));
  };
  int refused = 0;
  for (int round = 0; round < 1000; ++round) {
    std::string file = good;
    for (size_t flips = 1 + below(3); flips > 0; --flips) {
      const size_t at = kBody + below(file.size() - kBody);
      file[at] = static_cast<char>(below(2) == 0 ? file[at] ^ (1 << below(8)) : (below(2) == 0 ? 0xff : 0));
    }
    refused += refused_or_run(signed_again(file));
  }
  CHECK(refused > 50);
  CHECK(refused < 1000);
}

TEST_CASE("a small program file that is cut anywhere is refused") {
  const std::string good = deploy::program_bytes(test::small_program());
  for (size_t size = 0; size < good.size(); ++size) {
    CHECK_THROWS_AS(deploy::program_from_bytes(good.substr(0, size), ""), Error);
    if (size >= kBody) CHECK_THROWS_AS(deploy::program_from_bytes(signed_again(good.substr(0, size)), ""), Error);
  }
}

// Every length, every index and every number of the file is hit, in every bit.
TEST_CASE("a small program file with any byte changed is refused or harmless") {
  const std::string good = deploy::program_bytes(test::small_program());
  int refused = 0, cases = 0;
  for (size_t at = kBody; at < good.size(); ++at)
    for (const int change : {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff, 0x7f, -1, -2}) {
      std::string file = good;
      file[at] = static_cast<char>(change > 0 ? file[at] ^ change : change == -1 ? 0 : 0xff);
      refused += refused_or_run(signed_again(file));
      ++cases;
    }
  CHECK(cases > 5000);
  CHECK(refused > cases / 4);
  CHECK(refused < cases);
}

TEST_CASE("what a program says about images and classes is written, read and checked") {
  const deploy::Program again = deploy::program_from_bytes(deploy::program_bytes(test::small_program()), "small");
  CHECK(again.class_names == std::vector<std::string>{"cat", "ship"});
  CHECK(again.mean == std::vector<float>{0.5f, 0.4f, 0.3f});
  CHECK(again.deviation == std::vector<float>{0.25f, 0.5f, 1.0f});
  const auto refused = [](auto&& spoil) {
    deploy::Program program = test::small_program();
    spoil(program);
    return error_of([&] { deploy::validate(program); });
  };
  CHECK_THAT(refused([](auto& p) { p.class_names.pop_back(); }), Contains("1 class names for 2 outputs"));
  CHECK_THAT(refused([](auto& p) { p.class_names[0] = std::string("a\0b", 3); }), Contains("class name"));
  CHECK_THAT(refused([](auto& p) { p.mean.pop_back(); }), Contains("2 means and 3 deviations"));
  CHECK_THAT(refused([](auto& p) { p.deviation[1] = 0; }), Contains("positive deviations"));
  CHECK_THAT(refused([](auto& p) { p.ops[1].window.padding_w = 60000, p.ops[1].window.padding_h = 60000; }),
             Contains("padding are more than"));
}

TEST_CASE("how pictures are prepared is written, read and checked, and takes nothing where it is as usual") {
  deploy::Program program = test::small_program();
  const size_t usual = deploy::program_bytes(program).size();
  CHECK(deploy::program_from_bytes(deploy::program_bytes(program), "small").preparation == deploy::Preparation{});
  program.preparation = {.resize = {256}, .center_crop = 1, .background = 7};
  const std::string bytes = deploy::program_bytes(program);
  CHECK(bytes.size() == usual + 4 + 4 + 2);
  CHECK(deploy::program_from_bytes(bytes, "small").preparation == program.preparation);
  for (const deploy::Preparation& wrong :
       {deploy::Preparation{.resize = {1, 2, 3}, .center_crop = 1},
        deploy::Preparation{.resize = {0}, .center_crop = 1}, deploy::Preparation{.resize = {9}},
        deploy::Preparation{.center_crop = 2}, deploy::Preparation{.resize = {1 << 20}, .center_crop = 1}}) {
    program.preparation = wrong;
    CHECK_THAT(error_of([&] { deploy::validate(program); }), Contains("images are resized to"));
  }
}

TEST_CASE("a ResNet-20 with weights of 4 bits takes at most a seventh of its floats") {
  ModulePtr model = Registry<Architecture>::create({{{"class", "resnet20"}}, "", "model"})->make();
  initialize(*model, 1, ConvInit::kaiming_fan_out);
  model->set_training(false);
  const Tensor image = test::normal_tensor({1, 32, 32, 3}, 1);
  PostTrainLinearQuantizer quantizer(
      read_config<PostTrainLinearConfig>({{{"bits_weights", 4}, {"per_channel_wts", true}}, "", "quantizer"}));
  quantizer.set_stats(collect_quant_stats(*model, [&] { (*model)(image); }));
  quantizer.prepare(model, nullptr, image);
  model->set_training(false);
  const size_t bytes = deploy::program_bytes(deploy::lower(*model, image).program).size();
  CHECK(bytes > 272474 / 2);
  CHECK(bytes < 272474 * 4 / 7);
}

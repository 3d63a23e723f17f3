// The C interface: what it answers, and what it refuses.
#include "engine/qgrad_engine.h"

#include <array>
#include <string>

#include "core/file.h"
#include "engine/engine.h"
#include "engine/program_file.h"
#include "engine/small_program.h"
#include "support/catch.h"
#include "support/temporary_folder.h"
#include "support/values.h"

using namespace qgrad;

TEST_CASE("the C interface runs a program from a file and from memory") {
  const std::string bytes = deploy::program_bytes(test::small_program());
  const test::TemporaryFolder folder;
  const std::string path = (folder.path() / "small.qgi").string();
  write_file_atomically(path, bytes);
  std::vector<float> images(2 * 48);
  for (size_t i = 0; i < images.size(); ++i) images[i] = static_cast<float>(i % 17) / 8 - 1;
  std::array<float, 4> expected{}, output{};
  deploy::Engine(test::small_program()).run(images, expected);
  for (qgrad_engine* engine : {qgrad_engine_open(path.c_str()), qgrad_engine_open_memory(bytes.data(), bytes.size())}) {
    REQUIRE(engine != nullptr);
    CHECK(qgrad_engine_input_height(engine) == 4);
    CHECK(qgrad_engine_input_width(engine) == 4);
    CHECK(qgrad_engine_input_channels(engine) == 3);
    CHECK(qgrad_engine_output_count(engine) == 2);
    CHECK(qgrad_engine_class_name(engine, 0) == std::string("cat"));
    CHECK(qgrad_engine_class_name(engine, 1) == std::string("ship"));
    CHECK(qgrad_engine_class_name(engine, 2) == nullptr);
    CHECK(qgrad_engine_class_name(engine, -1) == nullptr);
    output = {};
    CHECK(qgrad_engine_run(engine, images.data(), 2, output.data()) == 1);
    CHECK(test::bits(output) == test::bits(expected));
    qgrad_engine_free(engine);
  }
  CHECK(expected[0] != expected[2]);
}

TEST_CASE("the C interface normalises bytes as the program says") {
  const std::string bytes = deploy::program_bytes(test::small_program());
  std::vector<uint8_t> pixels(48);
  std::vector<float> images;
  for (size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = static_cast<uint8_t>(i * 31 % 256);
    const std::array mean{0.5f, 0.4f, 0.3f}, deviation{0.25f, 0.5f, 1.0f};
    images.push_back((static_cast<float>(pixels[i]) / 255.0f - mean[i % 3]) / deviation[i % 3]);
  }
  qgrad_engine* engine = qgrad_engine_open_memory(bytes.data(), bytes.size());
  REQUIRE(engine != nullptr);
  std::array<float, 2> from_bytes{}, from_floats{};
  CHECK(qgrad_engine_run_bytes(engine, pixels.data(), 1, from_bytes.data()) == 1);
  CHECK(qgrad_engine_run(engine, images.data(), 1, from_floats.data()) == 1);
  CHECK(test::bits(from_bytes) == test::bits(from_floats));
  qgrad_engine_free(engine);

  deploy::Program silent = test::small_program();
  silent.mean.clear(), silent.deviation.clear(), silent.class_names.clear();
  const std::string other = deploy::program_bytes(silent);
  engine = qgrad_engine_open_memory(other.data(), other.size());
  REQUIRE(engine != nullptr);
  CHECK(qgrad_engine_class_name(engine, 0) == nullptr);
  CHECK(qgrad_engine_run_bytes(engine, pixels.data(), 1, from_bytes.data()) == 0);
  CHECK(std::string(qgrad_engine_error()).find("does not say how images are normalised") != std::string::npos);
  qgrad_engine_free(engine);
}

TEST_CASE("what goes wrong behind the C interface comes back as a message") {
  CHECK(qgrad_engine_open("/nowhere/net.qgi") == nullptr);
  CHECK(std::string(qgrad_engine_error()).find("/nowhere/net.qgi: cannot open") != std::string::npos);
  CHECK(qgrad_engine_open(nullptr) == nullptr);
  CHECK(qgrad_engine_open_memory("PK", 2) == nullptr);
  CHECK(std::string(qgrad_engine_error()).find("is no integer program") != std::string::npos);
  CHECK(qgrad_engine_set_threads(0) == 0);
  CHECK(std::string(qgrad_engine_error()).find("expected 1 to 256") != std::string::npos);
  const std::string bytes = deploy::program_bytes(test::small_program());
  qgrad_engine* engine = qgrad_engine_open_memory(bytes.data(), bytes.size());
  REQUIRE(engine != nullptr);
  CHECK(qgrad_engine_run(engine, nullptr, -1, nullptr) == 0);
  CHECK(qgrad_engine_run(engine, nullptr, INT64_MAX, nullptr) == 0);
  CHECK(qgrad_engine_run(engine, nullptr, 0, nullptr) == 1);
  qgrad_engine_free(engine);
  qgrad_engine_free(nullptr);
}

TEST_CASE("NULL where the C interface expects something is a failure with a message") {
  const std::string bytes = deploy::program_bytes(test::small_program());
  qgrad_engine* engine = qgrad_engine_open_memory(bytes.data(), bytes.size());
  REQUIRE(engine != nullptr);
  std::array<float, 48> images{};
  std::array<uint8_t, 48> pixels{};
  std::array<float, 2> output{};
  const auto why = [](auto result) {
    CHECK(result == 0);
    return std::string(qgrad_engine_error());
  };
  CHECK(why(qgrad_engine_run(nullptr, images.data(), 1, output.data())) == "engine: expected an engine, got NULL");
  CHECK(why(qgrad_engine_run(engine, nullptr, 1, output.data())) == "engine: expected images, got NULL");
  CHECK(why(qgrad_engine_run(engine, images.data(), 1, nullptr)) == "engine: expected an output, got NULL");
  CHECK(why(qgrad_engine_run_bytes(nullptr, pixels.data(), 1, output.data())) ==
        "engine: expected an engine, got NULL");
  CHECK(why(qgrad_engine_run_bytes(engine, nullptr, 1, output.data())) == "engine: expected images, got NULL");
  CHECK(why(qgrad_engine_run_bytes(engine, pixels.data(), 1, nullptr)) == "engine: expected an output, got NULL");
  for (const auto size :
       {qgrad_engine_input_height, qgrad_engine_input_width, qgrad_engine_input_channels, qgrad_engine_output_count}) {
    CHECK(qgrad_engine_run(engine, nullptr, -1, nullptr) == 0);  // another message before
    CHECK(why(size(nullptr)) == "engine: expected an engine, got NULL");
  }
  CHECK(qgrad_engine_class_name(nullptr, 0) == nullptr);
  CHECK(qgrad_engine_open_memory(nullptr, 0) == nullptr);
  CHECK(qgrad_engine_open_memory(bytes.data(), 0) == nullptr);
  CHECK(qgrad_engine_run(engine, images.data(), 1, output.data()) == 1);
  qgrad_engine_free(engine);
}

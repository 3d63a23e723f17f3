// One run in a folder at a time, and all of its files.
#include "tasks/output_folder.h"

#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "support/catch.h"
#include "support/temporary_folder.h"

using namespace qgrad;
namespace fs = std::filesystem;

TEST_CASE("a folder that a run writes to is refused to others until it ends, with the process that has it") {
  const test::TemporaryFolder temporary;
  const fs::path path = temporary.path() / "run";
  {
    const OutputFolder held(path);
    CHECK_THROWS_WITH(OutputFolder(path), Contains(path.string()) && Contains(fmt::format("(process {})", getpid())));
  }
  CHECK_NOTHROW(OutputFolder(path));
}

TEST_CASE("a lock dies with its process") {
  const test::TemporaryFolder temporary;
  const fs::path path = temporary.path() / "run";
  const pid_t child = fork();
  if (child == 0) {
    const OutputFolder held(path);
    _exit(0);  // without a destructor, as when it is killed
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(fs::exists(path / ".lock"));
  CHECK_NOTHROW(OutputFolder(path));
  CHECK_FALSE(fs::exists(path / ".lock"));
}

TEST_CASE("a folder that a run made and wrote nothing to is removed, one with files or from before is not") {
  const test::TemporaryFolder temporary;
  const fs::path path = temporary.path() / "run";
  { const OutputFolder unused(path); }
  CHECK_FALSE(fs::exists(path));
  {
    OutputFolder used(path);
    std::ofstream(used.to_write("config.json")) << "{}";
  }
  CHECK(fs::exists(path / "config.json"));
  { const OutputFolder earlier(path); }
  CHECK(fs::exists(path / "config.json"));
}

TEST_CASE("a folder that is deleted during a run does not come back, nor does another take its place") {
  const test::TemporaryFolder temporary;
  const fs::path path = temporary.path() / "run";
  OutputFolder folder(path);
  std::ofstream(folder.to_write("config.json")) << "{}";
  CHECK_NOTHROW(folder.to_write("results.json"));
  fs::remove_all(path);
  CHECK_THROWS_WITH(folder.to_write("results.json"), Contains(path.string() + ": the folder of this run is gone"));
  fs::create_directory(path);
  CHECK_THROWS_WITH(folder.to_write("results.json"), Contains("or another one is in its place"));
  CHECK(fs::is_empty(path));
}

TEST_CASE("a file of a run that is deleted during it is an error at the next one") {
  const test::TemporaryFolder temporary;
  OutputFolder folder(temporary.path());
  std::ofstream(folder.to_write("config.json")) << "{}";
  fs::remove(temporary.path() / "config.json");
  CHECK_THROWS_WITH(folder.to_write("results.json"), Contains("config.json: was written by this run, and is gone"));
}

TEST_CASE("results of a command are replaced by that command alone, those of a training by none") {
  const test::TemporaryFolder temporary;
  const OutputFolder folder(temporary.path());
  const auto with = [&](const char* file, const char* content) { std::ofstream(temporary.path() / file) << content; };
  CHECK_NOTHROW(folder.check_results_are_of("quantize"));
  with("results.json", R"({"run": {"command": "quantize"}})");
  CHECK_NOTHROW(folder.check_results_are_of("quantize"));
  CHECK_THROWS_WITH(folder.check_results_are_of("search"),
                    Contains("results.json: is there already, and of `qgrad quantize`"));
  for (const char* content : {R"({"run": {}})", R"({"run": "quantize"})", "[]"}) {
    with("results.json", content);
    CHECK_THROWS_WITH(folder.check_results_are_of("quantize"), Contains("of another command, or an earlier version"));
  }
  fs::remove(temporary.path() / "results.json");
  with("training.safetensors", "");
  CHECK_THROWS_WITH(folder.check_results_are_of("quantize"), Contains("holds a training, whose results would be lost"));
}

TEST_CASE("a file that is read is not written") {
  const test::TemporaryFolder temporary;
  const OutputFolder folder(temporary.path());
  std::ofstream(temporary.path() / "model.safetensors") << "numbers";
  fs::create_symlink(temporary.path() / "model.safetensors", temporary.path() / "link");
  CHECK_NOTHROW(folder.check_spares({"elsewhere"}, {"model.safetensors"}));
  for (const char* name : {"model.safetensors", "./model.safetensors", "link"})
    CHECK_THROWS_WITH(folder.check_spares({(temporary.path() / name).string()}, {"results.json", "model.safetensors"}),
                      Contains("model.safetensors: is read here, and would be written"));
}

// Writes that are all or nothing.
#include "core/file.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <nlohmann/json.hpp>

#include <cerrno>
#include <csignal>
#include <fstream>

#include "core/json.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

using namespace qgrad;
using namespace qgrad::test;

TEST_CASE("a write makes missing folders, replaces the old content and leaves no other file") {
  const TemporaryFolder folder;
  const auto file = folder.path() / "a" / "b" / "results.json";
  write_json(file, Json{{"top1", 1}});
  write_json(file, Json{{"top1", 91.5}});
  CHECK(read_json(file) == Json{{"top1", 91.5}});
  std::ifstream in(file);
  std::string text((std::istreambuf_iterator<char>(in)), {});
  CHECK(text == "{\n  \"top1\": 91.5\n}\n");
  size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(file.parent_path())) ++files;
  CHECK(files == 1);
}

TEST_CASE("a write that fails leaves the old content and no partial file") {
  const TemporaryFolder folder;
  const auto target = folder.path() / "results.json";
  std::filesystem::create_directories(target / "occupied");  // a folder cannot be replaced by a file
  CHECK(error_of([&] { write_json(target, Json{}); }).starts_with(target.string() + ": cannot write: "));
  CHECK(std::filesystem::exists(target / "occupied"));
  CHECK(!std::filesystem::exists(target.string() + ".part"));
  const auto inside_a_file = folder.path() / "file" / "x.json";
  write_file_atomically(folder.path() / "file", "text");
  CHECK(error_of([&] {
          write_json(inside_a_file, Json{});
        }).starts_with((folder.path() / "file").string() + ": can not be made: "));
}

TEST_CASE("a write through symbolic links leaves them where they are") {
  const TemporaryFolder folder;
  const auto target = folder.path() / "there" / "results.json", link = folder.path() / "link.json",
             second = folder.path() / "second.json";
  std::filesystem::create_symlink("there/results.json", link);
  std::filesystem::create_symlink(link, second);
  for (const int value : {1, 2}) {  // the target is made, then replaced
    write_json(second, Json{{"top1", value}});
    CHECK(std::filesystem::is_symlink(link));
    CHECK(std::filesystem::is_symlink(second));
    CHECK(read_json(target).at("top1") == value);
  }
  const auto loop = folder.path() / "loop.json";
  std::filesystem::create_symlink("loop.json", loop);
  CHECK(error_of([&] { write_json(loop, Json{}); }) == loop.string() + ": cannot write: more than 40 symbolic links");
  CHECK(std::filesystem::is_symlink(loop));
}

TEST_CASE("a write does not replace what is no regular file") {
  const TemporaryFolder folder;
  const auto pipe = folder.path() / "pipe", link = folder.path() / "link";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  std::filesystem::create_symlink(pipe, link);
  for (const auto& name : {pipe, link})
    CHECK(error_of([&] { write_json(name, Json{}); }) ==
          name.string() + ": is a device, a pipe or a socket, expected a file or a new name");
  CHECK(std::filesystem::is_fifo(pipe));
  CHECK(std::filesystem::is_symlink(link));
}

TEST_CASE("what lies at the temporary name is not written through") {
  const TemporaryFolder folder;
  write_file_atomically(folder.path() / "other", "kept");
  std::filesystem::create_symlink("other", folder.path() / "x.json.part");
  write_json(folder.path() / "x.json", Json{{"a", 1}});
  CHECK(read_file(folder.path() / "other", "text") == "kept");
  CHECK(read_json(folder.path() / "x.json").at("a") == 1);
}

TEST_CASE("a file without an end is refused") {
  CHECK(error_of([] { read_json("/dev/zero"); }) ==
        "/dev/zero: is no regular file and has more than 268435456 bytes, expected a JSON file");
}

namespace {

// While it lives, no file may grow beyond so many bytes: a disk that is full.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) : before_(limit()), handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    const rlimit smaller{bytes, before_.rlim_max};
    REQUIRE(setrlimit(RLIMIT_FSIZE, &smaller) == 0);
  }
  ~FullDisk() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  static rlimit limit() {
    rlimit now{};
    getrlimit(RLIMIT_FSIZE, &now);
    return now;
  }
  const rlimit before_;
  void (*const handler_)(int);
};

}  // namespace

TEST_CASE("a write that does not fit names the file, leaves the old content, and succeeds where there is room again") {
  const TemporaryFolder folder;
  const auto file = folder.path() / "state";
  write_file_atomically(file, "old");
  const std::string content(100'000, 'x');
  std::string error;
  {
    const FullDisk full(65'536);  // a part of it fits
    error = error_of([&] { write_file_atomically(file, content); });
  }
  CHECK_THAT(error, Contains(file.string() + ": cannot write: "));
  CHECK(read_file(file, "text") == "old");
  CHECK_FALSE(std::filesystem::exists(file.string() + ".part"));
  write_file_atomically(file, content);
  CHECK(read_file(file, "text") == content);
}

TEST_CASE("a part that a killed run left is no obstacle and is never read") {
  const TemporaryFolder folder;
  const auto file = folder.path() / "state";
  write_file_atomically(file, "old");
  std::ofstream(file.string() + ".part") << "half";
  CHECK(read_file(file, "text") == "old");
  write_file_atomically(file, "new");
  CHECK(read_file(file, "text") == "new");
  CHECK_FALSE(std::filesystem::exists(file.string() + ".part"));
}

TEST_CASE("folders are made with those above them, once") {
  const TemporaryFolder folder;
  CHECK(make_folder(folder.path() / "a" / "b"));
  CHECK_FALSE(make_folder(folder.path() / "a" / "b"));
  CHECK_FALSE(make_folder(folder.path() / "a" / ""));
  CHECK(make_folder(folder.path() / "a" / "c" / ""));
  CHECK(std::filesystem::is_directory(folder.path() / "a" / "c"));
  std::filesystem::create_directory_symlink("a", folder.path() / "link");
  CHECK(make_folder(folder.path() / "link" / "d"));
  CHECK(std::filesystem::is_directory(folder.path() / "a" / "d"));
}

TEST_CASE("a folder that is kept is not made again, nor what lies in it") {
  const TemporaryFolder folder;
  const auto out = folder.path() / "out";
  make_folder(out);
  for (const auto& name : {out, out / ""}) {
    const KeptFolder kept(name);
    write_file_atomically(out / "a" / "file", "text");
    std::filesystem::remove_all(out);
    for (const auto& file : {out / "file", out / "a" / "file"})
      CHECK(error_of([&] { write_file_atomically(file, "text"); }) ==
            out.string() + ": is gone: nothing more is written");
    CHECK_FALSE(std::filesystem::exists(out));
    std::filesystem::create_directory(out);
  }
  std::filesystem::remove_all(out);
  write_file_atomically(out / "file", "text");
  CHECK(std::filesystem::exists(out / "file"));
}

TEST_CASE("a log that does not fit names the file and the reason, and keeps its lines") {
  const TemporaryFolder folder;
  const auto file = folder.path() / "log.jsonl";
  LineFile log(file, 0);
  log.add("one");
  {
    const FullDisk full(10);
    errno = ENOTTY;
    CHECK(error_of([&] { log.add("a second line"); }) == file.string() + ": cannot write: File too large");
  }
  LineFile again(file, log.lines());
  again.add("two");
  CHECK(read_file(file, "a log") == "one\ntwo\n");
}

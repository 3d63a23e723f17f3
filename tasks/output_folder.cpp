// Locking, and noticing what others delete.
#include "tasks/output_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <system_error>

#include "core/error.h"
#include "core/json.h"

namespace qgrad {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLock = ".lock";

// The number that its owner left in a lock; "" where there is none yet.
std::string owner_of(int lock) {
  char text[32];
  const ssize_t length = pread(lock, text, sizeof text, 0);
  return length > 0 ? fmt::format(" (process {})", std::string(text, static_cast<size_t>(length))) : "";
}

bool is_file(int open, const fs::path& path) {
  struct stat held {
  }, there{};
  return fstat(open, &held) == 0 && stat(path.c_str(), &there) == 0 && held.st_dev == there.st_dev &&
         held.st_ino == there.st_ino;
}

}  // namespace

OutputFolder::OutputFolder(fs::path path) : path_(std::move(path)) {
  const fs::path file = path_ / kLock;
  while (lock_ < 0) {
    made_ |= make_folder(path_);
    const int lock = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock < 0 && errno == ENOENT) continue;  // another run has just removed what it had made
    check(lock >= 0, "{}: cannot write: {}", file.string(), std::strerror(errno));
    if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
      const int why = errno;
      const std::string owner = owner_of(lock);
      close(lock);
      check(why != EWOULDBLOCK, "{}: another run{} writes to this folder: wait for it, or choose another with --out",
            path_.string(), owner);
      fail("{}: cannot lock: {}", file.string(), std::strerror(why));
    }
    if (is_file(lock, file))
      lock_ = lock;
    else
      close(lock);  // its owner has ended and removed it
  }
  const std::string number = std::to_string(getpid());
  if (ftruncate(lock_, 0) != 0 || pwrite(lock_, number.data(), number.size(), 0) < 0) {
    const int why = errno;
    close(lock_);
    fail("{}: cannot write: {}", file.string(), std::strerror(why));
  }
  kept_.emplace(path_);
}

OutputFolder::~OutputFolder() {
  if (lock_ < 0) return;
  if (is_same()) {
    unlink((path_ / kLock).c_str());
    if (made_ && written_.empty()) rmdir(path_.c_str());
  }
  close(lock_);
}

bool OutputFolder::is_same() const { return is_file(lock_, path_ / kLock); }

fs::path OutputFolder::to_write(const std::string& name) {
  const std::lock_guard guard(mutex_);
  if (lock_ < 0) return path_ / name;
  check(is_same(), "{}: the folder of this run is gone, or another one is in its place: nothing more is written",
        path_.string());
  for (const auto& [earlier, writer] : written_)
    check(fs::exists(path_ / earlier) || writer != std::this_thread::get_id(),
          "{}: was written by this run, and is gone: nothing more is written", (path_ / earlier).string());
  written_[name] = std::this_thread::get_id();
  return path_ / name;
}

void OutputFolder::check_results_are_of(const std::string& command) const {
  check(!fs::exists(path_ / "training.safetensors"),
        "{}: holds a training, whose results would be lost: choose another folder with --out", path_.string());
  const fs::path file = path_ / "results.json";
  if (!fs::exists(file)) return;
  const Json results = read_json(file);
  const Json by = results.is_object() ? results.value("/run/command"_json_pointer, Json()) : Json();
  check(by == command, "{}: is there already, and of {}: choose another folder with --out, or delete it", file.string(),
        by.is_string() ? fmt::format("`qgrad {}`", by.get<std::string>()) : "another command, or an earlier version");
}

void OutputFolder::check_spares(const std::vector<std::string>& inputs, const std::vector<std::string>& names) const {
  std::error_code ignored;  // what is not there is not the same file
  for (const std::string& name : names)
    for (const std::string& input : inputs)
      check(!fs::equivalent(path_ / name, input, ignored),
            "{}: is read here, and would be written: choose another folder with --out", (path_ / name).string());
}

void OutputFolder::remove(const std::string& name) {
  const std::lock_guard guard(mutex_);
  written_.erase(name);
  std::error_code error;
  fs::remove(path_ / name, error);
  check(!error, "{}: can not be removed: {}", (path_ / name).string(), error.message());
}

}  // namespace qgrad

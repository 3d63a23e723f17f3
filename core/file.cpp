// Reading, and writing all or nothing.
#include "core/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <mutex>
#include <set>
#include <utility>

#include "core/error.h"

namespace qgrad {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLongestStream = size_t{256} << 20;
constexpr int kMostLinks = 40;  // as many as Linux follows

// Where a write goes that must leave a symbolic link in its place.
fs::path behind_links(const fs::path& name) {
  fs::path file = name;
  std::error_code no_link;
  for (int links = 0; fs::is_symlink(file, no_link); ++links) {
    check(links < kMostLinks, "{}: cannot write: more than {} symbolic links", name.string(), kMostLinks);
    if (fs::is_other(file, no_link)) break;  // links of /proc name what is no path
    file = file.parent_path() / fs::read_symlink(file);
  }
  return file;
}

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n == 0 || (n < 0 && errno != EINTR)) return false;
    if (n > 0) bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

// The first `lines` lines, or as many as are whole.
std::string_view first_lines(std::string_view text, int64_t lines) {
  size_t end = 0;
  for (; lines > 0; --lines) {
    const size_t newline = text.find('\n', end);
    if (newline == text.npos) break;
    end = newline + 1;
  }
  return text.substr(0, end);
}

// Until then a name in it may still be the old one after a power failure. Folders that can not be read, and file
// systems that know no such thing, have nothing to wait for.
bool flush_folder(const fs::path& folder) {
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno == EACCES;
  const bool ok = ::fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP;
  const int reason = errno;
  ::close(fd);
  errno = reason;
  return ok;
}

struct KeptFolders {
  std::mutex mutex;
  std::multiset<fs::path> folders;
};
KeptFolders& kept_folders() {
  static KeptFolders instance;
  return instance;
}
bool is_kept(const fs::path& folder) {
  std::lock_guard lock(kept_folders().mutex);
  return kept_folders().folders.contains(folder);
}
fs::path without_slash(const fs::path& folder) {
  return !folder.has_filename() && folder.has_relative_path() ? folder.parent_path() : folder;
}

}  // namespace

KeptFolder::KeptFolder(const fs::path& folder) : folder_(without_slash(folder)) {
  std::lock_guard lock(kept_folders().mutex);
  kept_folders().folders.insert(folder_);
}

KeptFolder::~KeptFolder() {
  std::lock_guard lock(kept_folders().mutex);
  kept_folders().folders.erase(kept_folders().folders.find(folder_));
}

std::string read_file(const fs::path& file, std::string_view expected) {
  std::error_code ignored;  // whatever is wrong shows when the file is opened
  check(!fs::is_directory(file, ignored), "{}: is a folder, expected {}", file.string(), expected);
  std::ifstream in(file, std::ios::binary);
  check(in.good(), "{}: cannot open: {}", file.string(), std::strerror(errno));
  const bool endless = !fs::is_regular_file(file, ignored);
  std::string bytes, part(64 << 10, '\0');
  while (in) {
    bytes.append(part, 0, static_cast<size_t>(in.read(part.data(), std::ssize(part)).gcount()));
    check(!endless || bytes.size() <= kLongestStream, "{}: is no regular file and has more than {} bytes, expected {}",
          file.string(), kLongestStream, expected);
  }
  check(!in.bad(), "{}: cannot read: {}", file.string(), std::strerror(errno));
  return bytes;
}

bool make_folder(const fs::path& name) {
  const fs::path folder = without_slash(name);
  std::error_code error;
  if (folder.empty() || fs::is_directory(folder, error)) return false;
  check(!is_kept(folder), "{}: is gone: nothing more is written", folder.string());
  make_folder(folder.parent_path());
  const bool made = fs::create_directory(folder, error);
  check(!error, "{}: can not be made: {}", folder.string(), error.message());
  const bool flushed = !made || flush_folder(folder.parent_path());
  check(flushed, "{}: can not be made: {}", folder.string(), std::strerror(errno));
  return made;
}

void write_file_atomically(const fs::path& name, std::string_view bytes) {
  const fs::path file = behind_links(name);
  make_folder(file.parent_path());
  std::error_code ignored;  // whatever is wrong shows when the file is opened
  check(!fs::is_other(file, ignored), "{}: is a device, a pipe or a socket, expected a file or a new name",
        name.string());
  const std::string temporary = file.string() + ".part";
  ::unlink(temporary.c_str());  // of a write that was cut off; whatever it is, it is not written through
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  check(fd >= 0, "{}: cannot write: {}", temporary, std::strerror(errno));
  bool ok = write_all(fd, bytes) && ::fsync(fd) == 0;
  int reason = errno;
  if (::close(fd) != 0 && ok) ok = false, reason = errno;
  if (!ok || ::rename(temporary.c_str(), file.c_str()) != 0) {
    reason = ok ? errno : reason;
    ::unlink(temporary.c_str());
    fail("{}: cannot write: {}", file.string(), std::strerror(reason));
  }
  const bool flushed = flush_folder(file.parent_path());
  check(flushed, "{}: cannot write: {}", file.string(), std::strerror(errno));
}

GrowingFile::GrowingFile(fs::path file, const Keep& kept) : file_(std::move(file)) {
  std::error_code ignored;  // what can not be looked at can not be written either
  const std::string before = fs::exists(file_, ignored) ? read_file(file_, "a log") : "";
  const std::string_view beginning = kept(before);
  size_ = std::ssize(beginning);
  write_file_atomically(file_, beginning);
  fd_ = ::open(file_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  check(fd_ >= 0, "{}: cannot write: {}", file_.string(), std::strerror(errno));
}

GrowingFile::~GrowingFile() { ::close(fd_); }

void GrowingFile::add(std::string_view bytes) {
  const bool written = write_all(fd_, bytes);
  check(written, "{}: cannot write: {}", file_.string(), std::strerror(errno));
  size_ += std::ssize(bytes);
}

void GrowingFile::flush() {
  const bool flushed = ::fsync(fd_) == 0;
  check(flushed, "{}: cannot write: {}", file_.string(), std::strerror(errno));
}

LineFile::LineFile(fs::path file, int64_t lines)
    : file_(std::move(file), [&](std::string_view content) {
        const std::string_view kept = first_lines(content, lines);
        lines_ = std::ranges::count(kept, '\n');
        return kept;
      }) {}

void LineFile::add(std::string_view line) {
  file_.add(std::string(line) + "\n");
  ++lines_;
}

}  // namespace qgrad

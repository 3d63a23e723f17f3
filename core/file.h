// Files as a whole: read to the end, and written so that a crash, a full disk or a power failure leaves the old
// content.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace qgrad {

// All of a file. `expected`: what it should be, "a JSON file", for the message where it is a folder.
std::string read_file(const std::filesystem::path& file, std::string_view expected);

// Written to a temporary name beside the file, flushed to disk, then renamed over it, and the folder flushed: a reader
// sees the old content or the new, never a part, and the new one is there to stay. Missing folders are made. All that
// qgrad writes is written here. Throws Error with the file's name.
void write_file_atomically(const std::filesystem::path& file, std::string_view bytes);

// With those above it; on disk when this returns. Whether it was missing.
bool make_folder(const std::filesystem::path& folder);

// While one lives, nothing in this process makes its folder: who removed it, or moved it away, will not find another.
class KeptFolder {
 public:
  explicit KeptFolder(const std::filesystem::path& folder);
  ~KeptFolder();
  KeptFolder(const KeptFolder&) = delete;
  KeptFolder& operator=(const KeptFolder&) = delete;

 private:
  std::filesystem::path folder_;
};

// A file that grows: a log. What a crash leaves of it is a beginning.
class GrowingFile {
 public:
  // `kept`: what of its content, if it is there, it begins with.
  using Keep = std::function<std::string_view(std::string_view content)>;
  GrowingFile(std::filesystem::path file, const Keep& kept);
  ~GrowingFile();
  GrowingFile(const GrowingFile&) = delete;
  GrowingFile& operator=(const GrowingFile&) = delete;

  void add(std::string_view bytes);
  void flush();  // to disk
  int64_t size() const { return size_; }

 private:
  std::filesystem::path file_;
  int64_t size_ = 0;
  int fd_ = -1;
};

// One that grows by lines, of which a crash may cut off the last one.
class LineFile {
 public:
  // Keeps the first `lines` of those that are there, or as many as are whole.
  LineFile(std::filesystem::path file, int64_t lines);

  void add(std::string_view line);  // without its end
  void flush() { file_.flush(); }
  int64_t lines() const { return lines_; }

 private:
  int64_t lines_ = 0;
  GrowingFile file_;
};

}  // namespace qgrad

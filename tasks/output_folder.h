// The folder that a run writes to: one run at a time, and all of its files or an error.
#pragma once

#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/file.h"

namespace qgrad {

// Locked while it lives, by a file that the system unlocks when the process ends, however it ends. A folder that was
// made for a run that then wrote nothing is removed again.
class OutputFolder {
 public:
  // Makes it where it is missing. Throws where another process has it, with that process's number.
  explicit OutputFolder(std::filesystem::path path);
  // Of a run of several processes, of which the first one has locked it; the others write files of their own there.
  enum class LockedByFirst { yes };
  OutputFolder(std::filesystem::path path, LockedByFirst) : path_(std::move(path)) {}
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  // Where to write a file of it, right now. Throws where the folder is not the one that was locked any more (deleted,
  // or another one in its place), or where a file that was written is gone: a part of a run would be left.
  std::filesystem::path to_write(const std::string& name);
  void remove(const std::string& name);
  // Throws where there is a training, or results that do not say that they are of this command: they would be lost, or
  // stand beside other files.
  void check_results_are_of(const std::string& command) const;
  // Throws where writing these files would destroy one of `inputs`, which are read.
  void check_spares(const std::vector<std::string>& inputs, const std::vector<std::string>& names) const;

 private:
  bool is_same() const;

  std::filesystem::path path_;
  bool made_ = false;
  int lock_ = -1;
  std::mutex mutex_;
  std::map<std::string, std::thread::id> written_;  // by whom: another thread may be about to
  std::optional<KeptFolder> kept_;
};

}  // namespace qgrad

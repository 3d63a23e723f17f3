// Image files in folders: which there are, of which class, and which of them can be read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/geometry.h"

namespace qgrad {

struct ImageFile {
  std::filesystem::path path;
  int32_t label = ImageSet::kNoLabel;
  uint32_t checksum = 0;  // as look_at gives it; 0 before
};

// A part of a data set, and sentences on what was left out of it, or is missing.
struct ImageFiles {
  std::vector<ImageFile> files;
  std::vector<std::string> remarks;
};

// The names of the folders in a folder, sorted. Throws where there are none, or one is no UTF-8.
std::vector<std::string> classes_in(const std::filesystem::path& folder);

// Every .png, .jpg and .jpeg (in any case) of folder/<class>/, class by class, by their names. Names that begin with a
// dot are passed over; other files, folders within those of the classes and classes without a folder are in the
// remarks. Throws where a folder is not one of the classes, or has no images.
ImageFiles labelled_files(const std::filesystem::path& folder, const std::vector<std::string>& class_names);

// Every such file in a folder and the folders in it, by their paths, without labels. Throws where there are none.
ImageFiles files_below(const std::filesystem::path& folder);

// Of every class the nearest number to share * its images for testing, but for one that stays for training, chosen by
// (seed, "test split"). Classes without test images are in the remarks.
struct TrainAndTestFiles {
  ImageFiles train, test;
};
TrainAndTestFiles split_by_class(ImageFiles all, double share, uint64_t seed,
                                 const std::vector<std::string>& class_names);

// The first file of every class, then every second one, and so on, so that the first N are of all classes.
std::vector<ImageFile> interleaved(std::vector<ImageFile> files);

// What a look at a file shows. Throws, naming the file, for what can not be read.
struct Look {
  ImageSize size;         // upright
  uint32_t checksum = 0;  // CRC-32C of its length and its first 64 KiB
};
// With `whole`, all of the file is walked through; otherwise its header alone, where it is among the first 64 KiB.
Look look_at(const std::filesystem::path& file, bool whole);

// Files that can not be read, with the reasons.
class Unreadable {
 public:
  explicit Unreadable(std::filesystem::path folder) : folder_(std::move(folder)) {}
  void add(const std::filesystem::path& file, const std::string& why);  // as an error says it
  bool empty() const { return count_ == 0; }
  // "image_folder: flowers: 2 of 40 files can not be read: rose/a.png: damaged image (..); rose/b.jpg: .."; the first
  // 20 of them.
  std::string text(size_t of) const;

 private:
  static constexpr size_t kNamed = 20;
  std::filesystem::path folder_;
  std::string named_;
  size_t count_ = 0;
};

}  // namespace qgrad

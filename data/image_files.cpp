// Listing, splitting and looking at image files.
#include "data/image_files.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "core/checksum.h"
#include "core/error.h"
#include "core/file.h"
#include "core/json.h"
#include "data/image_check.h"
#include "data/split.h"

namespace qgrad {
namespace {

namespace fs = std::filesystem;

bool is_image(const fs::path& file) {
  std::string extension = file.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension == ".png" || extension == ".jpg" || extension == ".jpeg";
}

// Names in a folder, sorted; those that begin with a dot left out.
struct Entries {
  std::vector<std::string> files, folders;
};
Entries entries_of(const fs::path& folder) {
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  check(!error, "image_folder: {}: {}", folder.string(), error.message());
  Entries found;
  for (const fs::directory_entry& entry : entries) {
    std::string name = entry.path().filename().string();
    if (name[0] != '.') (entry.is_directory() ? found.folders : found.files).push_back(std::move(name));
  }
  std::ranges::sort(found.files);
  std::ranges::sort(found.folders);
  return found;
}

// Files that are no images of the set: counted, and a few of them named.
class LeftOut {
 public:
  LeftOut(fs::path folder, std::string what_counts)
      : folder_(std::move(folder)), what_counts_(std::move(what_counts)) {}
  void add(const fs::path& file) {
    if (count_++ < kNamed) named_ += (named_.empty() ? "" : ", ") + file.lexically_relative(folder_).string();
  }
  void add_below(const fs::path& folder) {
    if (fs::is_symlink(folder)) return add(folder);  // may lead anywhere, also back
    const Entries entries = entries_of(folder);
    for (const std::string& file : entries.files) add(folder / file);
    for (const std::string& deeper : entries.folders) add_below(folder / deeper);
  }
  void remark(std::vector<std::string>& remarks) const {
    if (count_ == 0) return;
    remarks.push_back(fmt::format("image_folder: {}: {} left out, for only {} count: {}{}", folder_.string(),
                                  count_ == 1 ? "1 file is" : fmt::format("{} files are", count_), what_counts_, named_,
                                  count_ > kNamed ? fmt::format(" and {} more", count_ - kNamed) : ""));
  }

 private:
  static constexpr int kNamed = 3;
  fs::path folder_;
  std::string what_counts_, named_;
  int count_ = 0;
};

void add_files_below(const fs::path& folder, ImageFiles& found, LeftOut& left_out) {
  const Entries entries = entries_of(folder);
  for (const std::string& file : entries.files)
    if (is_image(file))
      found.files.push_back({folder / file});
    else
      left_out.add(folder / file);
  for (const std::string& deeper : entries.folders)
    if (fs::is_symlink(folder / deeper))
      left_out.add(folder / deeper);
    else
      add_files_below(folder / deeper, found, left_out);
}

std::string beginning_of(const fs::path& file) {
  constexpr size_t kBeginning = size_t{1} << 16;
  std::string bytes(kBeginning, '\0');
  std::ifstream stream(file, std::ios::binary);
  stream.read(bytes.data(), std::ssize(bytes));
  bytes.resize(static_cast<size_t>(stream.gcount()));
  return bytes;
}

}  // namespace

std::vector<std::string> classes_in(const fs::path& folder) {
  std::vector<std::string> names = entries_of(folder).folders;
  check(!names.empty(), "image_folder: {}: expected one folder per class, found none", folder.string());
  for (const std::string& name : names)  // checkpoints and results hold them
    check(parse_json(json_line(name), "").get<std::string>() == name,
          "image_folder: {}: the name of a class is no UTF-8: {}", folder.string(), json_line(name));
  return names;
}

ImageFiles labelled_files(const fs::path& folder, const std::vector<std::string>& class_names) {
  ImageFiles found;
  LeftOut left_out(folder, ".png, .jpg and .jpeg directly in the folder of a class");
  const Entries entries = entries_of(folder);
  for (const std::string& file : entries.files) left_out.add(folder / file);
  for (const std::string& name : class_names)
    if (!std::ranges::binary_search(entries.folders, name))
      found.remarks.push_back(fmt::format("image_folder: {}: no folder for class '{}'", folder.string(), name));
  for (const std::string& name : entries.folders) {
    const auto known = std::ranges::find(class_names, name);
    check(known != class_names.end(), "image_folder: {}: '{}' is not a class{}", folder.string(), name,
          did_you_mean(name, class_names));
    const Entries within = entries_of(folder / name);
    const size_t before = found.files.size();
    for (const std::string& file : within.files)
      if (is_image(file))
        found.files.push_back({folder / name / file, static_cast<int32_t>(known - class_names.begin())});
      else
        left_out.add(folder / name / file);
    for (const std::string& deeper : within.folders) left_out.add_below(folder / name / deeper);
    check(found.files.size() > before, "image_folder: {}: no .png, .jpg or .jpeg in it", (folder / name).string());
  }
  left_out.remark(found.remarks);
  check(!found.files.empty(), "image_folder: {}: no images", folder.string());
  return found;
}

ImageFiles files_below(const fs::path& folder) {
  ImageFiles found;
  LeftOut left_out(folder, ".png, .jpg and .jpeg");
  add_files_below(folder, found, left_out);
  left_out.remark(found.remarks);
  check(!found.files.empty(), "image_folder: {}: no .png, .jpg or .jpeg in it", folder.string());
  return found;
}

TrainAndTestFiles split_by_class(ImageFiles all, double share, uint64_t seed,
                                 const std::vector<std::string>& class_names) {
  TrainAndTestFiles parts{.train = {{}, std::move(all.remarks)}, .test = {}};
  std::map<int32_t, std::vector<ImageFile>> by_class;
  for (ImageFile& file : all.files) by_class[file.label].push_back(std::move(file));
  for (auto& [label, files] : by_class) {
    const int64_t count = std::ssize(files);
    const int64_t chosen = std::min<int64_t>(std::llround(share * static_cast<double>(count)), count - 1);
    Indices order = all_indices(count);
    shuffle(order, seed, "test split", static_cast<uint64_t>(int64_t{label} + 1));
    order = first(order, chosen);
    std::ranges::sort(order);
    for (int64_t i = 0; i < count; ++i)
      (std::ranges::binary_search(order, i) ? parts.test : parts.train)
          .files.push_back(std::move(files[static_cast<size_t>(i)]));
    if (chosen == 0 && label != ImageSet::kNoLabel)
      parts.test.remarks.push_back(fmt::format("image_folder: test: a share of {} of {} images of class '{}' is none",
                                               share, count, class_names[static_cast<size_t>(label)]));
  }
  check(!parts.test.files.empty(), "image_folder: test: a share of {} of {} images is none", share,
        parts.train.files.size());
  return parts;
}

std::vector<ImageFile> interleaved(std::vector<ImageFile> files) {
  std::map<int32_t, size_t> seen;
  std::vector<std::pair<size_t, ImageFile>> placed;
  for (ImageFile& file : files) {
    const size_t place = seen[file.label]++;
    placed.emplace_back(place, std::move(file));
  }
  std::ranges::stable_sort(placed, {}, &std::pair<size_t, ImageFile>::first);
  for (size_t i = 0; i < files.size(); ++i) files[i] = std::move(placed[i].second);
  return files;
}

Look look_at(const fs::path& file, bool whole) {
  std::optional<ImageHeader> header;
  const std::string beginning = beginning_of(file);
  try {
    if (!whole) header = image_header(beginning);
    if (!header) header = check_image(read_file(file, "a PNG or JPEG image"));
  } catch (const Error& e) {
    const std::string why = e.what();
    if (why.starts_with(file.string())) throw;
    fail("{}: {}", file.string(), why);
  }
  std::error_code none;
  const uint64_t length = fs::file_size(file, none);
  return {.size = upright(ImageSize{header->height, header->width}, header->orientation),
          .checksum = crc32c(beginning, crc32c({reinterpret_cast<const char*>(&length), sizeof length}))};
}

void Unreadable::add(const fs::path& file, const std::string& why) {
  if (count_++ >= kNamed) return;
  const std::string prefix = file.string() + ": ";
  named_ += fmt::format("{}{}: {}", named_.empty() ? "" : "; ", file.lexically_relative(folder_).string(),
                        why.starts_with(prefix) ? why.substr(prefix.size()) : why);
}

std::string Unreadable::text(size_t of) const {
  return fmt::format("image_folder: {}: {} of {} files can not be read: {}{}", folder_.string(), count_, of, named_,
                     count_ > kNamed ? fmt::format("; and {} more", count_ - kNamed) : "");
}

}  // namespace qgrad

// Folders of images as a data set, decoded into memory.
#include "data/image_folder.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "data/geometry.h"

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
  explicit LeftOut(fs::path folder) : folder_(std::move(folder)) {}
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
    remarks.push_back(fmt::format(
        "image_folder: {}: {} left out, for only .png, .jpg and .jpeg directly in the folder of a class count: {}{}",
        folder_.string(), count_ == 1 ? "1 file is" : fmt::format("{} files are", count_), named_,
        count_ > kNamed ? fmt::format(" and {} more", count_ - kNamed) : ""));
  }

 private:
  static constexpr int kNamed = 3;
  fs::path folder_;
  std::string named_;
  int count_ = 0;
};

// The folders of a folder; checkpoints and results hold their names.
std::vector<std::string> classes_in(const fs::path& folder) {
  std::vector<std::string> names = entries_of(folder).folders;
  check(!names.empty(), "image_folder: {}: expected one folder per class, found none", folder.string());
  for (const std::string& name : names)
    check(parse_json(json_line(name), "").get<std::string>() == name,
          "image_folder: {}: the name of a class is no UTF-8: {}", folder.string(), json_line(name));
  return names;
}

struct ImageFolderConfig {
  std::optional<std::string> dir;
  std::vector<int64_t> size;
  int64_t channels = 3;
};
void fields(Fields& v, ImageFolderConfig& c) {
  v("dir", c.dir, {.help = "holds train/<class>/ and test/<class>/; null: the folder given by --data"});
  v("size", c.size, {.help = "[height, width] all images are resized to", .min = 1, .max = 4096, .required = true});
  v("channels", c.channels, {.help = "3: RGB; 1: grey", .min = 1, .max = 3});
}

class ImageFolder final : public Dataset {
 public:
  explicit ImageFolder(const ImageFolderConfig& config)
      : Dataset(classes_in(checked(config) / "train")),
        folder_(*config.dir),
        image_{config.size[0], config.size[1], config.channels} {}
  std::string name() const override { return "image_folder"; }
  Shape image_shape() const override { return image_; }
  std::string folder() const override { return folder_.string(); }
  bool order_follows_from_names() const override { return true; }

 private:
  // The folder of settings that make sense.
  static fs::path checked(const ImageFolderConfig& config) {
    check(config.size.size() == 2, "image_folder: size: expected [height, width], got {} numbers", config.size.size());
    check(config.channels != 2, "image_folder: channels: expected 1 or 3, got 2");
    check(config.dir.has_value(), "image_folder: no folder; give \"dir\" in the config, or --data");
    return *config.dir;
  }
  ImageSet read_train() const override { return read_image_folder(folder_ / "train", names_as_read(), image_); }
  ImageSet read_test() const override { return read_image_folder(folder_ / "test", names_as_read(), image_); }

  const fs::path folder_;
  const Shape image_;
};

const Registered<Dataset, ImageFolder, ImageFolderConfig> image_folder{"image_folder"};

}  // namespace

ImageSet read_image_folder(const fs::path& folder, const std::vector<std::string>& class_names, const Shape& image) {
  struct Source {
    size_t place;  // among its class
    int32_t label;
    fs::path file;
  };
  std::vector<Source> sources;
  ImageSet set{image, {}, {}};
  LeftOut left_out(folder);
  const Entries entries = entries_of(folder);
  for (const std::string& file : entries.files) left_out.add(folder / file);
  for (const std::string& name : class_names)
    if (!std::ranges::binary_search(entries.folders, name))
      set.remarks.push_back(fmt::format("image_folder: {}: no folder for class '{}'", folder.string(), name));
  for (const std::string& name : entries.folders) {
    const auto known = std::find(class_names.begin(), class_names.end(), name);
    check(known != class_names.end(), "image_folder: {}: '{}' is not a class{}", folder.string(), name,
          did_you_mean(name, class_names));
    const Entries within = entries_of(folder / name);
    size_t place = 0;
    for (const std::string& file : within.files)
      if (is_image(file))
        sources.push_back({place++, static_cast<int32_t>(known - class_names.begin()), folder / name / file});
      else
        left_out.add(folder / name / file);
    for (const std::string& deeper : within.folders) left_out.add_below(folder / name / deeper);
    check(place > 0, "image_folder: {}: no .png, .jpg or .jpeg in it", (folder / name).string());
  }
  left_out.remark(set.remarks);
  std::ranges::stable_sort(sources, {}, &Source::place);
  for (const Source& source : sources) {
    const Image resized = resize(read_image(source.file, {.channels = image[2]}), image[0], image[1]);
    set.pixels.insert(set.pixels.end(), resized.pixels.begin(), resized.pixels.end());
    set.labels.push_back(source.label);
  }
  check(set.size() > 0, "image_folder: {}: no images", folder.string());
  return set;
}

}  // namespace qgrad

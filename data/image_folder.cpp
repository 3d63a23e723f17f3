// Folders of images as a data set, decoded into memory.
#include "data/image_folder.h"

#include <algorithm>
#include <cctype>

#include "data/image.h"

namespace qgrad {
namespace {

namespace fs = std::filesystem;

bool is_image(const fs::path& file) {
  std::string extension = file.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension == ".png" || extension == ".jpg" || extension == ".jpeg";
}

// Names in a folder, sorted; those that begin with a dot left out.
std::vector<std::string> sorted_names(const fs::path& folder, bool (*wanted)(const fs::directory_entry&)) {
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  check(!error, "image_folder: {}: {}", folder.string(), error.message());
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : entries) {
    std::string name = entry.path().filename().string();
    if (name[0] != '.' && wanted(entry)) names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> folders_in(const fs::path& folder) {
  return sorted_names(folder, [](const fs::directory_entry& entry) { return entry.is_directory(); });
}

struct ImageFolderConfig {
  std::optional<std::string> dir;
  std::vector<int64_t> size;
  int64_t channels = 3;
};
template <class V>
void fields(V& v, ImageFolderConfig& c) {
  v("dir", c.dir, {.help = "holds train/<class>/ and test/<class>/; null: the folder given by --data"});
  v("size", c.size, {.help = "[height, width] all images are resized to", .min = 1, .max = 4096, .required = true});
  v("channels", c.channels, {.help = "3: RGB; 1: grey", .min = 1, .max = 3});
}

class ImageFolder final : public Dataset {
 public:
  explicit ImageFolder(const ImageFolderConfig& config) {
    check(config.size.size() == 2, "image_folder: size: expected [height, width], got {} numbers", config.size.size());
    check(config.channels != 2, "image_folder: channels: expected 1 or 3, got 2");
    check(config.dir.has_value(), "image_folder: no folder; give \"dir\" in the config, or --data");
    folder_ = *config.dir;
    image_ = Shape{config.size[0], config.size[1], config.channels};
    class_names_ = folders_in(folder_ / "train");
    check(!class_names_.empty(), "image_folder: {}: expected one folder per class, found none",
          (folder_ / "train").string());
  }
  std::string name() const override { return "image_folder"; }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  Shape image_shape() const override { return image_; }
  const ImageSet& train() override {
    if (!train_) train_ = read_image_folder(folder_ / "train", class_names_, image_);
    return *train_;
  }
  const ImageSet& test() override {
    if (!test_) test_ = read_image_folder(folder_ / "test", class_names_, image_);
    return *test_;
  }

 private:
  fs::path folder_;
  Shape image_;
  std::vector<std::string> class_names_;
  std::optional<ImageSet> train_, test_;
};

const Registered<Dataset, ImageFolder, ImageFolderConfig> registered{"image_folder"};

}  // namespace

ImageSet read_image_folder(const fs::path& folder, const std::vector<std::string>& class_names, const Shape& image) {
  struct Source {
    size_t place;  // among its class
    int32_t label;
    fs::path file;
  };
  std::vector<Source> sources;
  for (const std::string& name : folders_in(folder)) {
    const auto known = std::find(class_names.begin(), class_names.end(), name);
    check(known != class_names.end(), "image_folder: {}: '{}' is not a class{}", folder.string(), name,
          did_you_mean(name, class_names));
    const std::vector<std::string> files =
        sorted_names(folder / name, [](const fs::directory_entry& entry) { return is_image(entry.path()); });
    check(!files.empty(), "image_folder: {}: no .png, .jpg or .jpeg in it", (folder / name).string());
    for (size_t i = 0; i < files.size(); ++i)
      sources.push_back({i, static_cast<int32_t>(known - class_names.begin()), folder / name / files[i]});
  }
  std::ranges::stable_sort(sources, {}, &Source::place);
  ImageSet set{image, {}, {}};
  for (const Source& source : sources) {
    const Image resized = resize(read_image(source.file, image[2]), image[0], image[1]);
    set.pixels.insert(set.pixels.end(), resized.pixels.begin(), resized.pixels.end());
    set.labels.push_back(source.label);
  }
  check(set.size() > 0, "image_folder: {}: no images", folder.string());
  return set;
}

}  // namespace qgrad

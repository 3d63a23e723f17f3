// Folders of images as a data set: looked at once, decoded into memory or for every batch.
// "image_folder": PNG and JPEG files in train/<class>/ and test/<class>/, in <class>/, or without classes.
// Config: {"class": "image_folder", "dir": "flowers", "resize": 256, "center_crop": 224, "test": 0.2}
#include <algorithm>
#include <memory>
#include <utility>

#include "core/parallel.h"
#include "data/dataset.h"
#include "data/image_files.h"
#include "data/image_fit.h"

namespace qgrad {
namespace {

namespace fs = std::filesystem;

enum class Labels { folders, none };
std::vector<std::pair<std::string, Labels>> enum_names(Labels*) {
  return {{"folders", Labels::folders}, {"none", Labels::none}};
}

struct ImageFolderConfig : ImageFit {
  std::optional<std::string> dir;
  std::optional<int64_t> channels;
  int64_t background = PixelFormat{}.background;
  Labels labels = Labels::folders;
  std::optional<double> test;
  uint64_t split_seed = 1;
  bool skip_unreadable = false;
  int64_t memory = 1024;
};
void fields(Fields& v, ImageFolderConfig& c) {
  v("dir", c.dir,
    {.help = "holds train/<class>/ and test/<class>/, or with \"test\" <class>/; null: the folder given by --data"});
  fields(v, static_cast<ImageFit&>(c));
  v("channels", c.channels,
    {.help = "1: grey; 2: grey and alpha; 3: RGB; 4: RGBA; null: as the network has them, else 3", .min = 1, .max = 4});
  v("background", c.background,
    {.help = "the grey, 0 to 255, seen through what is transparent, where channels has no alpha",
     .min = 0,
     .max = 255});
  v("labels", c.labels,
    {.help = "\"none\": all images of the folder and of those in it, for calibration and nothing that takes classes"});
  v("test", c.test,
    {.help = "share of every class's images that is for testing, where there is no test/; null: there is one",
     .min = 0,
     .max = 0.9,
     .above_min = true});
  v("split_seed", c.split_seed, {.help = "seed of that choice, which the experiment's seed does not change"});
  v("skip_unreadable", c.skip_unreadable, {.help = "go on without files that can not be read, and say which"});
  v("memory", c.memory,
    {.help =
         "MiB of pixels of the training, and of the test images that are kept decoded; where there are more, images "
         "are decoded for every batch",
     .min = 0});
}

// What a folder holds, by the settings.
struct Parts {
  std::vector<std::string> class_names;
  TrainAndTestFiles files;
};

fs::path folder_of(const ImageFolderConfig& config) {
  check(config.dir.has_value(), "image_folder: no folder; give \"dir\" in the config, or --data");
  return *config.dir;
}

Parts unlabelled(const ImageFolderConfig& config) {
  ImageFiles all = files_below(folder_of(config));
  if (config.test) return {{}, split_by_class(std::move(all), *config.test, config.split_seed, {})};
  return {{}, {std::move(all), {}}};  // tests are on all of them
}

Parts parts_of(const ImageFolderConfig& config) {
  if (config.labels == Labels::none) return unlabelled(config);
  const fs::path folder = folder_of(config), train = folder / "train", test = folder / "test";
  const bool has_train = fs::is_directory(train), has_test = fs::is_directory(test);
  if (!config.test) {
    check(has_train && has_test,
          "image_folder: {}: no {}: expected train/<class>/ and test/<class>/, or with \"test\": 0.2, the share of the "
          "images to test on, train/<class>/ or <class>/",
          folder.string(), has_train ? "test/" : "train/");
    std::vector<std::string> names = classes_in(train);
    ImageFiles train_files = labelled_files(train, names);
    return {names, {std::move(train_files), labelled_files(test, names)}};
  }
  check(!has_test, "image_folder: test: {} is there: a share of other images to test on has no effect", test.string());
  const fs::path all = has_train ? train : folder;
  std::vector<std::string> names = classes_in(all);
  return {names, split_by_class(labelled_files(all, names), *config.test, config.split_seed, names)};
}

// Files as images of one size. Used from several threads at once.
struct ImageReader {
  PixelFormat format;
  ImageFit fit;
  Shape image;

  Image operator()(const fs::path& file) const {
    Image read = fitted(read_image(file, format), fit);
    check(read.shape == image, "{}: gives an image of {}, expected {}: it has changed", file.string(), read.shape,
          image);
    return read;
  }
};

// Why each of `count` things could not be done: "" where it was.
template <class F>
std::vector<std::string> errors_of(size_t count, F&& thing) {
  std::vector<std::string> errors(count);
  parallel_for(static_cast<int64_t>(count), /*grain=*/1, [&](int64_t begin, int64_t) {
    const auto i = static_cast<size_t>(begin);
    try {
      thing(i);
    } catch (const Error& e) {
      errors[i] = e.what();
    }
  });
  return errors;
}

class ImageFolder final : public Dataset {
 public:
  explicit ImageFolder(const ImageFolderConfig& config) : ImageFolder(config, parts_of(config)) {}
  std::string name() const override { return "image_folder"; }
  Shape image_shape() const override { return reader_.image; }
  std::string folder() const override { return folder_of(config_).string(); }
  bool order_follows_from_names() const override { return config_.labels == Labels::folders; }

 private:
  ImageFolder(const ImageFolderConfig& config, Parts parts)
      : Dataset(std::move(parts.class_names)),
        config_(config),
        files_(std::move(parts.files)),
        reader_{
            .format = {.channels = config.channels.value_or(3), .background = static_cast<uint8_t>(config.background)},
            .fit = config,
            .image = {}} {
    check_fit(config);
    look_at_files();
    for (ImageFiles* part : {&files_.train, &files_.test}) part->files = interleaved(std::move(part->files));
  }

  ImageSet read_train() const override { return read(files_.train); }
  ImageSet read_test() const override { return read(files_.test.files.empty() ? files_.train : files_.test); }

  bool fits_memory(const ImageFiles& part) const {
    return reader_.image.numel() * std::ssize(part.files) <= config_.memory << 20;
  }

  // Those of the files that have no error, by their places, and what to remark on the others. Throws where there are
  // others and they are not to be skipped, or where none is left.
  struct Readable {
    std::vector<size_t> places;
    std::vector<std::string> remarks;
  };
  Readable readable(const std::vector<ImageFile>& files, const std::vector<std::string>& errors) const;
  std::vector<ImageSize> sizes_of_readable(bool whole);
  void look_at_files();
  ImageSet read(const ImageFiles& part) const;
  void decode_into(ImageSet& set, std::vector<ImageFile>& files) const;

  const ImageFolderConfig config_;
  TrainAndTestFiles files_;
  ImageReader reader_;
};

ImageFolder::Readable ImageFolder::readable(const std::vector<ImageFile>& files,
                                            const std::vector<std::string>& errors) const {
  Readable left;
  Unreadable unreadable(folder());
  for (size_t i = 0; i < files.size(); ++i)
    if (errors[i].empty())
      left.places.push_back(i);
    else
      unreadable.add(files[i].path, errors[i]);
  if (unreadable.empty()) return left;
  left.remarks = {unreadable.text(files.size())};
  check(config_.skip_unreadable, "{}; with \"skip_unreadable\": true the others are used", left.remarks[0]);
  check(!left.places.empty(), "{}; none is left", left.remarks[0]);
  return left;
}

// Of both parts at once, so that all files that can not be read are named together; they are left out from now on.
std::vector<ImageSize> ImageFolder::sizes_of_readable(bool whole) {
  std::vector<ImageFile>&train = files_.train.files, &test = files_.test.files;
  std::vector<ImageFile> all = std::exchange(train, {});
  const size_t of_train = all.size();
  all.insert(all.end(), test.begin(), test.end());
  test.clear();
  std::vector<ImageSize> sizes(all.size()), kept;
  const Readable left = readable(all, errors_of(all.size(), [&](size_t i) {
                                   const Look look = look_at(all[i].path, whole);
                                   sizes[i] = look.size;
                                   all[i].checksum = look.checksum;
                                 }));
  for (const size_t i : left.places) {
    (i < of_train ? train : test).push_back(all[i]);
    kept.push_back(sizes[i]);
  }
  check(!train.empty() && (of_train == all.size() || !test.empty()), "image_folder: {}: no images are left for {}",
        folder(), train.empty() ? "training" : "testing");
  files_.train.remarks.insert(files_.train.remarks.end(), left.remarks.begin(), left.remarks.end());
  return kept;
}

// Headers are enough to see the size that all images have, and for files that are decoded later; those that are decoded
// now are walked through first.
void ImageFolder::look_at_files() {
  const std::optional<ImageSize> fixed = fixed_size(config_);
  const auto set_size = [&](const ImageSize& size) {
    reader_.image = {size.height, size.width, reader_.format.channels};
  };
  if (fixed) {
    set_size(*fixed);
  } else {
    const std::vector<ImageSize> sizes = sizes_of_readable(/*whole=*/false);
    const size_t of_train = files_.train.files.size();
    for (size_t i = 0; i < sizes.size(); ++i) {
      const ImageSize size = fitted_size(config_, sizes[i]), first = fitted_size(config_, sizes[0]);
      const ImageFile& file = i < of_train ? files_.train.files[i] : files_.test.files[i - of_train];
      check(size == first,
            "image_folder: images are of {}x{} and {}x{} (height, width; {} and {}), and neither the config nor a "
            "network "
            "says which size all of them get: give \"{}\": [height, width]",
            first.height, first.width, size.height, size.width, files_.train.files[0].path.string(), file.path.string(),
            config_.resize ? "center_crop" : "size");
    }
    set_size(fitted_size(config_, sizes[0]));
  }
  const bool in_memory = fits_memory(files_.train) && fits_memory(files_.test);
  if (fixed || in_memory) sizes_of_readable(in_memory);
}

ImageSet ImageFolder::read(const ImageFiles& part) const {
  ImageSet set{reader_.image, {}, {}, part.remarks};
  std::vector<ImageFile> files = part.files;
  if (fits_memory(part))
    decode_into(set, files);
  else
    set.remarks.push_back(
        fmt::format("image_folder: {}: {} images are {} MiB of pixels, \"memory\" is {}: they are decoded "
                    "for every batch",
                    folder(), files.size(), (set.image.numel() * std::ssize(files)) >> 20, config_.memory));
  for (const ImageFile& file : files) set.labels.push_back(file.label);
  const auto shared = std::make_shared<const std::vector<ImageFile>>(std::move(files));
  const auto path = [shared](int64_t place) -> const fs::path& { return shared->at(static_cast<size_t>(place)).path; };
  set.original = [path, format = reader_.format](int64_t place) { return read_image(path(place), format); };
  if (!set.pixels.empty()) return set;
  set.checksum = [shared](int64_t place) { return shared->at(static_cast<size_t>(place)).checksum; };
  set.read = [path, reader = reader_](int64_t place, int64_t) { return reader(path(place)).pixels; };
  return set;
}

void ImageFolder::decode_into(ImageSet& set, std::vector<ImageFile>& files) const {
  const auto bytes = set.image.numel();
  const auto place = [&](size_t i) { return set.pixels.begin() + static_cast<int64_t>(i) * bytes; };
  set.pixels.resize(files.size() * static_cast<size_t>(bytes));
  const Readable left = readable(
      files, errors_of(files.size(), [&](size_t i) { std::ranges::copy(reader_(files[i].path).pixels, place(i)); }));
  size_t kept = 0;
  for (const size_t i : left.places) {
    if (kept != i) std::copy_n(place(i), bytes, place(kept)), files[kept] = files[i];
    ++kept;
  }
  files.resize(kept);
  set.pixels.resize(kept * static_cast<size_t>(bytes));
  set.remarks.insert(set.remarks.end(), left.remarks.begin(), left.remarks.end());
}

const Registered<Dataset, ImageFolder, ImageFolderConfig> image_folder{"image_folder",
                                                                       "your own PNG and JPEG pictures, in folders"};

}  // namespace
}  // namespace qgrad

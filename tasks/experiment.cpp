// Opening data sets, building models, choosing folders.
#include "tasks/experiment.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>

#include "core/checksum.h"
#include "core/divide_up.h"
#include "core/parallel.h"
#include "core/ranks.h"
#include "nn/checkpoint.h"
#include "tasks/image_settings.h"
#include "tasks/metrics.h"
#include "tasks/model_file.h"
#include "tasks/progress.h"
#include "tasks/recommendation.h"

namespace qgrad {
namespace {

// By default.
constexpr double kValidation = 0.1;
constexpr int64_t kCalibrationImages = 512;
const std::vector<float> kMiddle{0.5f};

class ImageBatches final : public Task::Batches {
 public:
  ImageBatches(const ImageSet& set, const Indices& indices, const TransformConfig& transforms,
               const LoaderOptions& options)
      : cropped_(transforms.random_resized_crop
                     ? std::optional(randomly_cropped(set, *transforms.random_resized_crop, options.seed))
                     : std::nullopt),
        loader_(cropped_ ? *cropped_ : set, indices, Transform(transforms, set.image, options.seed), options),
        examples_(std::ssize(indices)),
        are_parts_(options.part) {}
  int64_t count() const override { return loader_.batches(); }
  int64_t examples() const override { return examples_; }
  void start_epoch(int64_t epoch, int64_t first_batch) override { loader_.start_epoch(epoch, first_batch); }
  std::optional<Task::Batch> next() override {
    auto batch = loader_.next();
    if (!batch) return std::nullopt;
    if (are_parts_) batch->images.set_part(batch->images.dim(0));
    return Task::Batch{{std::move(batch->images)}, std::move(batch->labels)};
  }

 private:
  const std::optional<ImageSet> cropped_;
  Loader loader_;
  int64_t examples_;
  bool are_parts_;
};

// "cifar10 in data/cifar-10-batches-bin (net.json)"
std::string named(const Dataset& dataset, const std::string& given) {
  const std::string folder = dataset.folder().empty() ? "" : " in " + dataset.folder();
  return fmt::format("{}{}{}", dataset.name(), folder, given.empty() ? "" : fmt::format(" ({})", given));
}

template <class T>
uint32_t crc32c_of(std::span<T> values, uint32_t before = 0) {
  return crc32c({reinterpret_cast<const char*>(values.data()), values.size_bytes()}, before);
}

// Of labels and pixels, or of what the pixels are read from.
Json checksum_of(const ImageSet& set, const Indices& places) {
  std::vector<uint32_t> sums(places.size());  // one of each image
  parallel_for(std::ssize(places), /*grain=*/64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t place = places[static_cast<size_t>(i)], bytes = set.image.numel();
      const uint32_t of_label = crc32c_of(std::span(&set.labels[static_cast<size_t>(place)], 1));
      const uint32_t of_file = set.checksum ? set.checksum(place) : 0;
      sums[static_cast<size_t>(i)] =
          set.checksum
              ? crc32c_of(std::span(&of_file, 1), of_label)
              : crc32c_of(std::span(&set.pixels[static_cast<size_t>(place * bytes)], static_cast<size_t>(bytes)),
                          of_label);
    }
  });
  return fmt::format("{:08x}", crc32c_of(std::span(sums)));
}

}  // namespace

ImageTask::ImageTask(const DataConfig& config, uint64_t seed, const std::optional<std::string>& folder,
                     const std::optional<Described>& network)
    : config_(config), seed_(seed) {
  if (network) config_.dataset = with_image(config_.dataset, network->data.image);
  dataset_ = open_dataset(config_.dataset, folder);
  config_.dataset = with_image(config_.dataset, dataset_->image_shape().dims());
  if (!dataset_->folder().empty()) config_.dataset.json()["dir"] = dataset_->folder();
  const std::string given = folder ? "--data" : config_.dataset.file;
  whose_ = named(*dataset_, given);
  description_ = description_for(*dataset_, config_.transforms, given, network);
  if (!config_.transforms.mean) config_.transforms.mean = description_.mean;
  if (!config_.transforms.std) config_.transforms.std = description_.std;

  const ImageSet &train = dataset_->train(), &test = dataset_->test();
  for (const ImageSet* set : {&train, &test})
    for (const std::string& remark : set->remarks) note(remark);
  const double share = config_.validation.value_or(kValidation);
  TrainAndValidation parts = split(train.size(), share, seed_);
  if (share > 0 && parts.validation.empty()) {
    const std::string none = fmt::format("{} of {} images is none", share, train.size());
    if (config_.validation) config_error(config_.dataset.file, "data.validation: {}", none);
    note(fmt::format("validation: {}: the last epoch counts", none));
  }
  training_ = limited(std::move(parts.train), config_.train_images, "train_images");
  validation_ = std::move(parts.validation);
  if (evaluates_validation() && validation_.empty())
    config_error(config_.dataset.file, "data.evaluated: \"validation\", but no images are held out");
  test_ = limited(evaluates_validation() ? validation_ : all_indices(test.size()), config_.test_images, "test_images");
}

Indices ImageTask::limited(Indices all, const std::optional<int64_t>& count, const char* key) const {
  if (!count) return all;
  if (*count > std::ssize(all))
    config_error(config_.dataset.file, "data.{}: {} were asked for, but there are {}", key, *count, all.size());
  return first(all, *count);
}

std::unique_ptr<Task::Batches> ImageTask::training(int batch_size, const std::optional<uint64_t>& own_seed) const {
  const uint64_t seed = own_seed.value_or(seed_);
  std::optional<std::pair<int64_t, int64_t>> part;
  if (ranks()) part = ranks()->examples(batch_size);
  return std::make_unique<ImageBatches>(dataset_->train(), training_, config_.transforms,
                                        LoaderOptions{.batch_size = batch_size,
                                                      .shuffle = true,
                                                      .drop_last = true,
                                                      .threads = config_.loader_threads,
                                                      .seed = seed,
                                                      .part = part});
}

Loader ImageTask::evaluation(const ImageSet& images, Indices indices, int batch_size) const {
  return Loader(images, std::move(indices), Transform(config_.transforms.test_time(), dataset_->image_shape(), seed_),
                {.batch_size = batch_size, .threads = config_.loader_threads, .seed = seed_});
}

Loader ImageTask::validation() const { return evaluation(dataset_->train(), validation_, config_.eval_batch_size); }
Loader ImageTask::test() const { return evaluation(evaluated_set(), test_, config_.eval_batch_size); }

Indices ImageTask::calibration_candidates(const CalibrationConfig& config) const {
  if (!config.first_image) return training_;
  Indices all = all_indices(dataset_->train().size());
  all.erase(all.begin(), all.begin() + std::min(*config.first_image, std::ssize(all)));
  return all;
}

void ImageTask::check_calibration(const CalibrationConfig& config, const std::string& where) const {
  const int64_t there = std::ssize(calibration_candidates(config));
  const std::string from = config.first_image ? fmt::format(" from image {} on", *config.first_image) : "";
  const std::string what = fmt::format("{}{}", there, from);
  if (there < config.images.value_or(1))
    config_error(where + ".images", "{} images were asked for, but there are {} to train on", config.images.value_or(1),
                 what);
  if (!config.images && there < kCalibrationImages)
    note(fmt::format("calibration: all training images, {}, which are fewer than {}", what, kCalibrationImages));
  if (config.augmentations > 0 && !config_.transforms.is_random())
    config_error(where + ".augmentations",
                 "data.transforms change nothing at random, as \"flip\" does: all {} would be "
                 "the same",
                 config.augmentations);
}

Indices ImageTask::calibration_places(const CalibrationConfig& config) const {
  const Indices all = calibration_candidates(config);
  const int64_t count = config.images.value_or(std::min<int64_t>(kCalibrationImages, std::ssize(all)));
  check(count > 0 && count <= std::ssize(all), "calibration: {} images were asked for, but there are {}", count,
        all.size());
  return config.first_image ? first(all, count) : random_subset(all, count, seed_);
}

Loader ImageTask::calibration(const CalibrationConfig& config) const {
  return evaluation(dataset_->train(), calibration_places(config), config.batch_size);
}

std::unique_ptr<Task::Batches> ImageTask::augmented_calibration(const CalibrationConfig& config) const {
  return std::make_unique<ImageBatches>(
      dataset_->train(), calibration_places(config), config_.transforms,
      LoaderOptions{.batch_size = config.batch_size, .threads = config_.loader_threads, .seed = seed_});
}

// Each rank evaluates some of the batches, so that what depends on a batch stays as it is. The first one, which writes
// checkpoints, has the first batch: a quantizer may keep in its buffers what it last computed with.
Json ImageTask::evaluate(Module& model, Part part, const std::string& label) const {
  const ImageSet& images = part == Part::test ? evaluated_set() : dataset_->train();
  Indices mine = part == Part::test ? test_ : validation_;
  if (ranks()) {
    const int64_t count = std::ssize(mine), size = config_.eval_batch_size, batches = divide_up(count, size);
    const auto begin_of = [&](int rank) {
      return std::min(count, (batches * rank + ranks()->count() - 1) / ranks()->count() * size);
    };
    mine = {mine.begin() + begin_of(ranks()->rank()), mine.begin() + begin_of(ranks()->rank() + 1)};
  }
  return qgrad::evaluate(model, evaluation(images, std::move(mine), config_.eval_batch_size), label).to_json();
}

Json ImageTask::data() const { return write_config(config_); }

Tensor ImageTask::example() const {
  Loader loader = evaluation(evaluated_set(), first(test_, 1), 1);
  loader.start_epoch(0);
  return loader.next()->images;
}

Json ImageTask::describe() const {
  return {{"class", dataset_->name()},
          {"training_images", training_.size()},
          {"validation_images", validation_.size()},
          {"test_images", test_.size()},
          {"evaluated", evaluates_validation() ? "training images held out" : "test images"}};
}

Json ImageTask::checksums() const {
  return {{"training", checksum_of(dataset_->train(), training_)}, {"evaluated", checksum_of(evaluated_set(), test_)}};
}

DataDescription description_for(Dataset& dataset, const TransformConfig& transforms, const std::string& given,
                                const std::optional<Described>& network) {
  const DataDescription theirs = network ? network->data : DataDescription{};
  if (std::ranges::is_permutation(theirs.classes, dataset.class_names())) dataset.order_classes(theirs.classes);
  if (network && theirs.classes.empty() && dataset.order_follows_from_names())
    note(fmt::format("{} does not name its classes: they are taken in the order of {}: {}", network->whose,
                     named(dataset, given), joined(dataset.class_names())));
  if (network && theirs.mean.empty() && !(transforms.mean && transforms.std))
    note(
        fmt::format("{} does not say how its images are normalised: 0.5 is taken for a mean or std that the config "
                    "leaves open",
                    network->whose));
  const Shape image = dataset.image_shape();
  auto [mean, std] = normalisation(transforms, image[2]);
  DataDescription data{.image = {image.dims().begin(), image.dims().end()},
                       .mean = transforms.mean || theirs.mean.empty() ? mean : theirs.mean,
                       .std = transforms.std || theirs.std.empty() ? std : theirs.std,
                       .classes = dataset.class_names().empty() ? theirs.classes : dataset.class_names()};
  if (network) check_agree({named(dataset, given), data}, *network);
  return data;
}

namespace {

// What is for images alone must be as it is by default.
void check_of_ratings(const DataConfig& data) {
  const auto with_defaults = [](DataConfig config) {
    config.validation = config.validation.value_or(kValidation);
    for (auto* values : {&config.transforms.mean, &config.transforms.std}) *values = values->value_or(kMiddle);
    return write_config(config);
  };
  DataConfig plain;
  plain.dataset = data.dataset;
  const Json defaults = with_defaults(plain), given = with_defaults(data);
  for (const auto& [key, value] : given.items())
    if (value != defaults.at(key))
      config_error(data.dataset.where(), "data.{} is for images; a data set of ratings takes no such setting", key);
}

void check_fits(const Config& model_config, const ImageTask& data) {
  const DataDescription description = data.description();
  const auto architecture = Registry<Architecture>::create(model_config);
  if (!architecture->takes(Shape(description.image)))
    config_error(model_config.where(), "the images of {} are {} (height, width, channels), but the model is for {}",
                 data.whose(), image_text(description.image), image_text(architecture->image_shape().dims()));
  const ModulePtr model = architecture->make();
  model->set_training(false);
  Shape outputs;
  try {
    outputs = model->call(example_inputs(model_config, description)).shape();
  } catch (const Error& e) {
    config_error(model_config.where(), "images of {} (height, width, channels), as {} has them, do not fit: {}",
                 image_text(description.image), data.whose(), e.what());
  }
  const int64_t classes = std::ssize(description.classes);
  if (classes > 0 && outputs.rank() != 2)
    config_error(
        model_config.where(),
        "the model gives {} for a batch of one, expected [1, {}], a number for each class: GlobalAvgPool2d and "
        "Flatten before the last layer make it one",
        outputs, classes);
  if (classes > 0 && outputs[-1] != classes)
    config_error(model_config.where(), "the model has {} outputs, but {} has {} classes", outputs[-1],
                 data.dataset().name(), classes);
}

}  // namespace

std::unique_ptr<Task> open_task(const ExperimentConfig& config, const std::optional<std::string>& folder,
                                const std::optional<Described>& network) {
  if (is_recommendation(config.data.dataset)) {
    check_of_ratings(config.data);
    auto ratings = std::make_unique<RankingData>(config.data.dataset, config.seed, folder);
    if (network) check_agree({ratings->whose(), ratings->description()}, *network);
    return ratings;
  }
  DataConfig data = config.data;
  if (network) data.dataset = with_image(data.dataset, network->data.image);
  data.dataset = with_image(data.dataset, image_of_model(config.model));
  auto images = std::make_unique<ImageTask>(data, config.seed, folder, network);
  check_fits(with_data(config.model, images->description()), *images);
  return images;
}

void check_labelled(const Task& task) {
  if (const ImageTask* images = task.on_images())
    check(!images->dataset().class_names().empty(),
          "{}: images without labels do for calibration alone; here classes are needed", images->whose());
}

std::unique_ptr<Task> open_task(const ExperimentConfig& config, const std::optional<std::string>& folder) {
  return open_task(config, folder, config.checkpoint ? std::optional(described(*config.checkpoint)) : std::nullopt);
}

ModulePtr build_model(const Config& model, uint64_t seed, const std::optional<std::string>& checkpoint) {
  const auto architecture = Registry<Architecture>::create(model);
  if (!checkpoint) return architecture->build(seed);
  ModulePtr built = architecture->make();
  load_state(*built, read_checkpoint(*checkpoint));
  return built;
}

std::vector<Tensor> example_inputs(const Config& model, const DataDescription& data) {
  if (data.image.empty()) return Registry<Architecture>::create(model)->example();
  return {Tensor::zeros({1, data.image.at(0), data.image.at(1), data.image.at(2)})};
}

std::vector<std::pair<std::string, OnDivergence>> enum_names(OnDivergence*) {
  return {{"stop", OnDivergence::stop}, {"rollback", OnDivergence::rollback}};
}

void read_value(const Config& from, DatasetConfig& value) {
  is_recommendation(from) ? Registry<RatingSource>::resolve(from) : Registry<Dataset>::resolve(from);
  value = from;
}
void write_value(const DatasetConfig& value, Json& to) { to = value.json(); }
void value_schema(const DatasetConfig&, Json&) {}  // anything: the registries know

void complete_model(ExperimentConfig& config, const Config& place) {
  if (!config.model.is_null()) return;
  if (!config.checkpoint) config_error(place.where(), "'model' is missing");
  const Json saved = placed_at(place.member("checkpoint"), [&] { return read_checkpoint(*config.checkpoint).config; });
  if (!saved.is_object() || !saved.contains("model"))
    config_error(place.where(), "'model' is missing, and {} does not say of which network its parameters are",
                 *config.checkpoint);
  config.model = Config{saved.at("model"), *config.checkpoint, "model"};
}

void check_config(const ExperimentConfig& config, const Config& place) {
  const bool is_folder = !config.name.empty() && config.name != "." && config.name != "..";
  const auto allowed = [](char c) { return c != '/' && c != '\\' && static_cast<unsigned char>(c) >= ' '; };
  constexpr size_t kLongest = 200;
  if (!is_folder || !std::ranges::all_of(config.name, allowed) || config.name.size() > kLongest)
    config_error(place.where("name"), "expected a name that can be that of a folder, without slashes; got {}",
                 detail::describe(config.name));
}

std::filesystem::path output_folder(const std::optional<std::string>& out, const std::string& name) {
  return out ? std::filesystem::path(*out) : std::filesystem::path("out") / name;
}

}  // namespace qgrad

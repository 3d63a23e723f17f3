// Opening data sets, building models, choosing folders.
#include "apps/experiment.h"

#include <algorithm>
#include <numeric>

#include "apps/metrics.h"
#include "apps/recommendation.h"
#include "nn/checkpoint.h"

namespace qgrad {
namespace {

class ImageBatches final : public Task::Batches {
 public:
  ImageBatches(const ImageSet& set, const Indices& indices, SampleTransform transform, const LoaderOptions& options)
      : loader_(set, indices, std::move(transform), options), examples_(std::ssize(indices)) {}
  int64_t count() const override { return loader_.batches(); }
  int64_t examples() const override { return examples_; }
  void start_epoch(int64_t epoch) override { loader_.start_epoch(epoch); }
  std::optional<Task::Batch> next() override {
    auto batch = loader_.next();
    if (!batch) return std::nullopt;
    return Task::Batch{{std::move(batch->images)}, std::move(batch->labels)};
  }

 private:
  Loader loader_;
  int64_t examples_;
};

}  // namespace

ExperimentData::ExperimentData(const DataConfig& config, uint64_t seed, const std::optional<std::string>& folder)
    : config_(config), seed_(seed) {
  dataset_ = open_dataset(config_.dataset, folder);
  TrainAndValidation parts = split(dataset_->train().size(), config_.validation, seed_);
  const auto limited = [](Indices all, const std::optional<int64_t>& count, const char* key) {
    check(!count || *count <= std::ssize(all), "data.{}: {} were asked for, but there are {}", key, count.value_or(0),
          all.size());
    return count ? first(all, *count) : std::move(all);
  };
  training_ = limited(std::move(parts.train), config_.train_images, "train_images");
  validation_ = std::move(parts.validation);
  test_ = limited(all_indices(dataset_->test().size()), config_.test_images, "test_images");
}

std::unique_ptr<Task::Batches> ExperimentData::training(int batch_size, const std::optional<uint64_t>& own_seed) const {
  const uint64_t seed = own_seed.value_or(seed_);
  return std::make_unique<ImageBatches>(dataset_->train(), training_,
                                        Transform(config_.transforms, dataset_->image_shape(), seed),
                                        LoaderOptions{.batch_size = batch_size,
                                                      .shuffle = true,
                                                      .drop_last = true,
                                                      .threads = config_.loader_threads,
                                                      .seed = seed});
}

Loader ExperimentData::evaluation(const ImageSet& images, Indices indices, int batch_size) const {
  return Loader(images, std::move(indices), Transform(config_.transforms.test_time(), dataset_->image_shape(), seed_),
                {.batch_size = batch_size, .threads = config_.loader_threads, .seed = seed_});
}

Loader ExperimentData::validation() const {
  return evaluation(dataset_->train(), validation_, config_.eval_batch_size);
}
Loader ExperimentData::test() const { return evaluation(dataset_->test(), test_, config_.eval_batch_size); }

Loader ExperimentData::calibration(const CalibrationConfig& config) const {
  const ImageSet& images = dataset_->train();
  if (!config.first_image) return evaluation(images, random_subset(training_, config.images, seed_), config.batch_size);
  check(*config.first_image + config.images <= images.size(),
        "calibration: images {} to {} were asked for, but there are {} training images", *config.first_image,
        *config.first_image + config.images - 1, images.size());
  Indices range(static_cast<size_t>(config.images));
  std::iota(range.begin(), range.end(), *config.first_image);
  return evaluation(images, std::move(range), config.batch_size);
}

Json ExperimentData::evaluate(Module& model, Part part, const std::string& label) const {
  return qgrad::evaluate(model, part == Part::test ? test() : validation(), label).to_json();
}

Tensor ExperimentData::example() const {
  Loader loader = evaluation(dataset_->test(), first(test_, 1), 1);
  loader.start_epoch(0);
  return loader.next()->images;
}

Json ExperimentData::describe() const {
  return {{"class", dataset_->name()},
          {"training_images", training_.size()},
          {"validation_images", validation_.size()},
          {"test_images", test_.size()}};
}

namespace {

// What is for images alone must be as it is by default.
void check_of_ratings(const DataConfig& data) {
  DataConfig plain;
  plain.dataset = data.dataset;
  const Json defaults = write_config(plain), given = write_config(data);
  for (const auto& [key, value] : given.items())
    if (value != defaults.at(key))
      config_error(data.dataset.where(), "data.{} is for images; a data set of ratings takes no such setting", key);
}

void check_classes(const ExperimentConfig& config, const Dataset& dataset) {
  const auto architecture = Registry<Architecture>::create(config.model);
  const ModulePtr model = architecture->make();
  model->set_training(false);
  const int64_t outputs = model->call(architecture->example()).dim(-1), classes = std::ssize(dataset.class_names());
  if (outputs != classes)
    config_error(config.model.where(), "the model has {} outputs, but {} has {} classes", outputs, dataset.name(),
                 classes);
}

}  // namespace

std::unique_ptr<Task> open_task(const ExperimentConfig& config, const std::optional<std::string>& folder) {
  if (is_recommendation(config.data.dataset)) {
    check_of_ratings(config.data);
    return std::make_unique<RankingData>(config.data.dataset, config.seed, folder);
  }
  auto images = std::make_unique<ExperimentData>(config.data, config.seed, folder);
  check_classes(config, images->dataset());
  return images;
}

ModulePtr build_model(const Config& model, uint64_t seed, const std::optional<std::string>& checkpoint) {
  const auto architecture = Registry<Architecture>::create(model);
  if (!checkpoint) return architecture->build(seed);
  ModulePtr built = architecture->make();
  load_state(*built, read_checkpoint(*checkpoint));
  return built;
}

std::vector<Tensor> example_inputs(const Config& model) { return Registry<Architecture>::create(model)->example(); }

void read_value(const Config& from, DatasetConfig& value) {
  is_recommendation(from) ? Registry<RatingSource>::resolve(from) : Registry<Dataset>::resolve(from);
  value = from;
}
Json write_value(const DatasetConfig& value) { return value.value; }
Json value_schema(DatasetConfig*) { return Json::object(); }

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

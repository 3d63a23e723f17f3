// What the configs of all commands have in common: data, model, training, calibration.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "data/transforms.h"
#include "nn/models/architecture.h"
#include "nn/module.h"
#include "nn/optim/optimizer.h"
#include "nn/optim/schedule.h"
#include "quant/train/oscillation.h"
#include "quant/train/quant_schedule.h"
#include "tasks/data_description.h"
#include "tasks/distillation.h"
#include "tasks/task.h"

namespace qgrad {

// A data set of images or of ratings, by its class.
struct DatasetConfig : Config {
  DatasetConfig() = default;
  DatasetConfig(Config config) : Config(std::move(config)) {}
};
void read_value(const Config& from, DatasetConfig& value);
void write_value(const DatasetConfig& value, Json& to);
void value_schema(const DatasetConfig& value, Json& to);

struct DataConfig {
  DatasetConfig dataset;
  TransformConfig transforms;
  std::optional<double> validation;
  Task::Part evaluated = Task::Part::test;
  int eval_batch_size = 250;
  int loader_threads = 1;
  std::optional<int64_t> train_images, test_images;
};
inline void fields(Fields& v, DataConfig& c) {
  v("dataset", c.dataset, {.help = "the data set's class and settings", .required = true});
  v("transforms", c.transforms, {.help = "normalisation and augmentation"});
  v("validation", c.validation,
    {.help = "share of the training images held out to choose the best epoch; null: 0.1", .min = 0, .max = 0.9});
  v("evaluated", c.evaluated,
    {.help = "images that results are of: test, or, to choose settings by, validation: the training images held out"});
  v("eval_batch_size", c.eval_batch_size, {.help = "images per batch in evaluation", .min = 1});
  v("loader_threads", c.loader_threads,
    {.help = "threads that prepare batches; the results do not depend on it", .min = 0, .max = 64});
  v("train_images", c.train_images, {.help = "use only the first N training images; null: all", .min = 1});
  v("test_images", c.test_images,
    {.help = "use only the first N of the images that results are of; null: all", .min = 1});
}

// Parameters that a pattern picks, and how they are optimized.
struct ParamGroupConfig {
  std::string name, parameters;
  std::optional<float> lr_factor, weight_decay;
};
inline void fields(Fields& v, ParamGroupConfig& c) {
  v("name", c.name, {.help = "name of the group", .required = true});
  v("parameters", c.parameters,
    {.help = "regular expression that must match the whole path of a parameter", .required = true});
  v("lr_factor", c.lr_factor,
    {.help = "factor of the scheduled learning rate; null: as the quantizer has it, or 1", .min = 0});
  v("weight_decay", c.weight_decay, {.help = "null: as the quantizer or the optimizer has it", .min = 0});
}

// What becomes of a training whose numbers are not finite any more.
enum class OnDivergence {
  stop,
  rollback,  // to the state before the epoch, and on with half the learning rate
};
std::vector<std::pair<std::string, OnDivergence>> enum_names(OnDivergence*);

struct TrainConfig {
  int epochs = 1;
  std::optional<int> batch_size;
  float label_smoothing = 0;
  ClassConfig<Optimizer> optimizer =
      Config::parse(R"({"class": "SGD", "lr": 0.1, "momentum": 0.9})", "train.optimizer");
  ClassConfig<Schedule> schedule = Config::parse(R"({"class": "constant"})", "train.schedule");
  std::optional<uint64_t> seed;
  std::vector<ParamGroupConfig> param_groups;
  std::optional<QuantScheduleConfig> quantization;
  std::optional<OscillationConfig> oscillations;
  std::optional<DistillationConfig> distillation;
  OnDivergence on_divergence = OnDivergence::stop;
  int log_steps = 100, keep_epochs = 0;
  bool tensorboard = false;
};
inline void fields(Fields& v, TrainConfig& c) {
  v("epochs", c.epochs, {.help = "passes over the training images", .min = 1});
  v("batch_size", c.batch_size,
    {.help = "images per step; the last, smaller batch of an epoch is dropped; null: 128, or all where there are fewer",
     .min = 1});
  v("label_smoothing", c.label_smoothing, {.help = "probability spread evenly over all classes", .min = 0, .max = 0.9});
  v("optimizer", c.optimizer, {.help = "the optimizer's class and settings"});
  v("schedule", c.schedule, {.help = "the learning-rate schedule's class and settings"});
  v("seed", c.seed, {.help = "seed of the images' order and augmentation; null: the experiment's"});
  v("param_groups", c.param_groups, {.help = "parameters with a learning rate or a weight decay of their own"});
  v("quantization", c.quantization,
    {.help = "when ranges, rounding, bits and batch norms change; null: all as the quantizer says, from the start"});
  v("oscillations", c.oscillations,
    {.help = "what is done about weights that go to and fro between two levels; null: nothing"});
  v("distillation", c.distillation, {.help = "a teacher whose outputs are a second target; null: none"});
  v("on_divergence", c.on_divergence,
    {.help = "where a loss, a gradient or a weight is not finite: \"stop\", or \"rollback\" to the state before the "
             "epoch and go on with half the learning rate, up to ten times"});
  v("log_steps", c.log_steps, {.help = "steps between lines of log.jsonl; 0: a line for each epoch alone", .min = 0});
  v("keep_epochs", c.keep_epochs,
    {.help = "checkpoints of so many last epochs are kept: epoch_0012.safetensors", .min = 0});
  v("tensorboard", c.tensorboard,
    {.help = "write for TensorBoard, too: the numbers of log.jsonl, what quantizers learn and follow, and after every "
             "epoch histograms of weights and activations"});
}

struct CalibrationConfig {
  std::optional<int64_t> images, first_image;
  int batch_size = 100, augmentations = 0;
  std::optional<std::string> statistics;
};
inline void fields(Fields& v, CalibrationConfig& c) {
  v("images", c.images,
    {.help = "training images whose activations are measured; null: 512, or all where there are fewer", .min = 1});
  v("first_image", c.first_image,
    {.help = "take the images from here on, in the order of the files; null: a random choice", .min = 0});
  v("batch_size", c.batch_size, {.help = "images per batch", .min = 1});
  v("augmentations", c.augmentations,
    {.help = "corrections learn from so many more versions of each image, changed as data.transforms change those of "
             "the training",
     .min = 0,
     .max = 1000});
  v("statistics", c.statistics, {.help = "a statistics file of `qgrad calibrate` to use instead; null: measure"});
}

// What every command's config begins with.
struct ExperimentConfig {
  std::string name;
  uint64_t seed = 1;
  DataConfig data;
  ClassConfig<Architecture> model;
  std::optional<std::string> checkpoint;
};
inline void fields(Fields& v, ExperimentConfig& c) {
  v("name", c.name, {.help = "name of the experiment", .required = true});
  v("seed", c.seed, {.help = "seed of all random streams"});
  v("data", c.data, {.help = "data set, transforms, split", .required = true});
  v("model", c.model,
    {.help =
         "the model's class and settings; without \"classes\" it has as many outputs as the data have classes; left "
         "out: as the checkpoint says"});
  v("checkpoint", c.checkpoint, {.help = "trained parameters to start from (safetensors, or an ONNX model)"});
}
// The model that a config leaves to its checkpoint; throws where that does not say one.
void complete_model(ExperimentConfig& config, const Config& place);

// Throws what is wrong with a config that was read, beyond its members one by one. Overloads know the commands' own.
void check_config(const ExperimentConfig& config, const Config& place);

// The images of an experiment: read once, split, shared by its loaders.
class ImageTask final : public Task {
 public:
  // `folder`: where --data says the data set is. `network`: what it is for, a checkpoint or a program, if there is one
  // already: its normalisation counts where the config says none, and its order of the classes. Throws where data and
  // network differ.
  ImageTask(const DataConfig& config, uint64_t seed, const std::optional<std::string>& folder,
            const std::optional<Described>& network);

  const ImageTask* on_images() const override { return this; }
  int64_t training_examples() const override { return std::ssize(training_); }
  std::unique_ptr<Batches> training(int batch_size, const std::optional<uint64_t>& seed) const override;  // augmented
  Loader validation() const;                                  // held-out training images, test-time transforms
  Loader test() const;                                        // what results are of
  Loader calibration(const CalibrationConfig& config) const;  // training images, test-time transforms
  // The same images, in the same order, each epoch changed in another way.
  std::unique_ptr<Batches> augmented_calibration(const CalibrationConfig& config) const;
  // Throws, at `where`, if more images are asked for than there are, or versions of them that would all be the same;
  // says so if the default is more.
  void check_calibration(const CalibrationConfig& config, const std::string& where) const;

  bool has(Part part) const override { return part == Part::test || !validation_.empty(); }
  Json evaluate(Module& model, Part part,
                const std::string& label) const override;  // {"images", "top1", "top5", "loss"}
  std::string score() const override { return "top1"; }
  const Dataset& dataset() const { return *dataset_; }
  // The images that results are of: a set, and places in it.
  const ImageSet& evaluated_set() const { return evaluates_validation() ? dataset_->train() : dataset_->test(); }
  const Indices& evaluated_places() const { return test_; }
  Tensor example() const;  // one test image, transformed: for traces
  Json describe() const override;
  // {"training", "evaluated"}: of labels and pixels, before they are transformed. Images that are not in memory are
  // read for it, but those of the training: null.
  Json checksums() const override;
  DataDescription description() const override { return description_; }
  Json data() const override;
  const std::string& whose() const { return whose_; }  // for messages

 private:
  Indices limited(Indices all, const std::optional<int64_t>& count, const char* key) const;
  Indices calibration_candidates(const CalibrationConfig& config) const;
  Indices calibration_places(const CalibrationConfig& config) const;
  Loader evaluation(const ImageSet& images, Indices indices, int batch_size) const;
  bool evaluates_validation() const { return config_.evaluated == Part::validation; }

  DataConfig config_;
  uint64_t seed_;
  std::string whose_;
  std::unique_ptr<Dataset> dataset_;
  DataDescription description_;
  Indices training_, validation_, test_;
};

// Images, or ratings, by the class of the data set. `folder`: where --data says it is. `network`: what a network that
// is there already was trained on, by default that of the config's checkpoint. Throws where the model does not take the
// images or does not have an output for every class, and where data and network differ.
std::unique_ptr<Task> open_task(const ExperimentConfig& config, const std::optional<std::string>& folder);
std::unique_ptr<Task> open_task(const ExperimentConfig& config, const std::optional<std::string>& folder,
                                const std::optional<Described>& network);

// Throws where a task's images have no labels.
void check_labelled(const Task& task);

// A new model of the config's class, initialised by the seed, or with the parameters of `checkpoint`.
ModulePtr build_model(const Config& model, uint64_t seed, const std::optional<std::string>& checkpoint);

// One example of the model's inputs, all zeros, for traces: an image as described, or of the model's default size.
std::vector<Tensor> example_inputs(const Config& model, const DataDescription& data);

// What a data set is like for a network: its classes, and their labels, come into the network's order, and what the
// transforms leave open is the network's. `given`: what names the data set, for messages. Throws where they differ.
DataDescription description_for(Dataset& dataset, const TransformConfig& transforms, const std::string& given,
                                const std::optional<Described>& network);

// The folder a command writes to: --out, or out/<name>.
std::filesystem::path output_folder(const std::optional<std::string>& out, const std::string& name);

}  // namespace qgrad

// What a model is trained for: images to classes, or users to items.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/json.h"
#include "nn/module.h"
#include "tasks/data_description.h"

namespace qgrad {

// The data of an experiment, split in three, and how well a model does on them.
class Task {
 public:
  virtual ~Task() = default;
  virtual const class ImageTask* on_images() const { return nullptr; }  // itself where it is on images

  struct Batch {
    std::vector<Tensor> inputs;   // the model's
    std::vector<int32_t> labels;  // one for each row of logits()
  };
  // Training batches of equal size in a random order, the same again for the same epoch.
  class Batches {
   public:
    virtual ~Batches() = default;
    virtual int64_t count() const = 0;                                 // in an epoch
    virtual int64_t examples() const = 0;                              // to choose from
    virtual void start_epoch(int64_t epoch, int64_t first_batch) = 0;  // next() gives that one then
    virtual std::optional<Batch> next() = 0;                           // nothing at the end of the epoch
  };
  // `seed`: of the order and of all that is drawn; null for the experiment's.
  virtual int64_t training_examples() const = 0;
  virtual std::unique_ptr<Batches> training(int batch_size, const std::optional<uint64_t>& seed) const = 0;
  // What the model gave for a batch, as logits of classes.
  virtual Tensor logits(const Tensor& output) const { return output; }

  enum class Part { validation, test };
  friend std::vector<std::pair<std::string, Part>> enum_names(Part*) {
    return {{"validation", Part::validation}, {"test", Part::test}};
  }
  virtual bool has(Part part) const = 0;
  // Metrics in evaluation mode: how many examples, then shares in percent and losses. Shows progress under `label`
  // unless it is empty.
  virtual Json evaluate(Module& model, Part part, const std::string& label) const = 0;
  // The metric that the best epoch has most of on the validation part.
  virtual std::string score() const = 0;
  virtual std::string unit() const { return "images"; }  // what the training examples are

  virtual Json describe() const = 0;   // for results.json
  virtual Json checksums() const = 0;  // CRC-32Cs of the data as they were read, by part, in hexadecimal digits
  virtual DataDescription description() const = 0;
  // The config's "data" with what it left open: the folder that is read, the normalisation.
  virtual Json data() const = 0;
};

// "top1 91.25  top5 99.50  loss 0.26512": metrics without the number of examples, which is the first.
std::string metrics_text(const Json& metrics);

}  // namespace qgrad

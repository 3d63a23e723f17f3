// Integer programs on images with labels, and what a quantized checkpoint becomes as a program: the engine's accuracy
// and speed beside the simulation's, and the size of the file.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "data/image.h"
#include "engine/engine.h"
#include "quant/export/lowering.h"
#include "tasks/metrics.h"
#include "tasks/model_file.h"

namespace qgrad {

// One example of the model's input, all zeros. Throws where a model has several inputs, as no program does.
Tensor example_of_program(const ModelFile& file);

// The program of a loaded checkpoint, trained with quantization or quantized afterwards. Changes the model, see
// deploy::to_integer_layers. Throws for what has no form in a program, with the layer and the reason.
deploy::Lowered program_of(ModelFile& file);

// What a checkpoint says of its images. Says so where it does not say how they are normalised: by 0.5 then.
DataDescription description_in(const ModelFile& file, const Tensor& example);

// Adds what a program's users need to know.
deploy::Program with_labels(deploy::Program program, const DataDescription& data, const Config& dataset);

// A program file's program, or a checkpoint's as `qgrad export` makes it, with the names of classes that the checkpoint
// says; config: for files that do not say all. Throws as read_program, load_model and program_of do.
deploy::Program program_in(const std::filesystem::path& file, const std::optional<Config>& config);

// A program beside the model that it was made of, on the same images.
struct Comparison {
  int64_t images = 0, outputs = 0;
  int64_t differing = 0;       // outputs that are not the model's to the bit
  double largest = 0;          // difference of an output
  int64_t same_class = 0;      // images with the class that the checkpoint's model gives
  double from_checkpoint = 0;  // largest difference of an output
  Json to_json() const;
  std::string to_text() const;  // one line
};
// Runs the bytes of a program file. model: what was lowered, which the program must agree with: to the bit, but where
// it computes in float, or beyond the simulation, within a tenth of the largest output. expected: what the checkpoint's
// model gave for the images before it was turned into integer layers. Throws where outputs are not finite, or disagree.
Comparison compare_with_model(std::string_view program, const deploy::Lowered& lowered, Module& model,
                              const Tensor& images, const Tensor& expected);

// How the pictures that a checkpoint was trained on, by the settings of its data set, became its images; and a
// picture's image for a program. Throws, naming the file, where it can not be read.
deploy::Preparation preparation_of(const Config& dataset);
Image image_for(const deploy::Program& program, const std::filesystem::path& file);

// What the images of a program are like, and its classes, as far as it says so.
DataDescription describe(const deploy::Program& program);

struct EngineRun {
  Metrics metrics;
  double seconds = 0;  // of the engine alone
};
// `beside` sees every batch too.
EngineRun run_engine(const deploy::Engine& engine, Loader loader, const std::string& label,
                     const std::function<void(const Tensor& images)>& beside = {});

struct Deployment {
  std::string refused;  // why there is no program; empty where there is one
  Metrics metrics;      // of the engine, on the test images
  double images_per_second = 0, simulated_images_per_second = 0;
  int64_t bytes = 0;  // of the program file
  Json to_json() const;
};
Deployment deploy_checkpoint(const std::filesystem::path& checkpoint, const ImageTask& data, const std::string& label);

}  // namespace qgrad

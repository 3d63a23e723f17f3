// A network of one's own: trained on handwritten digits, fine-tuned on four bits, and written as an integer program and
// as an ONNX model that compute the same.
#include <qgrad/core/file.h>
#include <qgrad/engine/program_file.h>
#include <qgrad/nn/init.h>
#include <qgrad/nn/layers/activation.h>
#include <qgrad/nn/layers/container.h>
#include <qgrad/nn/layers/conv.h>
#include <qgrad/nn/layers/linear.h>
#include <qgrad/nn/layers/norm.h>
#include <qgrad/nn/layers/pool.h>
#include <qgrad/nn/optim/sgd.h>
#include <qgrad/quant/export/from_trained.h>
#include <qgrad/quant/export/lowering.h>
#include <qgrad/quant/export/onnx.h>
#include <qgrad/quant/quantizer.h>
#include <qgrad/tasks/deployment.h>
#include <qgrad/tasks/training.h>

#include <cstdio>

using namespace qgrad;

ModulePtr network() {
  auto net = std::make_unique<Sequential>();
  net->add("conv1", std::make_unique<Conv2d>(conv3x3(1, 16))).add("bn1", std::make_unique<BatchNorm2d>(16));
  net->add("relu1", std::make_unique<ReLU>()).add("pool1", std::make_unique<MaxPool2d>(2));
  net->add("conv2", std::make_unique<Conv2d>(conv3x3(16, 32))).add("bn2", std::make_unique<BatchNorm2d>(32));
  net->add("relu2", std::make_unique<ReLU>()).add("pool2", std::make_unique<MaxPool2d>(2));
  net->add("flat", std::make_unique<Flatten>()).add("fc", std::make_unique<Linear>(2 * 2 * 32, 10));
  initialize(*net, /*seed=*/1, ConvInit::kaiming_fan_out);
  return net;
}

std::unique_ptr<Optimizer> sgd(Module& model, float lr) {
  auto optimizer = std::make_unique<Sgd>(SgdConfig{.lr = lr, .momentum = 0.9f, .weight_decay = 5e-4f});
  optimizer->add_param_group({.name = "default", .parameters = all_parameters(model)});
  return optimizer;
}

void report(const char* what, const Json& metrics) { std::printf("%-10s %s\n", what, metrics_text(metrics).c_str()); }

int main() try {
  DataConfig digits;
  digits.dataset = Config::parse(R"({"class": "digits"})", "dataset");
  const ImageTask data(digits, /*seed=*/1, std::nullopt, std::nullopt);
  TrainConfig epochs{.epochs = 10, .batch_size = 32};
  epochs.schedule = Config::parse(R"({"class": "cosine"})", "schedule");

  ModulePtr model = network();
  train(*model, *sgd(*model, 0.1f), data, epochs, "float");
  report("float", data.evaluate(*model, Task::Part::test, ""));

  const auto quantizer = Registry<Quantizer>::create(Config::parse(
      R"({"class": "LSQQuantizer", "bits_weights": 4, "bits_activations": 4, "quantized_activations": "inputs"})",
      "quantizer"));
  const auto optimizer = sgd(*model, 0.01f);
  quantizer->prepare(model, optimizer.get(), data.example());
  train(*model, *optimizer, data, epochs, "4 bits");
  report("4 bits", data.evaluate(*model, Task::Part::test, ""));

  model->set_training(false);
  deploy::to_integer_layers(model, data.example());
  const deploy::Program program = deploy::lower(*model, data.example()).program;
  write_file_atomically("digits.qgi", deploy::program_bytes(program));
  write_file_atomically("digits.onnx", deploy::onnx_model(program, {}));
  report("program", run_engine(deploy::Engine(program), data.test(), "").metrics.to_json());
} catch (const Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}

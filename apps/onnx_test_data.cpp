// Tensors of whole batches, channels first, as TensorProto files.
#include "apps/onnx_test_data.h"

#include <fmt/format.h>

#include <cstring>

#include "core/file.h"
#include "quant/export/onnx.h"
#include "quant/export/onnx_model.h"

namespace qgrad {
namespace {

// [images, height, width, channels] as [images, channels, height, width].
std::string channels_first(const char* from, size_t size_of_one, int64_t images, const deploy::TensorInfo& t) {
  std::string to;
  to.reserve(static_cast<size_t>(images * t.count()) * size_of_one);
  const int64_t positions = int64_t{t.height} * t.width;
  for (int64_t image = 0; image < images; ++image)
    for (int64_t c = 0; c < t.channels; ++c)
      for (int64_t p = 0; p < positions; ++p)
        to.append(from + static_cast<size_t>((image * positions + p) * t.channels + c) * size_of_one, size_of_one);
  return to;
}

}  // namespace

void write_onnx_test_set(const std::filesystem::path& folder, const deploy::Engine& engine, const Tensor& images,
                         bool all_tensors) {
  using deploy::OnnxType;
  std::vector<deploy::OnnxTensor> quantized;
  if (all_tensors) quantized = deploy::onnx_quantized_tensors(engine.program());
  const auto info = [&](size_t i) -> const deploy::TensorInfo& {
    return engine.program().tensors[static_cast<size_t>(quantized[i].tensor)];
  };
  const int64_t count = images.dim(0);
  std::vector<std::string> bytes(quantized.size());
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i].resize(static_cast<size_t>(count * info(i).count()));
  std::vector<float> output(static_cast<size_t>(count * engine.output_count()));
  engine.run(images.data(), output, [&](int64_t image, const deploy::TensorInfo& made, const void* values) {
    for (size_t i = 0; i < bytes.size(); ++i)
      if (&info(i) == &made)
        std::memcpy(bytes[i].data() + image * made.count(), values, static_cast<size_t>(made.count()));
  });
  std::filesystem::create_directories(folder);
  const auto write = [&](const std::string& file, const std::string& name, OnnxType type, const deploy::TensorInfo& t,
                         const std::string& values) {
    std::vector<int64_t> dims{count, t.channels, t.height, t.width};
    if (name == "output") dims = {count, t.count()};
    write_file_atomically(folder / (file + ".pb"), deploy::onnx_tensor(name, type, dims, values));
  };
  const deploy::Program& program = engine.program();
  const auto float_values = [&](std::span<const float> values, const deploy::TensorInfo& t) {
    return channels_first(reinterpret_cast<const char*>(values.data()), sizeof(float), count, t);
  };
  const deploy::TensorInfo& in = program.tensors[static_cast<size_t>(program.input)];
  const deploy::TensorInfo& out = program.tensors[static_cast<size_t>(program.output)];
  write("input_0", "input", OnnxType::float32, in, float_values(images.data(), in));
  write("output_0", "output", OnnxType::float32, out, float_values(output, out));
  for (size_t i = 0; i < bytes.size(); ++i)
    write(fmt::format("output_{}", i + 1), quantized[i].name, OnnxType::uint8, info(i),
          channels_first(bytes[i].data(), 1, count, info(i)));
}

}  // namespace qgrad

// qgrad import MODEL.onnx: a network of another framework, as a checkpoint with its network in the metadata.
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "nn/checkpoint.h"
#include "tasks/output_folder.h"

namespace qgrad {
namespace {

struct ImportCommandOptions {
  std::string file;
  std::vector<std::string> sizes;
};

// "3x224x224", or "name=3x224x224" for one of several inputs.
std::pair<std::string, std::vector<int64_t>> size_of(const std::string& text) {
  const size_t equals = text.rfind('=');
  const std::string name = equals == std::string::npos ? "" : text.substr(0, equals);
  std::vector<int64_t> sizes;
  const char *at = text.data() + (equals == std::string::npos ? 0 : equals + 1), *end = text.data() + text.size();
  while (true) {
    int64_t size = 0;
    const auto [after, error] = std::from_chars(at, end, size);
    const bool goes_on = after != end && *after == 'x';
    check(error == std::errc() && size > 0 && (after == end || goes_on),
          "--size {}: expected sizes of one example, as 3x224x224, or NAME=3x224x224", text);
    sizes.push_back(size);
    if (!goes_on) return {name, sizes};
    at = after + 1;
  }
}

std::string text_of(const Json& result) {
  std::string text;
  for (const Json& node : result.at("model").at("nodes")) {
    std::string inputs;
    if (node.contains("inputs"))
      for (const Json& input : node.at("inputs")) inputs += (inputs.empty() ? "" : ", ") + input.get<std::string>();
    text +=
        fmt::format("{} = {}({})\n", node.at("name").get<std::string>(), node.at("class").get<std::string>(), inputs);
  }
  return text + fmt::format("{} layers, {} parameters\n{}\n", result.at("model").at("nodes").size(),
                            result.at("parameters").get<int64_t>(), result.at("checkpoint").get<std::string>());
}

void run_import(const ImportCommandOptions& chosen, const CommonOptions& options) {
  onnx::ImportOptions import;
  for (const std::string& text : chosen.sizes)
    check(import.sizes.insert(size_of(text)).second, "--size {}: sizes of this input stand twice", text);
  const std::string name = std::filesystem::path(chosen.file).stem().string();
  OutputFolder folder(output_folder(options.out, name));
  folder.check_results_are_of("import");  // which has none
  folder.check_spares({chosen.file}, {"model.safetensors"});
  const Checkpoint imported = import_checkpoint(chosen.file, import);
  const std::filesystem::path checkpoint = folder.to_write("model.safetensors");
  write_checkpoint(checkpoint, imported);
  int64_t parameters = 0;
  for (const auto& [parameter, tensor] : imported.tensors) parameters += tensor.numel();
  const Json result{
      {"model", imported.config.at("model")}, {"parameters", parameters}, {"checkpoint", checkpoint.string()}};
  print_result(options, result, text_of(result));
}

const Subcommand import_command{
    "import", "a network of an ONNX file, as a checkpoint for all other commands",
    [](CLI::App& command) {
      const auto options = add_common_options(command, {"--out"});
      const auto chosen = std::make_shared<ImportCommandOptions>();
      command.add_option("MODEL", chosen->file, "float ONNX model of opset 7 to 26")->required();
      command
          .add_option("--size", chosen->sizes,
                      "sizes of one example, as 3x224x224, where the file leaves them open; NAME=3x224x224 for one of "
                      "several inputs")
          ->allow_extra_args(false);
      command.callback([=] { run_import(*chosen, *options); });
    },
    "qgrad import net.onnx --size 3x224x224 --out out/net"};

}  // namespace
}  // namespace qgrad

// Magic numbers.
#include "core/file_kind.h"

#include <fmt/core.h>

#include <algorithm>
#include <fstream>

namespace qgrad {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kPickle = "a PyTorch checkpoint (pickle)", kTorch = "a PyTorch checkpoint (ZIP)";

bool is_text(std::string_view bytes) {
  return !bytes.empty() && std::ranges::all_of(bytes.substr(0, 512), [](char c) {
    return (c >= ' ' && c <= '~') || c == '\n' || c == '\r' || c == '\t';
  });
}

// A message whose first field is the version of the format, a small number, followed by a text or a graph.
bool is_onnx(std::string_view bytes) {
  return bytes.size() > 2 && bytes[0] == 8 && bytes[1] > 0 && bytes[1] < 32 &&
         "\x12\x1a\x22\x2a\x32\x3a\x42"sv.find(bytes[2]) != bytes.npos;
}

bool is_safetensors(std::string_view bytes) {
  return bytes.size() > 9 && bytes[8] == '{' && bytes.substr(4, 4) == "\0\0\0\0"sv;
}

}  // namespace

std::string kind_of_file(const std::filesystem::path& file) {
  if (!std::filesystem::is_regular_file(file)) return "";
  std::string start(512, '\0');
  std::ifstream in(file, std::ios::binary);
  in.read(start.data(), static_cast<std::streamsize>(start.size()));
  start.resize(static_cast<size_t>(in.gcount()));
  return file_kind(start);
}

std::string file_kind(std::string_view bytes) {
  constexpr std::pair<std::string_view, std::string_view> kinds[] = {{"\x89PNG", "a PNG image"},
                                                                     {"\xff\xd8\xff", "a JPEG image"},
                                                                     {"\x1f\x8b", "a gzip archive"},
                                                                     {"\x93NUMPY", "a NumPy array"},
                                                                     {"\x89HDF", "an HDF5 file"},
                                                                     {"\x7f"
                                                                      "ELF",
                                                                      "a program of this machine (ELF)"},
                                                                     {"QGRADINT", "an integer program"},
                                                                     {"\x80\x02", kPickle},
                                                                     {"\x80\x03", kPickle},
                                                                     {"\x80\x04", kPickle},
                                                                     {"\x80\x05", kPickle}};
  if (is_safetensors(bytes)) return "a safetensors file";  // whose length may begin as another kind does
  for (const auto& [magic, kind] : kinds)
    if (bytes.starts_with(magic)) return std::string(kind);
  if (bytes.starts_with("PK\x03\x04"))
    return std::string(bytes.substr(0, 512).find("data.pkl") != bytes.npos ? kTorch : "a ZIP archive"sv);
  if (is_text(bytes))
    return bytes[bytes.find_first_not_of(" \n\r\t") % bytes.size()] == '{' ? "a JSON file" : "a text file";
  return is_onnx(bytes) ? "an ONNX model" : "";
}

std::string file_kind_to_convert(std::string_view bytes, std::string_view file) {
  std::string kind = file_kind(bytes);
  if (kind != kPickle && kind != kTorch) return kind;
  return fmt::format(
      "{}; in Python, this makes a safetensors file of it:\n"
      "  import torch, safetensors.torch\n"
      "  state = torch.load('{}', map_location='cpu', weights_only=True)\n"
      "  safetensors.torch.save_file({{k: v.contiguous() for k, v in state.items()}}, '{}.safetensors')",
      kind, file, file.substr(0, file.rfind('.')));
}

}  // namespace qgrad

// What nodes are called: as in the framework that they come from, where the file knows it.
#include <cctype>

#include "nn/onnx/translation.h"

namespace qgrad::onnx {
namespace {

// A name's last parts that say where it is: "/layer1/layer1.0/conv1/Conv" -> "layer1.0.conv1".
std::string from_scopes(const std::string& name) {
  std::string path;
  size_t begin = 0;
  for (size_t end; (end = name.find('/', begin)) != std::string::npos; begin = end + 1) {
    const std::string part = name.substr(begin, end - begin);
    if (part.empty()) continue;
    path = path.empty() || part.starts_with(path + ".") ? part : path + "." + part;
  }
  return path.empty() ? name.substr(begin) : path;
}

// "layer1.0.conv1" of "layer1.0.conv1.weight".
std::string from_parameter(const Node& node) {
  for (const std::string& input : node.inputs)
    for (const char* end : {".weight", ".running_mean"})
      if (input.ends_with(end)) return input.substr(0, input.size() - std::string_view(end).size());
  return "";
}

std::string lower_case(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// The last but one of "['', 'layer1', 'layer1.0.conv1', 'conv2d']": the module, which the operator's own name
// follows.
std::string from_module_list(const std::string& list) {
  std::vector<std::string> names;
  for (size_t begin = list.find('\''); begin != std::string::npos;) {
    const size_t end = list.find('\'', begin + 1);
    if (end == std::string::npos) break;
    names.push_back(list.substr(begin + 1, end - begin - 1));
    begin = list.find('\'', end + 1);
  }
  return names.size() < 2 ? "" : names[names.size() - 2];
}

}  // namespace

std::string clean_name(const std::string& name) {
  std::string clean;
  for (const char c : name) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-';
    if (c == '.' && (clean.empty() || clean.back() == '.')) continue;
    clean += plain || c == '.' ? c : '_';
  }
  while (!clean.empty() && clean.back() == '.') clean.pop_back();
  return clean;
}

std::string name_of(const Node& node) {
  std::string name = clean_name(from_parameter(node));
  if (name.empty())
    if (const auto scopes = node.metadata.find("pkg.torch.onnx.name_scopes"); scopes != node.metadata.end())
      name = clean_name(from_module_list(scopes->second));
  if (name.empty() && node.name.find('/') != std::string::npos) name = clean_name(from_scopes(node.name));
  if (name.empty()) name = lower_case(clean_name(node.name.empty() ? node.op : node.name));
  return name.empty() ? "node" : name;
}

}  // namespace qgrad::onnx

// Float arrays in NumPy's file format, version 1.
#pragma once

#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "core/error.h"
#include "core/tensor.h"

namespace qgrad::test {

inline Tensor read_npy(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::stringstream content;
  content << in.rdbuf();
  const std::string bytes = content.str();
  check(bytes.size() > 10 && bytes.starts_with("\x93NUMPY\x01"), "{}: no NumPy array", file.string());
  const size_t length = static_cast<uint8_t>(bytes[8]) + 256u * static_cast<uint8_t>(bytes[9]);
  const std::string header = bytes.substr(10, length);
  std::smatch shape;
  check(header.find("'<f4'") != std::string::npos && header.find("False") != std::string::npos &&
            std::regex_search(header, shape, std::regex(R"(\(([0-9, ]*)\))")),
        "{}: expected floats in rows, got {}", file.string(), header);
  std::vector<int64_t> dims;
  std::stringstream list(shape[1]);
  for (std::string part; std::getline(list, part, ',');)
    if (part.find_first_not_of(' ') != std::string::npos) dims.push_back(std::stoll(part));
  Tensor values = Tensor::empty(Shape(dims));
  check(bytes.size() == 10 + length + values.data().size_bytes(), "{}: has {} bytes", file.string(), bytes.size());
  bytes.copy(reinterpret_cast<char*>(values.mutable_data().data()), values.data().size_bytes(), 10 + length);
  return values;
}

}  // namespace qgrad::test

// Construction and printing of Embedding.
#include "nn/layers/embedding.h"

namespace qgrad {
namespace {

Tensor table(int64_t rows, int64_t width) {
  check(rows > 0 && width > 0, "Embedding: rows and width must be positive, got {} x {}", rows, width);
  return Tensor::zeros({rows, width});
}

}  // namespace

Embedding::Embedding(int64_t rows, int64_t width) : weight(parameter("weight", table(rows, width))) {}

std::string Embedding::describe() const { return fmt::format("{}, {}", weight.raw().dim(0), weight.raw().dim(1)); }

}  // namespace qgrad

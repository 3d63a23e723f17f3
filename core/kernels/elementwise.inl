// Elementwise loops, written once and compiled per instruction set: the including file names ISA_SUFFIX.
namespace qgrad {
namespace {

void add(const float* a, const float* b, float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = a[i] + b[i];
}

}  // namespace

ElementwiseKernels QGRAD_ELEMENTWISE() { return {add}; }

}  // namespace qgrad

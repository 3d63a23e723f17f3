// Sums of given numbers.
#include "core/kernels/cases.h"

namespace qgrad {

void add_cases(const ReduceKernels& k, const KernelNumbers& v, KernelCases& to) {
  const size_t n = v.size(), columns = v.channels / 2;
  to.add<double>("sum", 1, [&](double* sum) { *sum = k.sum(v.a, n); });
  to.add<double>("dot", 1, [&](double* sum) { *sum = k.dot(v.a, v.b, n); });
  to.add<double>("squared_distance", 1, [&](double* sum) { *sum = k.squared_distance(v.a, v.b, n); });
  to.add<double>("sum_columns", columns,
                 [&](double* sums) { k.sum_columns(v.a, v.rows(), columns, v.channels, sums); });
}

}  // namespace qgrad

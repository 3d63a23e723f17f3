// Matrix products: matmul, batched matmul, linear; and the bias of linear and convolution layers.
#include <algorithm>
#include <vector>

#include "core/batch_sum.h"
#include "core/divide_up.h"
#include "core/error.h"
#include "core/kernels/table.h"
#include "core/ops.h"
#include "core/ops/bias.h"
#include "core/parallel.h"
#include "core/tape.h"

namespace qgrad {
namespace {

// Rows of C per parallel chunk, a multiple of the kernels' six: at least a million multiply-adds, and of a large
// product enough rows to use what was read of B a few times.
int64_t row_grain(int64_t rows, int64_t work_per_row) {
  const int64_t enough_work = (1 << 20) / std::max<int64_t>(1, work_per_row),
                enough_use = std::min<int64_t>(96, rows / 8);
  return std::max<int64_t>(1, std::max(enough_work, enough_use) / 6) * 6;
}

// C [m,n] = A [m,k] B + bias, where B's element (k, column) is b[k * inner_stride + column * column_stride].
void multiply(int64_t m, int64_t k, int64_t n, const float* a, const float* b, int64_t inner_stride,
              int64_t column_stride, const float* bias, float* c) {
  Tensor packed = Tensor::empty({gemm_packed_floats(k, n)});
  gemm_pack(k, n, b, inner_stride, column_stride, packed.mutable_data().data());
  const float* panels = packed.data().data();
  parallel_for(m, row_grain(m, k * n), [&](int64_t begin, int64_t end) {
    kernels().gemm.multiply({.rows = end - begin,
                             .inner = k,
                             .columns = n,
                             .a = a + begin * k,
                             .panels = panels,
                             .bias = bias,
                             .c = c + begin * n});
  });
}

// C [m,n] = A^T B, A [k,m], B [k,n].
void multiply_transposed(int64_t m, int64_t k, int64_t n, const float* a, const float* b, float* c) {
  parallel_for(m, row_grain(m, k * n), [&](int64_t begin, int64_t end) {
    kernels().gemm_gradient.multiply_transposed({.first = begin,
                                                 .rows = end - begin,
                                                 .inner = k,
                                                 .columns = n,
                                                 .a_columns = m,
                                                 .a = a,
                                                 .b = b,
                                                 .c = c + begin * n});
  });
}

// A^T B summed over `rows` rows, which may be a part of a batch's: A [rows, in], B [rows, out].
Tensor product_over_rows(int64_t rows, const Tensor& a, const Tensor& b, bool part) {
  const int64_t in = a.dim(-1), out = b.dim(-1), size = in * out;
  const BatchChunks chunks(rows, part, size, rows);
  Tensor partial = Tensor::empty({chunks.count(), size});
  const float *pa = a.data().data(), *pb = b.data().data();
  float* sums = partial.mutable_data().data();
  const int64_t grain = row_grain(in, rows / chunks.count() * out), blocks = divide_up(in, grain);
  parallel_for(chunks.count() * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto [first, last] = chunks.rows(i / blocks);
      const int64_t column = i % blocks * grain;
      kernels().gemm_gradient.multiply_transposed({.first = column,
                                                   .rows = std::min(grain, in - column),
                                                   .inner = last - first,
                                                   .columns = out,
                                                   .a_columns = in,
                                                   .a = pa + first * in,
                                                   .b = pb + first * out,
                                                   .c = sums + i / blocks * size + column * out});
    }
  });
  return folded(part, std::move(partial), {in, out});
}

// da = dc b^T, db = a^T dc, for every matrix of the batch.
Tensor matmul_of_equal_batches(const Tensor& a, const Tensor& b) {
  const Shape &sa = a.shape(), &sb = b.shape();
  const int64_t m = sa[-2], k = sa[-1], n = sb[-1], batch = sa.numel_until(sa.rank() - 2);
  Shape shape = sa;
  shape.set(-1, n);
  Tensor c = Tensor::empty(shape);
  const auto each = [batch](auto&& product) {
    parallel_for(batch, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) product(i);
    });
  };
  each([&, pa = a.data().data(), pb = b.data().data(), to = c.mutable_data().data()](int64_t i) {
    multiply(m, k, n, pa + i * m * k, pb + i * k * n, n, 1, nullptr, to + i * m * n);
  });
  return record("matmul", c, {a, b}, [a, b, m, k, n, each](const Tensor& dc, Grads& dx) {
    const float* from = dc.data().data();
    if (dx.needs(0)) {
      Tensor da = Tensor::empty(a.shape());
      each([&, pb = b.data().data(), to = da.mutable_data().data()](int64_t i) {
        multiply(m, n, k, from + i * m * n, pb + i * k * n, 1, n, nullptr, to + i * m * k);
      });
      dx.add(0, da);
    }
    if (dx.needs(1) && b.rank() == 2) {
      dx.add(1, product_over_rows(m, a, dc, dx.over_ranks(1)));
    } else if (dx.needs(1)) {
      Tensor db = Tensor::empty(b.shape());
      each([&, pa = a.data().data(), to = db.mutable_data().data()](int64_t i) {
        multiply_transposed(k, m, n, pa + i * m * k, from + i * m * n, to + i * k * n);
      });
      dx.add(1, db);
    }
  });
}

// The shape of the leading dimensions, and two more.
Shape batch_of_matrices(const Shape& leading, int64_t rows, int64_t columns) {
  std::vector<int64_t> dims(leading.dims().begin(), leading.dims().end());
  dims.push_back(rows), dims.push_back(columns);
  return Shape(dims);
}

}  // namespace

void check_bias(const char* op, const Tensor& bias, const Shape& weight) {
  check(!bias.defined() || bias.shape() == Shape{weight[-1]}, "{}: weight {} wants a bias [{}], got {}", op, weight,
        weight[-1], bias.defined() ? bias.shape() : Shape{});
}

Tensor bias_gradient(const Tensor& dy, bool part) {
  const int64_t columns = dy.dim(-1), rows = dy.shape().numel_until(dy.rank() - 1);
  const BatchChunks chunks(rows, part, columns, rows);
  Tensor partial = Tensor::zeros({chunks.count(), columns});
  const float* from = dy.data().data();
  float* sums = partial.mutable_data().data();
  chunks.for_each(kElementwiseGrain / std::max<int64_t>(1, columns), [&](int64_t chunk, int64_t first, int64_t last) {
    kernels().gemm_gradient.add_column_sums(last - first, columns, from + first * columns, sums + chunk * columns);
  });
  return folded(part, std::move(partial), {columns});
}

Tensor matmul(const Tensor& a, const Tensor& b) {
  const Shape &sa = a.shape(), &sb = b.shape();
  check(sa.rank() >= 2 && sb.rank() >= 2, "matmul: expected matrices, got {} and {}", sa, sb);
  check(sa[-1] == sb[-2], "matmul: {} times {}: expected the second to be [..,{},N]", sa, sb, sa[-1]);
  const Shape of_a(sa.dims().first(static_cast<size_t>(sa.rank() - 2))),
      of_b(sb.dims().first(static_cast<size_t>(sb.rank() - 2)));
  if (of_a == of_b) return matmul_of_equal_batches(a, b);
  if (of_b.numel() == 1 && of_b.rank() <= of_a.rank()) {  // one product of all rows
    const Tensor rows = reshape(a, {sa.numel_until(sa.rank() - 1), sa[-1]});
    return reshape(matmul_of_equal_batches(rows, reshape(b, {sb[-2], sb[-1]})),
                   batch_of_matrices(of_a, sa[-2], sb[-1]));
  }
  const Shape leading = [&] {
    try {
      return broadcast(of_a, of_b);
    } catch (const Error&) {
      fail("matmul: {} times {}: their leading dimensions do not broadcast", sa, sb);
    }
  }();
  return matmul_of_equal_batches(expand(a, batch_of_matrices(leading, sa[-2], sa[-1])),
                                 expand(b, batch_of_matrices(leading, sb[-2], sb[-1])));
}

// y = x weight + bias; dx = dy weight^T, dweight = x^T dy, dbias = column sums of dy.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const Shape &sx = x.shape(), &sw = weight.shape();
  check(sw.rank() == 2, "linear: expected a weight [in,out], got {}", sw);
  check(sx.rank() >= 1 && sx[-1] == sw[0], "linear: weight {} wants {} input features, input has {} ({})", sw, sw[0],
        sx.rank() ? sx[-1] : 0, sx);
  check_bias("linear", bias, sw);
  const int64_t in = sw[0], out = sw[1], rows = sx.numel_until(sx.rank() - 1);
  Shape shape = sx;
  shape.set(-1, out);
  Tensor y = Tensor::empty(shape);
  multiply(rows, in, out, x.data().data(), weight.data().data(), out, 1, bias.defined() ? bias.data().data() : nullptr,
           y.mutable_data().data());
  return record("linear", y, {x, weight, bias}, [x, weight, rows, in, out](const Tensor& dy, Grads& dx) {
    if (dx.needs(0)) {
      Tensor g = Tensor::empty(x.shape());
      multiply(rows, out, in, dy.data().data(), weight.data().data(), 1, out, nullptr, g.mutable_data().data());
      dx.add(0, g);
    }
    if (dx.needs(1)) dx.add(1, product_over_rows(rows, x, dy, dx.over_ranks(1)));
    if (dx.needs(2)) dx.add(2, bias_gradient(dy, dx.over_ranks(2)));
  });
}

}  // namespace qgrad

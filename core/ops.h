// Differentiable operations on tensors. Each is one function; its backward stands beside it in core/ops/.
// Shapes that do not fit throw Error naming the op and both shapes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "core/tensor.h"

namespace qgrad {

struct AxisMaps;  // core/ops/linear_map.h

// --- elementwise.cpp: NumPy broadcasting for two operands ---
Tensor add(const Tensor& a, const Tensor& b);
Tensor sub(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);
Tensor div(const Tensor& a, const Tensor& b);
Tensor add_scalar(const Tensor& x, float value);
Tensor mul_scalar(const Tensor& x, float value);
Tensor neg(const Tensor& x);
Tensor abs(const Tensor& x);  // derivative 0 at 0
Tensor square(const Tensor& x);
Tensor sqrt(const Tensor& x);
Tensor exp(const Tensor& x);
Tensor log(const Tensor& x);
Tensor relu(const Tensor& x);   // derivative 0 at 0
Tensor relu6(const Tensor& x);  // min(max(x, 0), 6); derivative 0 at both ends
Tensor sigmoid(const Tensor& x);
Tensor tanh(const Tensor& x);
Tensor clamp(const Tensor& x, float low, float high);  // derivative 1 at both ends, as in PyTorch

// --- functions.cpp: functions of every number, and more with NumPy broadcasting for two operands ---
Tensor erf(const Tensor& x);
Tensor elu(const Tensor& x, float alpha);                       // x, or alpha (e^x - 1) where x <= 0
Tensor hard_sigmoid(const Tensor& x, float alpha, float beta);  // max(0, min(1, alpha x + beta))
Tensor hard_swish(const Tensor& x);                             // x max(0, min(1, x / 6 + 1/2))
Tensor silu(const Tensor& x);                                   // x sigmoid(x)
Tensor softplus(const Tensor& x);                               // log(1 + e^x)
enum class GeluApproximation { none, tanh };
// x (1 + erf(x / sqrt 2)) / 2; tanh: x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 (Hendrycks, Gimpel 2016).
Tensor gelu(const Tensor& x, GeluApproximation approximation);
Tensor pow(const Tensor& x, float exponent);  // as C's pow: also of negative numbers, where the exponent is whole
Tensor pow(const Tensor& a, const Tensor& b);
Tensor leaky_relu(const Tensor& x, float slope);     // x, or slope x where x <= 0
Tensor prelu(const Tensor& x, const Tensor& slope);  // the same; the slope broadcasts to x
Tensor maximum(const Tensor& a, const Tensor& b);    // where both are equal, each gets half of the gradient
Tensor minimum(const Tensor& a, const Tensor& b);

// --- reduce.cpp: sums are taken in an order that depends on the shape only ---
Tensor sum(const Tensor& x);  // to a scalar
Tensor mean(const Tensor& x);
Tensor sum(const Tensor& x, int dim, bool keep_dim);
Tensor mean(const Tensor& x, int dim, bool keep_dim);
Tensor dot(const Tensor& a, const Tensor& b);               // the sum of a b; both of one shape, of any rank
Tensor squared_distance(const Tensor& a, const Tensor& b);  // the sum of (a - b)^2; the same
Tensor max(const Tensor& x);  // to a scalar; the gradient is shared equally among equal maxima, as in PyTorch
Tensor min(const Tensor& x);  // both ignore NaNs
// Over several dimensions, or all where none is named (reduce_dims.cpp). A NaN is the maximum and the minimum.
Tensor sum(const Tensor& x, std::span<const int> dims, bool keep_dims);
Tensor mean(const Tensor& x, std::span<const int> dims, bool keep_dims);
Tensor max(const Tensor& x, std::span<const int> dims, bool keep_dims);
Tensor min(const Tensor& x, std::span<const int> dims, bool keep_dims);

// --- shape.cpp ---
Tensor reshape(const Tensor& x, const Shape& shape);
// To [N, rest]. Images [N,H,W,C] are flattened channel first, the order PyTorch users' linear weights expect.
Tensor flatten(const Tensor& x);
Tensor concat(std::span<const Tensor> xs, int dim);
Tensor slice(const Tensor& x, int dim, int64_t begin, int64_t end);
Tensor transpose(const Tensor& x, std::span<const int> order);  // output dimension i is x's dimension order[i]
Tensor pad(const Tensor& x, int dim, int64_t before, int64_t after, float value = 0);

// --- choose.cpp ---
// begin, begin + step, .. up to end, which is excluded; negative ones count from the end, as in Python. Absent: all the
// way in the direction of the step.
Tensor slice(const Tensor& x, int dim, std::optional<int64_t> begin, std::optional<int64_t> end, int64_t step);
Tensor index_select(const Tensor& x, int dim, std::span<const int64_t> indices);  // negative ones count from the end
// What is put around: a value, the numbers mirrored at the first and the last, these two, or the numbers from the other
// side. Amounts for every dimension; negative ones are cut off.
enum class PadMode { constant, reflect, edge, wrap };
inline constexpr int64_t kMostPadding = 1 << 24;  // of modes that repeat numbers
Tensor pad(const Tensor& x, std::span<const int64_t> before, std::span<const int64_t> after, PadMode mode, float value);
Tensor expand(const Tensor& x, const Shape& shape);  // NumPy broadcasting to a shape

// --- resize.cpp: ONNX's Resize, of images [N,H,W,C] ---
enum class ResizeMode { nearest, linear, cubic };
enum class ResizeCoordinates { half_pixel, asymmetric, align_corners, pytorch_half_pixel, half_pixel_symmetric };
enum class ResizeRounding { floor, ceil, round_prefer_floor, round_prefer_ceil };
struct ResizeOptions {
  std::optional<int64_t> height, width;   // absent: the image's, times the scale, rounded down
  std::optional<float> scale_h, scale_w;  // between the coordinates; absent: the ratio of the sizes
  ResizeMode mode = ResizeMode::nearest;
  ResizeCoordinates coordinates = ResizeCoordinates::half_pixel;
  ResizeRounding rounding = ResizeRounding::round_prefer_floor;  // of nearest
  float cubic_coefficient = -0.75f;                              // of cubic
};
Tensor resize(const Tensor& x, const ResizeOptions& options);
AxisMaps resize_maps(const Shape& images, const ResizeOptions& options);  // what it computes

// --- matmul.cpp ---
// [..,M,K] x [..,K,N]; leading dimensions broadcast.
Tensor matmul(const Tensor& a, const Tensor& b);
// x [N, in] (or [.., in]) times weight [in, out], plus bias [out] unless undefined.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias);

// --- conv.cpp ---
struct Conv2dOptions {
  int64_t stride_h = 1, stride_w = 1;
  int64_t padding_h = 0, padding_w = 0;
  int64_t dilation_h = 1, dilation_w = 1;
  int64_t groups = 1;                                             // groups == in == out channels: depthwise
  std::optional<int64_t> padding_end_h = {}, padding_end_w = {};  // below and to the right; absent: as at the start
};
// x [N,H,W,in], weight [kh,kw,in/groups,out], bias [out] or undefined -> [N,OH,OW,out].
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& options);

struct ConvTranspose2dOptions : Conv2dOptions {
  int64_t output_padding_h = 0, output_padding_w = 0;  // rows and columns more at the end
};
// The transpose of a convolution, of these options, from images of `out` channels to those of `in` channels.
// x [N,H,W,in], weight [kh,kw,in/groups,out], bias [out] or undefined
// -> [N, (H - 1) stride - padding - padding_end + (kh - 1) dilation + 1 + output_padding, .., out].
Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const ConvTranspose2dOptions& options);

// --- pool.cpp ---
struct Pool2dOptions {
  int64_t kernel_h = 2, kernel_w = 2;
  int64_t stride_h = 2, stride_w = 2;
  int64_t padding_h = 0, padding_w = 0;
  std::optional<int64_t> padding_end_h = {}, padding_end_w = {};  // below and to the right; absent: as at the start
  int64_t dilation_h = 1, dilation_w = 1;                         // of maxima only
  // Whether a last window may reach beyond the padding, if it starts before the end of the image (PyTorch's ceil_mode).
  bool ceil = false;
  // Of averages: padding counts as zeros, as PyTorch's default (what lies beyond it never counts); false: an average is
  // of what lies inside the image.
  bool count_padding = true;
};
Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options);  // the gradient goes to the first maximum of a window
Tensor avg_pool2d(const Tensor& x, const Pool2dOptions& options);
AxisMaps avg_pool2d_maps(const Shape& images, const Pool2dOptions& options);  // what it computes
Tensor global_avg_pool2d(const Tensor& x);                                    // [N,H,W,C] -> [N,1,1,C]
Tensor global_max_pool2d(const Tensor& x);
// The same window for images of this shape in fewer words: `ceil` as padding at the end, and padding counted, wherever
// that makes no difference.
Pool2dOptions simplified(const Pool2dOptions& options, const Shape& images);

// --- batch_norm.cpp: x [..,C]; statistics over all dimensions but the last ---
struct BatchStatistics {
  Tensor mean, variance;  // [C]; the variance is the biased one
  int64_t count = 0;      // how many values each channel has
};
struct BatchNormResult {
  Tensor y;
  BatchStatistics statistics;
};
// y = gamma * (x - mean) / sqrt(var + eps) + beta with the batch's own statistics, differentiated through them.
// gamma and beta may be undefined (1 and 0).
BatchNormResult batch_norm_train(const Tensor& x, const Tensor& gamma, const Tensor& beta, float eps);
// The same with given statistics, which are constants.
Tensor batch_norm_eval(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                       const Tensor& variance, float eps);

// --- group_norm.cpp: (x - mean) / sqrt(variance + eps) * gamma + beta, each of which may be undefined ---
// x [N,..,C]: statistics of an example over all places and the channels of a group; gamma and beta [C].
Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& gamma, const Tensor& beta, float eps);
// Statistics over the last dimensions, which are `shape`, that of gamma and beta.
Tensor layer_norm(const Tensor& x, const Shape& shape, const Tensor& gamma, const Tensor& beta, float eps);

// --- loss.cpp ---
Tensor softmax(const Tensor& x, int dim = -1);  // over one dimension
Tensor log_softmax(const Tensor& x, int dim = -1);
// Mean over the batch of -sum_c t_c log softmax(logits)_c, logits [N, classes]; t is 1 at the label, smoothed to
// (1 - label_smoothing) + label_smoothing / classes there and label_smoothing / classes elsewhere.
Tensor softmax_cross_entropy(const Tensor& logits, std::span<const int32_t> labels, float label_smoothing = 0);

// --- embedding.cpp ---
// ids [..] holding integers 0 .. rows-1 as floats, table [rows, width] -> [.., width].
Tensor embedding(const Tensor& ids, const Tensor& table);

}  // namespace qgrad

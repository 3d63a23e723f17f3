// A quantized network as a flat program of integer operations: plain data that needs neither modules nor tensors. The
// arithmetic is ONNX's: a byte b of a grid stands for (b - origin) * step; rounding is half to even.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "core/grid.h"
#include "core/kernels/conv/conv.h"
#include "core/kernels/pool/pool.h"

namespace qgrad::deploy {

enum class Type : uint8_t { float32, byte };

// Of one image; vectors have height and width 1, tokens height 1.
struct TensorInfo {
  std::string name;  // the path of the layer that makes it; "" where it stands between layers
  Type type = Type::byte;
  int32_t height = 1, width = 1, channels = 1;
  Grid grid;  // of bytes, which are q - qmin: at most 256 integers, and one that stands for zero
  int32_t origin() const { return static_cast<int32_t>(-grid.lowest()); }  // the byte that stands for zero
  int32_t highest_byte() const { return static_cast<int32_t>(grid.qmax - grid.qmin); }
  int64_t count() const { return int64_t{height} * width * channels; }
  int64_t bytes() const { return count() * (type == Type::float32 ? 4 : 1); }
};

// How a picture of any size becomes a program's image: resized to the input's size, or as torchvision's Resize and
// CenterCrop do it.
struct Preparation {
  std::vector<int32_t> resize;  // before the crop, one number: its shorter side; two: [height, width]; none: not at all
  uint8_t center_crop = 0;      // 1: to the input's size
  uint8_t background = 255;     // the grey seen through what is transparent, where there is no channel for alpha
  bool operator==(const Preparation&) const = default;
};

enum class OpKind : uint8_t {
  quantize,        // float -> byte
  dequantize,      // byte -> float
  conv,            // byte -> byte; a fully connected layer is one of 1x1, on a vector or tokens
  add,             // real values of bytes -> byte, or floats -> float
  multiply,        // the same
  lookup,          // bytes -> byte through a table for each input; several are put together along the channels
  max_pool,        // byte -> byte of the same grid, or float -> float
  average_pool,    // float -> float, padding counting as zeros
  channels_first,  // any type: [height,width,channels] as [channels,height,width], in a row
  real_conv,       // byte -> float: conv whose sums become real values, to which the bias is added
  float_conv,      // float -> float
  clamp,           // float -> float, to real_low .. real_high
  concat,          // float, along the channels
  select,          // any type: rows, columns and channels of the input by their places, or zeros
  resample,        // byte -> byte or float -> float: weighted sums of neighbouring rows, and of columns
  layer_norm,      // byte -> byte: the channels of each position less their mean, by their deviation
  gather,          // any type: numbers of the inputs, each by its place, or constants
  matmul,          // two of bytes -> byte: [height,m,k] times [height,k,n], a product of matrices for each row
  softmax,         // byte -> byte: shares of the channels of each position in the sum of their exponentials
};

// Padding is that above and to the left; how far it goes on the other sides, the output's size says.
struct Window {
  int32_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1, padding_h = 0, padding_w = 0;
  int32_t dilation_h = 1, dilation_w = 1, groups = 1;  // of convolutions
  bool operator==(const Window&) const = default;
};

// Fields that a kind does not name above or below are left as they are, which is checked.
struct Op {
  OpKind kind{};
  std::vector<int32_t> inputs;  // tensors
  int32_t output = 0;
  Window window;                // conv, max_pool, average_pool
  std::vector<int16_t> weight;  // conv: [kernel_h,kernel_w,in/groups,out], zero points added
  // conv: sums are multiplied by 2^sum_shift, then biases [out] are added, whose steps are that much finer.
  std::vector<int32_t> bias;
  uint8_t sum_shift = 0;
  // conv: what a weight's integer, times 2^sum_shift, is a multiple of, one value or [out]. For
  // ONNX files; program files are without it.
  std::vector<float> weight_step;
  // float_conv: as weight and bias; real_conv: the bias, `bias` being zeros; layer_norm: one of each for every channel.
  std::vector<float> real_weight, real_bias;
  float real_low = 0, real_high = 0;  // clamp
  // conv: round(sum * rescale), real_conv: sum * rescale + real_bias, with one of each for every channel; resample,
  // matmul: as conv, with one in all, and resample of floats sum * rescale.
  std::vector<float> rescale;
  // Limits of the output's bytes: conv one of each for every channel; resample and matmul one, and so have quantize,
  // add, multiply, layer_norm and softmax, which give round(x / step).
  std::vector<uint8_t> low, high;
  std::vector<std::array<uint8_t, 256>> tables;  // lookup: one for each input, the output's byte for every byte
  // select: where each row, column and channel of the output stands in the input; kZeros: nowhere. resample: where the
  // first of the rows, and of the columns, stands that each one of the output adds up.
  std::vector<int32_t> rows, columns, channels;
  static constexpr int32_t kZeros = -1;
  // resample: what these are multiplied by, [rows][any number] and [columns][any number]; of bytes integers.
  std::vector<float> row_weights, column_weights;
  // layer_norm, of n integers u in steps from zero: (n u - sum u) / sqrt(n sum u^2 - (sum u)^2 + integer_epsilon),
  // integers up to the root and doubles from there, which is rounded to float, times real_weight, plus real_bias.
  float epsilon = 0;
  // gather: of each number of the output, its place among the numbers of all inputs, which follow each other; -1 - i:
  // it is constant i. Constants of bytes are bytes.
  std::vector<int32_t> places;
  std::vector<float> constants;
  // softmax, of n bytes b, the largest of them m: exponentials[m - b], an integer, by the sum of all n, in doubles,
  // which is rounded to float. One for every byte of the input.
  std::vector<int32_t> exponentials;
};

struct Program {
  std::vector<TensorInfo> tensors;
  std::vector<Op> ops;            // in order; every tensor but the input is made by one of them
  int32_t input = 0, output = 0;  // both float32
  // Of programs that classify images: how the bytes of an image become its input, (byte / 255 - mean) / deviation with
  // one of each for every channel, and what the outputs are called. Empty where nobody said.
  std::vector<float> mean, deviation;
  std::vector<std::string> class_names;
  Preparation preparation;
};

inline constexpr int kMostSumShift = 16;

// What one program may ask for, whatever it says. Work: products of a convolution, numbers that a window or another
// operation looks at, each for at least 16 output channels.
inline constexpr size_t kMostTensors = 1 << 13;
inline constexpr int64_t kLargestTensor = int64_t{1} << 26;    // numbers, with the padding of a window
inline constexpr int64_t kMostTensorBytes = int64_t{1} << 29;  // of all tensors
inline constexpr int64_t kMostWork = int64_t{1} << 37;         // for one image

// Whether an operation adds up floats, which another runtime may do in another order.
bool sums_floats(const Program& program, const Op& op);

// Operations that do, by name, whose numbers become integers further on: integers of numbers that lie at a tie then
// differ between runtimes and instruction sets, and what follows.
std::vector<std::string> float_sums_before_integers(const Program& program);

// Convolutions, by name, of which two products of a signed weight and an unsigned byte can pass 16 bits. On processors
// with AVX2 but without VNNI other runtimes add such pairs in 16 bits, and saturate; which two they take is theirs to
// choose, so all of one output channel and group count. Weights that do not fit a signed byte are not added so.
std::vector<std::string> pairs_beyond_16_bits(const Program& program);

// Throws Error where an engine could not run the program: names what is wrong, and in which operation.
void validate(const Program& program);

// Of a window, below and to the right of the image: as much as above and to the left where that gives the output's
// size, else what the last window needs.
struct EndPadding {
  int64_t below = 0, right = 0;
};
EndPadding end_padding(const Program& program, const Op& op);

ConvGeometry conv_geometry(const Program& program, const Op& op);
PoolGeometry pool_geometry(const Program& program, const Op& op);
// What is added to a variance of real values, for integers whose variance is n^2 times that of their numbers.
double integer_epsilon(float epsilon, const TensorInfo& input);
// The largest magnitude that any sum of a convolution or of a product of matrices can reach, whatever its inputs.
int64_t largest_sum(const Program& program, const Op& op);

}  // namespace qgrad::deploy

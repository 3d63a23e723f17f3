// One list of fields that both the writer and the reader walk through.
#include "engine/program_file.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <type_traits>

#include "core/file_kind.h"
#include "core/narrow.h"

namespace qgrad::deploy {
namespace {

static_assert(std::endian::native == std::endian::little, "program files are written as they lie in memory");

constexpr std::string_view kMagic = "QGRADINT";

template <class T>
constexpr bool kIsNumber = std::is_arithmetic_v<T> || std::is_enum_v<T>;

class Writer {
 public:
  template <class T>
  void operator()(const T& value) {
    if constexpr (kIsNumber<T>)
      bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    else
      fields(*this, const_cast<T&>(value));
  }
  template <class T>
  void operator()(const std::vector<T>& values) {
    (*this)(narrow<uint32_t>(values.size(), "list's length"));
    for (const T& value : values) (*this)(value);
  }
  void operator()(const std::string& text) {
    (*this)(narrow<uint32_t>(text.size(), "text's length"));
    bytes += text;
  }
  void operator()(const std::array<uint8_t, 256>& table) {
    bytes.append(reinterpret_cast<const char*>(table.data()), table.size());
  }
  std::string bytes;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : left_(bytes) {}
  template <class T>
  void operator()(T& value) {
    if constexpr (kIsNumber<T>)
      std::memcpy(&value, take(sizeof value), sizeof value);
    else
      fields(*this, value);
  }
  // Numbers at once; others one by one, so that a lie about their number ends with the file.
  template <class T>
  void operator()(std::vector<T>& values) {
    const size_t size = length();
    if constexpr (kIsNumber<T>) {
      check(size <= left_.size() / sizeof(T), "a list of {} numbers in {} bytes", size, left_.size());
      values.resize(size);
      if (size > 0) std::memcpy(values.data(), take(size * sizeof(T)), size * sizeof(T));
    } else {
      for (size_t i = 0; i < size; ++i) (*this)(values.emplace_back());
    }
  }
  void operator()(std::string& text) {
    const size_t size = length();
    text.assign(take(size), size);
  }
  void operator()(std::array<uint8_t, 256>& table) { std::memcpy(table.data(), take(table.size()), table.size()); }
  bool at_end() const { return left_.empty(); }

 private:
  const char* take(size_t size) {
    check(size <= left_.size(), "it ends too early");
    const char* taken = left_.data();
    left_.remove_prefix(size);
    return taken;
  }
  // Of a list, whose elements take a byte at least.
  size_t length() {
    uint32_t size = 0;
    (*this)(size);
    check(size <= left_.size(), "a list of {} elements in {} bytes", size, left_.size());
    return size;
  }
  std::string_view left_;
};

// Weights less the smallest one of their channel, divided by 2^shift (DoReFa's are all odd), `bits` each, lowest bit
// first.
struct PackedWeights {
  uint8_t bits = 0, shift = 0;
  uint32_t count = 0;
  std::vector<int16_t> smallest;  // [channels]
  std::vector<uint8_t> packed;
};
template <class V>
void fields(V& v, PackedWeights& w) {
  v(w.bits), v(w.shift), v(w.count), v(w.smallest), v(w.packed);
}

PackedWeights pack(const std::vector<int16_t>& weight, size_t channels) {
  PackedWeights w{.count = narrow<uint32_t>(weight.size(), "number of weights")};
  if (weight.empty()) return w;
  w.smallest.assign(weight.begin(), weight.begin() + static_cast<int64_t>(channels));
  for (size_t i = 0; i < weight.size(); ++i) w.smallest[i % channels] = std::min(w.smallest[i % channels], weight[i]);
  unsigned used = 0;  // bits that are set in any of the differences
  for (size_t i = 0; i < weight.size(); ++i) used |= static_cast<unsigned>(weight[i] - w.smallest[i % channels]);
  w.shift = static_cast<uint8_t>(used == 0 ? 0 : std::countr_zero(used));
  w.bits = static_cast<uint8_t>(std::max(1, static_cast<int>(std::bit_width(used >> w.shift))));
  w.packed.resize((weight.size() * w.bits + 7) / 8);
  for (size_t i = 0; i < weight.size(); ++i) {
    const unsigned value = static_cast<unsigned>(weight[i] - w.smallest[i % channels]) >> w.shift;
    for (size_t bit = 0; bit < w.bits; ++bit) {
      const size_t at = i * w.bits + bit;
      w.packed[at / 8] = static_cast<uint8_t>(w.packed[at / 8] | ((value >> bit & 1u) << at % 8));
    }
  }
  return w;
}

std::vector<int16_t> unpack(const PackedWeights& w, size_t channels) {
  if (w.count == 0) return {};
  // Without bits there would be no bytes that bound the count.
  check(w.bits >= 1 && w.bits + w.shift <= 9, "weights of {} bits, shifted by {}", w.bits, w.shift);
  check(w.smallest.size() == channels && channels > 0 && w.packed.size() == (uint64_t{w.count} * w.bits + 7) / 8,
        "{} weights of {} bits do not fit {} bytes and {} channels", w.count, w.bits, w.packed.size(), channels);
  std::vector<int16_t> weight(w.count);
  const unsigned mask = (1u << w.bits) - 1;
  for (size_t i = 0, channel = 0; i < weight.size(); ++i, ++channel) {
    if (channel == channels) channel = 0;
    const size_t at = i * w.bits, byte = at / 8;
    const unsigned next = byte + 1 < w.packed.size() ? w.packed[byte + 1] : 0;
    const int value = static_cast<int>((w.packed[byte] | next << 8) >> at % 8 & mask) << w.shift;
    const int smallest = w.smallest[channel];
    check(smallest >= -255 && smallest + value <= 255, "a weight is beyond 255");
    weight[i] = static_cast<int16_t>(smallest + value);
  }
  return weight;
}

template <class V>
void fields(V& v, Preparation& p) {
  v(p.resize), v(p.center_crop), v(p.background);
}
// A preparation that is not the usual one follows all else.
bool has_preparation(const Writer&, const Program& program) { return program.preparation != Preparation{}; }
bool has_preparation(const Reader& reader, const Program&) { return !reader.at_end(); }
template <class V>
void fields(V& v, Grid& g) {
  v(g.scale);
  for (float* whole : {&g.zero_point, &g.qmin, &g.qmax}) {
    auto integer = narrow<int32_t>(*whole, "integer of a grid");
    v(integer);
    if constexpr (std::is_same_v<V, Reader>) *whole = static_cast<float>(integer);
  }
}
template <class V>
void fields(V& v, TensorInfo& t) {
  v(t.name), v(t.type), v(t.height), v(t.width), v(t.channels), v(t.grid);
}
template <class V>
void fields(V& v, Window& w) {
  v(w.kernel_h), v(w.kernel_w), v(w.stride_h), v(w.stride_w), v(w.padding_h), v(w.padding_w);
  v(w.dilation_h), v(w.dilation_w), v(w.groups);
}
template <class V>
void fields(V& v, Op& op) {
  v(op.kind), v(op.inputs), v(op.output), v(op.window), v(op.bias), v(op.sum_shift);
  PackedWeights weight;
  if constexpr (std::is_same_v<V, Writer>) weight = pack(op.weight, op.bias.size());
  v(weight);
  if constexpr (std::is_same_v<V, Reader>) op.weight = unpack(weight, op.bias.size());
  v(op.rescale), v(op.low), v(op.high), v(op.tables);
  v(op.real_weight), v(op.real_bias), v(op.real_low), v(op.real_high);
  if (op.kind == OpKind::select) v(op.rows), v(op.columns), v(op.channels);
  if (op.kind == OpKind::resample) v(op.rows), v(op.columns), v(op.row_weights), v(op.column_weights);
  if (op.kind == OpKind::layer_norm) v(op.epsilon);
  if (op.kind == OpKind::gather) v(op.places), v(op.constants);
  if (op.kind == OpKind::softmax) v(op.exponentials);
}
template <class V>
void fields(V& v, Program& p) {
  v(p.tensors), v(p.ops), v(p.input), v(p.output), v(p.mean), v(p.deviation), v(p.class_names);
  if (has_preparation(v, p)) v(p.preparation);
}

uint64_t checksum(std::string_view bytes) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : bytes) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

}  // namespace

std::string program_bytes(const Program& program) {
  validate(program);
  Writer body, head;
  body(program);
  head(kProgramVersion), head(checksum(body.bytes));
  return std::string(kMagic) + head.bytes + body.bytes;
}

Program program_from_bytes(std::string_view bytes, std::string_view file) {
  const std::string kind = file_kind(bytes);
  check(bytes.starts_with(kMagic), "{}: is no integer program{}{}; `qgrad export` makes one of a quantized checkpoint",
        file, kind.empty() ? "" : ", but ", kind);
  try {
    Reader head(bytes.substr(kMagic.size()));
    uint32_t version = 0;
    uint64_t sum = 0;
    head(version);
    check(version == kProgramVersion, "it has version {}, this program reads version {}", version, kProgramVersion);
    head(sum);
    const std::string_view body = bytes.substr(kMagic.size() + sizeof version + sizeof sum);
    check(checksum(body) == sum, "it is damaged: its checksum is another one");
    Program program;
    Reader reader(body);
    reader(program);
    check(reader.at_end(), "something follows the program");
    validate(program);
    return program;
  } catch (const Error& e) {
    fail("{}: {}", file, e.what());
  }
}

bool is_program_file(const std::filesystem::path& file) {
  std::string start(kMagic.size(), '\0');
  return std::ifstream(file, std::ios::binary).read(start.data(), std::ssize(start)) && start == kMagic;
}

Program read_program(const std::filesystem::path& file) {
  std::error_code ignored;
  check(!std::filesystem::exists(file, ignored) || std::filesystem::is_regular_file(file, ignored),
        "{}: is no regular file, expected an integer program", file.string());
  std::ifstream stream(file, std::ios::binary);
  check(stream.is_open(), "{}: cannot open: {}", file.string(), std::strerror(errno));
  const uintmax_t size = std::filesystem::file_size(file);
  check(size <= kMostProgramBytes, "{}: {} bytes, at most {} are allowed", file.string(), size, kMostProgramBytes);
  std::string bytes(size, '\0');
  check(stream.read(bytes.data(), std::ssize(bytes)) && stream.peek() == std::char_traits<char>::eof(),
        "{}: changed while it was read", file.string());
  return program_from_bytes(bytes, file.string());
}

}  // namespace qgrad::deploy

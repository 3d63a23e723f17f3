// Reading and writing safetensors files.
#include "nn/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "core/checksum.h"
#include "core/error.h"
#include "core/file.h"
#include "core/file_kind.h"
#include "core/json.h"

namespace qgrad {
namespace {

static_assert(std::endian::native == std::endian::little, "the file's numbers are copied as they are");

constexpr const char* kMetadata = "__metadata__";
constexpr const char* kChecksums = "qgrad_crc32c";
constexpr size_t kLengthBytes = 8;

struct Entry {
  std::string name;
  std::string dtype;
  Shape shape;
  uint64_t begin = 0, end = 0;  // bytes, from the end of the header
};

bool is_batch_counter(const std::string& name) { return name.ends_with("num_batches_tracked"); }

uint64_t bytes_per_element(const std::string& where, const Entry& entry) {
  if (entry.dtype == "F32") return 4;
  check(entry.dtype == "I64" && is_batch_counter(entry.name), "{}: dtype {}, only F32 is read", where, entry.dtype);
  return 8;
}

Entry parse_entry(const std::string& where, const std::string& name, const Json& json, uint64_t data_bytes) {
  check(json.is_object() && json.size() == 3 && json.contains("dtype") && json.contains("shape") &&
            json.contains("data_offsets"),
        "{}: expected dtype, shape and data_offsets, got {:.80}", where, json.dump());
  Entry entry;
  entry.name = name;
  check(json["dtype"].is_string(), "{}: dtype is no string", where);
  entry.dtype = json["dtype"].get<std::string>();

  const Json &shape = json["shape"], &offsets = json["data_offsets"];
  check(shape.is_array() && std::ranges::all_of(shape, [](const Json& d) { return d.is_number_unsigned(); }),
        "{}: shape {:.80} is no list of sizes", where, shape.dump());
  check(shape.size() <= Shape::kMaxRank, "{}: {} dimensions, at most {} are supported", where, shape.size(),
        +Shape::kMaxRank);
  check(offsets.is_array() && offsets.size() == 2 && offsets[0].is_number_unsigned() && offsets[1].is_number_unsigned(),
        "{}: data_offsets {:.80} are no two numbers", where, offsets.dump());
  entry.begin = offsets[0].get<uint64_t>();
  entry.end = offsets[1].get<uint64_t>();
  check(entry.begin <= entry.end && entry.end <= data_bytes, "{}: data_offsets [{}, {}] do not lie in {} bytes of data",
        where, entry.begin, entry.end, data_bytes);

  // Sizes are multiplied only while the product is known to fit the file, so nothing overflows.
  const uint64_t room = (entry.end - entry.begin) / bytes_per_element(where, entry);
  uint64_t numel = 1;
  std::vector<int64_t> dims;
  for (const Json& dim : shape) {
    const auto size = dim.get<uint64_t>();
    check(size > 0, "{}: shape {} has no elements", where, shape.dump());
    check(size <= room / numel, "{}: shape {} does not fit its {} bytes", where, shape.dump(), entry.end - entry.begin);
    numel *= size;
    dims.push_back(static_cast<int64_t>(size));
  }
  check(numel * bytes_per_element(where, entry) == entry.end - entry.begin, "{}: shape {} does not fit its {} bytes",
        where, shape.dump(), entry.end - entry.begin);
  entry.shape = Shape(std::span<const int64_t>(dims));
  return entry;
}

// Tensors must follow one another without gap or overlap, from the first byte to the last.
void check_layout(const std::string& file, std::vector<Entry>& entries, uint64_t data_bytes) {
  std::ranges::stable_sort(entries, {}, [](const Entry& e) { return std::pair(e.begin, e.end); });
  uint64_t at = 0;
  for (const Entry& entry : entries) {
    check(entry.begin == at, "{}: {}: data begins at byte {}, the tensor before it ends at {}", file, entry.name,
          entry.begin, at);
    at = entry.end;
  }
  check(at == data_bytes, "{}: the tensors end at byte {} of {} bytes of data", file, at, data_bytes);
}

std::map<std::string, std::string> parse_metadata(const std::string& file, const Json& json) {
  check(json.is_object(), "{}: {} is no object", file, kMetadata);
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : json.items()) {
    check(value.is_string(), "{}: {}.{} is no string", file, kMetadata, key);
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

using Checksums = std::map<std::string, uint32_t>;

// Of the numbers of each tensor, and of the metadata under the name that they have in the header.
Checksums checksums_of(const TensorFile& content) {
  Checksums sums;
  for (const auto& [name, tensor] : content.tensors) {
    const auto bytes = std::as_bytes(tensor.data());
    sums[name] = crc32c({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  for (const auto& [key, value] : content.metadata)
    if (key != kChecksums) sums[kMetadata] = crc32c(value, crc32c(key, sums[kMetadata]));
  return sums;
}

// Throws where the content is not what its checksums were made of; a file of others has none.
void check_checksums(const std::string& file, const TensorFile& content) {
  const auto written = content.metadata.find(kChecksums);
  if (written == content.metadata.end()) return;
  const std::string place = fmt::format("{} (metadata '{}')", file, kChecksums);
  const Json expected = parse_json(written->second, place);
  check(expected.is_object(), "{}: expected an object, got {:.80}", place, written->second);
  Checksums sums = checksums_of(content);
  for (const auto& [name, sum] : expected.items()) {
    check(sums.contains(name), "{}: {}: has a checksum, and is not there: the file is damaged", file, name);
    const std::string computed = fmt::format("{:08x}", sums.at(name));
    check(sum == computed,
          "{}: {}: the file is damaged, or another program changed it and kept the metadata '{}': the checksum is {}, "
          "expected {:.80}",
          file, name, kChecksums, computed, sum.dump());
    sums.erase(name);
  }
  check(sums.empty(), "{}: {}: has no checksum, others have: the file is damaged", file,
        sums.empty() ? "" : sums.begin()->first);
}

}  // namespace

TensorFile read_safetensors(const std::filesystem::path& path) {
  const std::string bytes = read_file(path, "a safetensors file"), file = path.string();
  const std::string kind = file_kind_to_convert(bytes, file);
  check(kind.empty() || kind == "a safetensors file", "{}: expected a safetensors file, got {}", file, kind);
  check(bytes.size() >= kLengthBytes, "{}: {} bytes are too few for a safetensors file", file, bytes.size());
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), kLengthBytes);
  check(header_bytes <= bytes.size() - kLengthBytes,
        "{}: no safetensors file, or a part of one: a header of {} bytes is announced, the file has {}", file,
        header_bytes, bytes.size());
  const Json header = parse_json(std::string_view(bytes).substr(kLengthBytes, header_bytes), file + " (header)");
  check(header.is_object(), "{}: the header is no JSON object", file);
  const std::string_view data = std::string_view(bytes).substr(kLengthBytes + header_bytes);

  TensorFile content;
  std::vector<Entry> entries;
  for (const auto& [name, json] : header.items()) {
    if (name == kMetadata)
      content.metadata = parse_metadata(file, json);
    else
      entries.push_back(parse_entry(file + ": " + name, name, json, data.size()));
  }
  check_layout(file, entries, data.size());
  for (const Entry& entry : entries) {
    if (entry.dtype != "F32") continue;  // PyTorch's batch counters
    Tensor tensor = Tensor::empty(entry.shape);
    std::memcpy(tensor.mutable_data().data(), data.data() + entry.begin, entry.end - entry.begin);
    content.tensors.emplace_back(entry.name, std::move(tensor));
  }
  check_checksums(file, content);
  content.metadata.erase(kChecksums);
  return content;
}

void write_safetensors(const std::filesystem::path& file, const TensorFile& content) {
  Json header = Json::object();
  header[kMetadata] = content.metadata;
  uint64_t at = 0;
  std::set<std::string> names{kMetadata};
  for (const auto& [name, tensor] : content.tensors) {
    check(names.insert(name).second, "{}: two tensors are named {}", file.string(), name);
    const uint64_t end = at + static_cast<uint64_t>(tensor.numel()) * sizeof(float);
    header[name] = {{"dtype", "F32"},
                    {"shape", std::vector<int64_t>(tensor.shape().dims().begin(), tensor.shape().dims().end())},
                    {"data_offsets", {at, end}}};
    at = end;
  }
  Json sums = Json::object();
  for (const auto& [name, sum] : checksums_of(content)) sums[name] = fmt::format("{:08x}", sum);
  header[kMetadata][kChecksums] = sums.dump();
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the numbers are aligned
  const uint64_t header_bytes = text.size();

  std::string bytes(kLengthBytes, '\0');
  bytes.reserve(kLengthBytes + text.size() + at);
  std::memcpy(bytes.data(), &header_bytes, kLengthBytes);
  bytes += text;
  for (const auto& [name, tensor] : content.tensors)
    bytes.append(reinterpret_cast<const char*>(tensor.data().data()), tensor.data().size_bytes());
  write_file_atomically(file, bytes);
}

}  // namespace qgrad

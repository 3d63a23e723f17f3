// Records, and the messages in them.
#include "tasks/event_file.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "core/checksum.h"
#include "core/error.h"
#include "quant/ranges/histogram.h"

namespace qgrad {
namespace {

constexpr size_t kMostBuckets = 64;      // of a histogram
constexpr size_t kHead = 12, kTail = 4;  // bytes of a record before its message and behind it

// A checksum of bytes that hold checksums would be none; so it is turned, and a constant is added.
uint32_t masked_checksum(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xa282ead8u; }

std::string_view bytes_of(const auto& number) { return {reinterpret_cast<const char*>(&number), sizeof number}; }

template <class T>
T number_at(std::string_view bytes, size_t at) {
  T number;
  std::memcpy(&number, bytes.data() + at, sizeof number);
  return number;
}

// Up to one that is cut off. Throws where a checksum is another one.
std::string_view whole_records(std::string_view bytes, const std::filesystem::path& file) {
  size_t end = 0;
  const auto check_sum = [&](std::string_view part, size_t at) {
    check(
        number_at<uint32_t>(bytes, at) == masked_checksum(part),
        "{}: the record at byte {} is damaged: its checksum is not that of its content; without the file the training "
        "goes on and begins a new one",
        file.string(), end);
  };
  while (bytes.size() - end >= kHead + kTail) {
    const auto length = number_at<uint64_t>(bytes, end);
    check_sum(bytes.substr(end, sizeof length), end + sizeof length);
    if (length > bytes.size() - end - kHead - kTail) break;
    check_sum(bytes.substr(end + kHead, length), end + kHead + length);
    end += kHead + length + kTail;
  }
  return bytes.substr(0, end);
}

Histogram in_few_buckets(std::span<const float> numbers) {
  Histogram histogram = Histogram::of(numbers);
  while (histogram.counts.size() > kMostBuckets) histogram = histogram.coarser();
  return histogram;
}

ProtobufMessage histogram_message(std::span<const float> numbers) {
  const Histogram histogram = in_few_buckets(numbers);
  const auto [smallest, largest] = std::ranges::minmax(numbers);
  std::vector<double> limits, counts(histogram.counts.begin(), histogram.counts.end());
  for (size_t i = 0; i < counts.size(); ++i) limits.push_back(histogram.edge(i + 1));
  double sum = 0, squares = 0;
  for (const double x : numbers) sum += x, squares += x * x;
  return ProtobufMessage()
      .real64(1, smallest)
      .real64(2, largest)
      .real64(3, static_cast<double>(numbers.size()))
      .real64(4, sum)
      .real64(5, squares)
      .reals64(6, limits)
      .reals64(7, counts);
}

ProtobufMessage value_of(std::string_view tag) { return ProtobufMessage().text(1, tag); }

}  // namespace

void Summary::add(std::string_view tag, double number) {
  message_.message(1, value_of(tag).real32(2, static_cast<float>(number)));
}

void Summary::add(std::string_view tag, std::span<const float> numbers) {
  std::vector<float> finite;
  std::ranges::copy_if(numbers, std::back_inserter(finite), [](float x) { return std::isfinite(x); });
  if (!finite.empty()) message_.message(1, value_of(tag).message(5, histogram_message(finite)));
}

EventFile::EventFile(const std::filesystem::path& file, int64_t size)
    : file_(file, [&](std::string_view content) {
        return whole_records(content.substr(0, static_cast<size_t>(size)), file);
      }) {
  if (file_.size() == 0) add_record(ProtobufMessage().text(3, "brain.Event:2"));
}

void EventFile::add(int64_t step, const Summary& summary) {
  if (!summary.empty()) add_record(ProtobufMessage().number(2, step).message(5, summary.message()));
}

void EventFile::restart(int64_t step) {
  constexpr int kStart = 1;  // a SessionLog's status
  add_record(ProtobufMessage().number(2, step).message(7, ProtobufMessage().number(1, kStart)));
}

void EventFile::add_record(const ProtobufMessage& event) {
  const uint64_t length = event.bytes.size();
  std::string record;
  for (const std::string_view part : {bytes_of(length), std::string_view(event.bytes)}) {
    const uint32_t checksum = masked_checksum(part);
    record.append(part).append(bytes_of(checksum));
  }
  file_.add(record);
}

}  // namespace qgrad

// TensorBoard's event files: numbers and histograms under tags, by step. The formats are those of TensorFlow's records
// (lib/io/record_writer.h) and of its messages Event, Summary and HistogramProto (event.proto, summary.proto).
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "core/file.h"
#include "core/protobuf.h"

namespace qgrad {

// What is known at one step.
class Summary {
 public:
  void add(std::string_view tag, double number);
  // As a histogram, of those that are finite.
  void add(std::string_view tag, std::span<const float> numbers);

  bool empty() const { return message_.bytes.empty(); }
  const ProtobufMessage& message() const { return message_; }

 private:
  ProtobufMessage message_;
};

// Events bear no time, so that the same training writes the same bytes.
class EventFile {
 public:
  // Keeps the first `size` bytes of what is there, as far as they are whole records. Throws where one is damaged.
  EventFile(const std::filesystem::path& file, int64_t size);

  void add(int64_t step, const Summary& summary);  // nothing where it is empty
  // From here on this step and those after it are other ones: what is there of them counts no more.
  void restart(int64_t step);
  void flush() { file_.flush(); }  // to disk
  int64_t size() const { return file_.size(); }

 private:
  void add_record(const ProtobufMessage& event);

  GrowingFile file_;
};

}  // namespace qgrad

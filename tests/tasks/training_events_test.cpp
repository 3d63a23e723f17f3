// Event files, by a reader of their own.
#include "tasks/training_events.h"

#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "core/checksum.h"
#include "nn/models/architecture.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/temporary_folder.h"
#include "tasks/model_file.h"
#include "tasks/small_training.h"

using namespace qgrad;

namespace {

template <class T>
T take(std::string_view& bytes) {
  T value;
  REQUIRE(bytes.size() >= sizeof value);
  std::memcpy(&value, bytes.data(), sizeof value);
  bytes.remove_prefix(sizeof value);
  return value;
}

std::string_view take(std::string_view& bytes, size_t count) {
  REQUIRE(bytes.size() >= count);
  const std::string_view taken = bytes.substr(0, count);
  bytes.remove_prefix(count);
  return taken;
}

uint64_t take_varint(std::string_view& bytes) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = take<uint8_t>(bytes);
    value |= uint64_t{byte & 127u} << shift;
    if (byte < 128) return value;
  }
}

// By their numbers; what has a fixed size or a length is in `bytes`.
struct Field {
  uint64_t number;
  std::string_view bytes;
};
using Message = std::multimap<int, Field>;

Message message_of(std::string_view bytes) {
  Message fields;
  while (!bytes.empty()) {
    const uint64_t key = take_varint(bytes);
    Field field{};
    if (const uint64_t type = key & 7; type == 0)
      field.number = take_varint(bytes);
    else
      field.bytes = take(bytes, type == 2 ? take_varint(bytes) : type == 1 ? 8 : 4);
    fields.emplace(static_cast<int>(key >> 3), field);
  }
  return fields;
}

std::string_view bytes_of_field(const Message& message, int number) {
  const auto found = message.find(number);
  REQUIRE(found != message.end());
  return found->second.bytes;
}

template <class T>
std::vector<T> numbers_of(const Message& message, int number) {
  std::string_view bytes = bytes_of_field(message, number);
  std::vector<T> numbers;
  while (!bytes.empty()) numbers.push_back(take<T>(bytes));
  return numbers;
}

struct ReadHistogram {
  double min, max, count, sum, squares;
  std::vector<double> limits, counts;
};

struct Event {
  uint64_t step = 0;
  bool is_restart = false;
  std::string version;
  std::map<std::string, float> numbers;
  std::map<std::string, ReadHistogram> histograms;
};

void read_value_of_summary(const Message& value, Event& event) {
  const std::string tag(bytes_of_field(value, 1));
  if (value.contains(2)) {
    event.numbers[tag] = numbers_of<float>(value, 2)[0];
    return;
  }
  const Message h = message_of(bytes_of_field(value, 5));
  const auto real = [&](int number) { return numbers_of<double>(h, number)[0]; };
  event.histograms[tag] = {
      real(1), real(2), real(3), real(4), real(5), numbers_of<double>(h, 6), numbers_of<double>(h, 7)};
}

Event event_of(std::string_view bytes) {
  const Message fields = message_of(bytes);
  Event event;
  CHECK_FALSE(fields.contains(1));  // no time
  if (fields.contains(2)) event.step = fields.find(2)->second.number;
  if (fields.contains(3)) event.version = bytes_of_field(fields, 3);
  if (fields.contains(7)) event.is_restart = message_of(bytes_of_field(fields, 7)).find(1)->second.number == 1;
  if (!fields.contains(5)) return event;
  const Message summary = message_of(bytes_of_field(fields, 5));
  for (const auto& [number, value] : summary) read_value_of_summary(message_of(value.bytes), event);
  return event;
}

void check_sum(uint32_t masked, std::string_view of) {
  const uint32_t turned = masked - 0xa282ead8u;
  CHECK((turned >> 17 | turned << 15) == crc32c(of));
}

std::vector<Event> events_of(const std::string& file) {
  std::string_view bytes = file;
  std::vector<Event> events;
  while (!bytes.empty()) {
    const std::string_view head = bytes.substr(0, 8);
    const auto length = take<uint64_t>(bytes);
    check_sum(take<uint32_t>(bytes), head);
    const std::string_view message = take(bytes, length);
    check_sum(take<uint32_t>(bytes), message);
    events.push_back(event_of(message));
  }
  return events;
}

std::vector<Json> lines_of(const std::string& log) {
  std::vector<Json> lines;
  std::istringstream text(log);
  for (std::string line; std::getline(text, line);) lines.push_back(Json::parse(line));
  return lines;
}

}  // namespace

TEST_CASE("a histogram of an event file holds every finite number once") {
  const test::TemporaryFolder folder;
  std::vector<float> numbers{-0.75f, 0, 0, 0.5f, 3, INFINITY, NAN};
  for (int i = 0; i < 1000; ++i) numbers.push_back(std::sin(static_cast<float>(i)));
  Summary summary;
  summary.add("x", numbers);
  summary.add("y", 0.25);
  summary.add("none", std::vector<float>{NAN});
  const auto file = folder.path() / "events";
  EventFile(file, 0).add(7, summary);
  const std::vector<Event> events = events_of(test::bytes_of(file));
  REQUIRE(events.size() == 2);
  CHECK(events[0].version == "brain.Event:2");
  CHECK(events[1].step == 7);
  CHECK(events[1].numbers == std::map<std::string, float>{{"y", 0.25f}});
  REQUIRE(events[1].histograms.size() == 1);
  const ReadHistogram& h = events[1].histograms.at("x");
  CHECK(h.count == 1005);
  CHECK(h.min == *std::ranges::min_element(numbers.begin() + 7, numbers.end()));
  CHECK(h.max == 3);
  double sum = 0, squares = 0;
  std::vector<double> counts(h.counts.size());
  for (const float x : numbers) {
    if (!std::isfinite(x)) continue;
    sum += x, squares += double{x} * x;
    ++counts[static_cast<size_t>(std::ranges::upper_bound(h.limits, double{x}) - h.limits.begin())];
  }
  CHECK(h.sum == Approx(sum));
  CHECK(h.squares == Approx(squares));
  CHECK(h.counts == counts);
  CHECK(h.counts.size() > 16);
  CHECK(h.counts.size() <= 64);
}

TEST_CASE("an event file goes on behind the records that it keeps, and drops one that was cut off") {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "events";
  const auto add = [](EventFile& events, int64_t step) {
    Summary summary;
    summary.add("step", static_cast<double>(step));
    events.add(step, summary);
    return events.size();
  };
  int64_t two = 0;
  {
    EventFile events(file, 0);
    add(events, 1);
    two = add(events, 2);
    add(events, 3);
  }
  const std::string whole = test::bytes_of(file);
  const auto steps = [&] {
    std::vector<uint64_t> all;
    for (const Event& event : events_of(test::bytes_of(file))) all.push_back(event.step);
    return all;
  };
  for (const int64_t kept : {two, two + 5, std::ssize(whole) - 1}) {
    write_file_atomically(file, whole);
    EventFile events(file, kept);
    CHECK(events.size() == two);
    add(events, 9);
    CHECK(steps() == std::vector<uint64_t>{0, 1, 2, 9});
  }
  EventFile(file, 0);
  CHECK(steps() == std::vector<uint64_t>{0});
}

TEST_CASE("an event file with a damaged record is named, and stays as it is") {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "events";
  Summary summary;
  summary.add("x", 1);
  EventFile(file, 0).add(1, summary);
  const std::string whole = test::bytes_of(file);
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    write_file_atomically(file, damaged);
    const std::string error = test::error_of([&] { EventFile(file, std::ssize(whole)); });
    CAPTURE(at);
    CHECK_THAT(error, Contains(file.string() + ": the record at byte"));
    CHECK(test::bytes_of(file) == damaged);
  }
}

TEST_CASE("a training's events are those of its log, and what its quantizers learn") {
  const test::TemporaryFolder folder;
  const auto task = open_task(test::small_experiment(), std::nullopt);
  test::train_small(folder.path(), test::small_training(2), *task);
  const std::vector<Json> lines = lines_of(test::bytes_of(folder.path() / "log.jsonl"));
  const std::vector<Event> events = events_of(test::bytes_of(folder.path() / "events.out.tfevents.qgrad"));
  // The version; in every epoch a line of steps, one of the epoch, and histograms.
  REQUIRE(events.size() == 1 + 2 * 3);
  for (size_t epoch = 0; epoch < 2; ++epoch) {
    const Event &step = events[1 + 3 * epoch], &whole = events[2 + 3 * epoch], &histograms = events[3 + 3 * epoch];
    CHECK(step.step == 4 * epoch + 3);
    CHECK(whole.step == 4 * epoch + 4);
    CHECK(histograms.step == whole.step);
    CHECK(step.numbers.at("steps/loss") == lines[2 * epoch].at("loss").get<float>());
    CHECK(step.numbers.at("steps/lr") == lines[2 * epoch].at("lr").get<float>());
    const Json& line = lines[2 * epoch + 1];
    CHECK(whole.numbers.at("epochs/loss") == line.at("loss").get<float>());
    CHECK(whole.numbers.at("validation/top1") == line.at("validation").at("top1").get<float>());
    CHECK_FALSE(whole.numbers.contains("epochs/epoch"));
  }
  const ModelFile model = load_model(folder.path() / "last.safetensors", std::nullopt);
  const Event &last = events[5], &histograms = events[6];
  int weights = 0;
  for (const Parameter* p : all_parameters(*model.model)) {
    INFO(p->path());
    if (p->raw().numel() == 1 && last.numbers.contains("quantization/" + p->path())) {
      CHECK(last.numbers.at("quantization/" + p->path()) == p->raw().item());
      continue;
    }
    const ReadHistogram& h = histograms.histograms.at("weights/" + p->path());
    CHECK(h.count == static_cast<double>(p->raw().numel()));
    CHECK(h.max == *std::ranges::max_element(p->raw().data()));
    ++weights;
  }
  CHECK(weights > 5);
  CHECK(last.numbers.at("quantization/relu1.bits") == 4);
  const ReadHistogram& relu = histograms.histograms.at("activations/relu1");
  CHECK(relu.count == 16 * 8 * 8 * 4);                                              // of sixteen images
  CHECK(std::ranges::count_if(relu.counts, [](double n) { return n > 0; }) <= 16);  // levels of four bits
}

TEST_CASE("what a training writes for TensorBoard changes nothing else") {
  const test::TemporaryFolder folder;
  const auto task = open_task(test::small_experiment(), std::nullopt);
  TrainConfig config = test::small_training(2);
  test::train_small(folder.path() / "with", config, *task);
  config.tensorboard = false;
  test::train_small(folder.path() / "without", config, *task);
  CHECK_FALSE(std::filesystem::exists(folder.path() / "without" / "events.out.tfevents.qgrad"));
  for (const char* name : {"model.safetensors", "best.safetensors", "last.safetensors", "log.jsonl"}) {
    INFO(name);
    CHECK(test::bytes_of(folder.path() / "with" / name) == test::bytes_of(folder.path() / "without" / name));
  }
}

// The loader's window of batches: workers claim them in order, next() takes them in order.
#include "data/loader.h"

#include <algorithm>
#include <utility>

#include "core/threads.h"

namespace qgrad {

Loader::Loader(const ImageSet& set, Indices indices, SampleTransform transform, LoaderOptions options)
    : set_(set), indices_(std::move(indices)), transform_(std::move(transform)), options_(options) {
  check(options.batch_size > 0, "loader: expected a batch size of at least 1, got {}", options.batch_size);
  check(options.threads >= 0 && options.threads <= 256, "loader: expected 0 to 256 threads, got {}", options.threads);
  check(options.prefetch > 0, "loader: expected at least 1 batch to prefetch, got {}", options.prefetch);
  check(set.read || std::ssize(set.pixels) == set.size() * set.image.numel(), "loader: {} images {} have {} bytes",
        set.size(), set.image, set.pixels.size());
  if (options.part)
    check(options.drop_last && 0 <= options.part->first && options.part->first < options.part->second &&
              options.part->second <= options.batch_size,
          "loader: images {} to {} of batches of {} do not exist", options.part->first, options.part->second,
          options.batch_size);
  check(set.image.rank() == 3, "loader: expected images [H,W,C], got {}", set.image);
  for (const int64_t i : indices_) check(i >= 0 && i < set.size(), "loader: image {} of a set of {}", i, set.size());

  slots_.resize(static_cast<size_t>(options.prefetch));
  workers_ = start_threads(options.threads, [this] { work(); });
}

Loader::~Loader() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_or_stop_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

int64_t Loader::batches() const {
  const int64_t count = std::ssize(indices_);
  return options_.drop_last ? count / options_.batch_size : (count + options_.batch_size - 1) / options_.batch_size;
}

int64_t Loader::images() const {
  return std::min(batches() * options_.batch_size, static_cast<int64_t>(std::ssize(indices_)));
}

void Loader::start_epoch(int64_t epoch, int64_t first_batch) {
  check(epoch >= 0 && first_batch >= 0 && first_batch <= batches(), "loader: epoch {}, batch {} of {} does not exist",
        epoch, first_batch, batches());
  Epoch started{epoch, indices_};
  if (options_.shuffle) shuffle(started.order, options_.seed, "shuffle", static_cast<uint64_t>(epoch));
  {
    const std::lock_guard lock(mutex_);
    epoch_ = std::make_shared<const Epoch>(std::move(started));
    next_claimed_ = next_delivered_ = first_batch;
    for (Slot& slot : slots_) slot = {};
  }
  work_or_stop_.notify_all();
}

std::optional<Batch> Loader::next() {
  std::unique_lock lock(mutex_);
  check(epoch_ != nullptr, "loader: next() before start_epoch()");
  if (next_delivered_ == batches()) return std::nullopt;
  if (workers_.empty()) return prepare(*epoch_, next_delivered_++);

  Slot& wanted = slot(next_delivered_);
  batch_ready_.wait(lock, [&] { return wanted.ready; });
  Slot taken = std::exchange(wanted, {});
  ++next_delivered_;
  lock.unlock();
  work_or_stop_.notify_one();
  if (taken.error) std::rethrow_exception(taken.error);
  return std::move(taken.batch);
}

void Loader::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_or_stop_.wait(lock, [&] {
      const int64_t window_end = std::min(batches(), next_delivered_ + options_.prefetch);
      return stop_ || (epoch_ && next_claimed_ < window_end);
    });
    if (stop_) return;
    const std::shared_ptr<const Epoch> epoch = epoch_;
    const int64_t batch = next_claimed_++;
    lock.unlock();
    Slot done{.ready = true};
    try {
      done.batch = prepare(*epoch, batch);
    } catch (...) {
      done.error = std::current_exception();
    }
    lock.lock();
    if (epoch == epoch_) {  // otherwise another epoch was started, and nobody waits for this batch
      slot(batch) = std::move(done);
      batch_ready_.notify_one();
    }
  }
}

Batch Loader::prepare(const Epoch& epoch, int64_t batch) const {
  const int64_t of_batch = batch * options_.batch_size,
                in_batch = std::min(options_.batch_size, static_cast<int64_t>(std::ssize(epoch.order)) - of_batch);
  const auto [first, last] = options_.part.value_or(std::pair(int64_t{0}, in_batch));
  const int64_t begin = of_batch + first, count = std::min(last, in_batch) - first;
  const auto numel = static_cast<size_t>(set_.image.numel());
  Batch result{Tensor::empty(Shape{count, set_.image[0], set_.image[1], set_.image[2]}), {}};
  const std::span<float> output = result.images.mutable_data();
  for (int64_t i = 0; i < count; ++i) {
    const int64_t sample = epoch.order[static_cast<size_t>(begin + i)];
    const std::vector<uint8_t> read = set_.read ? set_.read(sample, epoch.number) : std::vector<uint8_t>{};
    const std::span<const uint8_t> pixels =
        set_.read ? read : std::span(set_.pixels).subspan(static_cast<size_t>(sample) * numel, numel);
    transform_(pixels, epoch.number, sample, output.subspan(static_cast<size_t>(i) * numel, numel));
    result.labels.push_back(set_.labels[static_cast<size_t>(sample)]);
  }
  return result;
}

}  // namespace qgrad

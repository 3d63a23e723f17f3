// Batches of transformed images, prepared ahead by background threads and the same for any number of them. Images that
// are not in memory are decoded by these threads, so that no more of them are there than in the batches under way.
#pragma once

#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "core/tensor.h"
#include "data/dataset.h"
#include "data/split.h"
#include "data/transforms.h"

namespace qgrad {

struct Batch {
  Tensor images;                // [N,H,W,C]
  std::vector<int32_t> labels;  // N
};

struct LoaderOptions {
  int64_t batch_size = 128;
  bool shuffle = false;    // a new order every epoch, a function of (seed, epoch); false: the order of the indices
  bool drop_last = false;  // leave out an epoch's last batch where it is smaller than the others
  int threads = 1;         // background threads; 0: next() prepares the batch itself
  int prefetch = 3;        // batches prepared ahead of the one being used, at the most
  uint64_t seed = 0;
  std::optional<std::pair<int64_t, int64_t>> part{};  // next() gives these images of every batch, [first, last)
};

// Goes over the images at `indices` of a set, epoch by epoch:
//   loader.start_epoch(3);
//   while (auto batch = loader.next()) ...
// Batch b of epoch e depends on (set, indices, transform, batch_size, shuffle, seed, e, b) alone, so training can go on
// at any (epoch, batch). Used from one thread; destroying it or starting another epoch drops what was prepared.
class Loader {
 public:
  // `set` must outlive the loader. Throws where an index lies outside the set, or an option makes no sense.
  Loader(const ImageSet& set, Indices indices, SampleTransform transform, LoaderOptions options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  int64_t batches() const;  // in an epoch
  int64_t images() const;   // in an epoch

  // The next call of next() gives batch `first_batch` (0 to batches()) of the epoch.
  void start_epoch(int64_t epoch, int64_t first_batch = 0);
  // Nothing at the end of the epoch. Rethrows what reading or transforming the images of this batch threw.
  std::optional<Batch> next();

 private:
  struct Epoch {
    int64_t number;
    Indices order;
  };
  struct Slot {
    std::optional<Batch> batch;
    std::exception_ptr error;
    bool ready = false;
  };
  Batch prepare(const Epoch& epoch, int64_t batch) const;
  void work();
  Slot& slot(int64_t batch) { return slots_[static_cast<size_t>(batch) % slots_.size()]; }

  const ImageSet& set_;
  const Indices indices_;
  const SampleTransform transform_;
  const LoaderOptions options_;

  std::mutex mutex_;  // guards all below
  std::condition_variable work_or_stop_, batch_ready_;
  std::shared_ptr<const Epoch> epoch_;  // shared with the workers still busy on it
  int64_t next_claimed_ = 0;            // first batch that no worker has taken
  int64_t next_delivered_ = 0;          // the batch next() gives
  std::vector<Slot> slots_;             // batch b of the epoch in slot b % size, for the batches of the window
  bool stop_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace qgrad

// The loader: the same batches for any number of threads, resumption, errors and early ends.
#include "data/loader.h"

#include <algorithm>
#include <atomic>

#include "support/catch.h"
#include "support/image_files.h"
#include "support/scarce_threads.h"

using namespace qgrad;

namespace {

const Shape kShape{6, 5, 3};

ImageSet random_set(int64_t size) {
  ImageSet set{kShape, test::random_image(Shape{size, kShape.numel()}, 8).pixels, {}};
  for (int64_t i = 0; i < size; ++i) set.labels.push_back(static_cast<int32_t>(i));  // tells the images apart
  return set;
}

SampleTransform augment() { return Transform({.crop_padding = 2, .flip = true, .cutout = 2}, kShape, 3); }

using Content = std::vector<std::pair<std::vector<float>, std::vector<int32_t>>>;

Content rest_of_epoch(Loader& loader) {
  Content content;
  while (auto batch = loader.next()) {
    const auto data = batch->images.data();
    content.push_back({{data.begin(), data.end()}, batch->labels});
  }
  return content;
}

Content epoch(Loader& loader, int64_t number, int64_t first_batch = 0) {
  loader.start_epoch(number, first_batch);
  return rest_of_epoch(loader);
}

std::vector<int32_t> labels(const Content& content) {
  std::vector<int32_t> all;
  for (const auto& batch : content) all.insert(all.end(), batch.second.begin(), batch.second.end());
  return all;
}

}  // namespace

TEST_CASE("batches have the same bits for any number of loader threads") {
  const ImageSet set = random_set(203);
  const LoaderOptions synchronous{.batch_size = 16, .shuffle = true, .threads = 0, .seed = 11};
  Loader reference(set, all_indices(203), augment(), synchronous);
  for (const int threads : {1, 2, 3, 8}) {
    LoaderOptions options = synchronous;
    options.threads = threads;
    options.prefetch = threads;  // from one batch ahead to several
    Loader loader(set, all_indices(203), augment(), options);
    for (int64_t e = 0; e < 3; ++e) CHECK(epoch(loader, e) == epoch(reference, e));
  }
}

TEST_CASE("an unshuffled loader gives the transformed images in the order of its indices") {
  const ImageSet set = random_set(20);
  const Indices indices = {19, 0, 7, 7, 3};
  Loader loader(set, indices, augment(), {.batch_size = 2, .threads = 1});
  CHECK(loader.batches() == 3);
  CHECK(loader.images() == 5);
  const Content content = epoch(loader, 4);
  REQUIRE(content.size() == 3);
  CHECK(labels(content) == std::vector<int32_t>{19, 0, 7, 7, 3});
  const auto transform = augment();
  std::vector<float> all;
  for (const auto& batch : content) all.insert(all.end(), batch.first.begin(), batch.first.end());
  for (size_t i = 0; i < indices.size(); ++i) {
    const auto numel = static_cast<size_t>(kShape.numel());
    std::vector<float> expected(numel);
    transform(std::span(set.pixels).subspan(static_cast<size_t>(indices[i]) * numel, numel), 4, indices[i], expected);
    CHECK(std::equal(expected.begin(), expected.end(), all.begin() + static_cast<std::ptrdiff_t>(i * numel)));
  }
}

TEST_CASE("a shuffled epoch visits every index once, in another order each epoch and for each seed") {
  const ImageSet set = random_set(100);
  Indices indices = all_indices(100);
  indices.erase(indices.begin(), indices.begin() + 30);
  Loader loader(set, indices, augment(), {.batch_size = 8, .shuffle = true, .threads = 2, .seed = 1});
  Loader other(set, indices, augment(), {.batch_size = 8, .shuffle = true, .threads = 2, .seed = 2});
  const std::vector<int32_t> first_epoch = labels(epoch(loader, 0)), second_epoch = labels(epoch(loader, 1));
  std::vector<int32_t> sorted = first_epoch;
  std::sort(sorted.begin(), sorted.end());
  CHECK(sorted == std::vector<int32_t>(set.labels.begin() + 30, set.labels.end()));
  CHECK(first_epoch != sorted);
  CHECK(second_epoch != first_epoch);
  CHECK(labels(epoch(other, 0)) != first_epoch);
  CHECK(labels(epoch(loader, 0)) == first_epoch);
}

TEST_CASE("the last batch is smaller, or left out") {
  const ImageSet set = random_set(10);
  Loader all(set, all_indices(10), augment(), {.batch_size = 4});
  Loader dropping(set, all_indices(10), augment(), {.batch_size = 4, .drop_last = true});
  Loader none(set, {}, augment(), {.batch_size = 4});
  CHECK(all.batches() == 3);
  all.start_epoch(0, 2);
  CHECK(all.next()->images.shape() == Shape{2, 6, 5, 3});
  CHECK(dropping.batches() == 2);
  CHECK(dropping.images() == 8);
  CHECK(labels(epoch(dropping, 0)).size() == 8);
  CHECK(none.batches() == 0);
  CHECK(epoch(none, 0).empty());
}

TEST_CASE("an epoch can be taken up at any batch") {
  const ImageSet set = random_set(50);
  const int threads = GENERATE(0, 2);
  Loader loader(set, all_indices(50), augment(), {.batch_size = 8, .shuffle = true, .threads = threads, .seed = 1});
  const Content whole = epoch(loader, 6);
  for (int64_t from = 0; from <= loader.batches(); ++from)
    CHECK(epoch(loader, 6, from) == Content(whole.begin() + from, whole.end()));
}

TEST_CASE("another epoch may be started, or the loader destroyed, at any moment") {
  const ImageSet set = random_set(64);
  const LoaderOptions options{.batch_size = 4, .shuffle = true, .threads = 3, .prefetch = 5, .seed = 1};
  Loader reference(set, all_indices(64), augment(), options);
  for (int taken = 0; taken < 16; ++taken) {
    Loader loader(set, all_indices(64), augment(), options);
    loader.start_epoch(0);
    for (int i = 0; i < taken; ++i) REQUIRE(loader.next());
    loader.start_epoch(1);
    loader.start_epoch(2);
    CHECK(rest_of_epoch(loader) == epoch(reference, 2));
    loader.start_epoch(3);
  }
}

TEST_CASE("what a transform throws arrives at the batch it belongs to, and the next batches come") {
  const ImageSet set = random_set(20);
  const int threads = GENERATE(0, 1, 3);
  const SampleTransform picky = [](std::span<const uint8_t>, int64_t, int64_t sample, std::span<float> output) {
    check(sample != 9, "image {} is bad", sample);
    std::fill(output.begin(), output.end(), 0.0f);
  };
  Loader loader(set, all_indices(20), picky, {.batch_size = 4, .threads = threads});
  loader.start_epoch(0);
  CHECK(loader.next()->labels[0] == 0);
  CHECK(loader.next()->labels[0] == 4);
  CHECK_THROWS_WITH(loader.next(), "image 9 is bad");
  CHECK(loader.next()->labels[0] == 12);
  CHECK(loader.next()->labels[0] == 16);
  CHECK_FALSE(loader.next());
}

TEST_CASE("background threads prepare no more batches than they may") {
  const ImageSet set = random_set(100);
  std::atomic<int64_t> largest = -1;
  const SampleTransform watch = [&](std::span<const uint8_t>, int64_t, int64_t sample, std::span<float>) {
    int64_t seen = largest;
    while (sample > seen && !largest.compare_exchange_weak(seen, sample)) {
    }
  };
  Loader loader(set, all_indices(100), watch, {.batch_size = 1, .threads = 2, .prefetch = 3});
  loader.start_epoch(0);
  for (int64_t delivered = 1; delivered <= 50; ++delivered) {
    loader.next();
    CHECK(largest <= delivered + 2);  // batches delivered .. delivered + 2 may be under way
  }
}

TEST_CASE("a loader that can not work is refused") {
  const ImageSet set = random_set(3);
  ImageSet short_set = set;
  short_set.pixels.pop_back();
  CHECK_THROWS_WITH(Loader(set, {0, 3}, augment(), {}), "loader: image 3 of a set of 3");
  CHECK_THROWS_WITH(Loader(set, {-1}, augment(), {}), "loader: image -1 of a set of 3");
  CHECK_THROWS_WITH(Loader(short_set, {0}, augment(), {}), "loader: 3 images [6,5,3] have 269 bytes");
  CHECK_THROWS(Loader(set, {0}, augment(), {.batch_size = 0}));
  CHECK_THROWS(Loader(set, {0}, augment(), {.threads = -1}));
  Loader loader(set, {0}, augment(), {});
  CHECK_THROWS_WITH(loader.next(), "loader: next() before start_epoch()");
  CHECK_THROWS_WITH(loader.start_epoch(0, 2), "loader: epoch 0, batch 2 of 1 does not exist");
}

TEST_CASE("a loader goes on with the threads that there are, or without any") {
  const ImageSet set = random_set(50);
  Loader reference(set, all_indices(50), augment(), {.batch_size = 8, .shuffle = true, .threads = 0});
  for (const size_t most : {0, 2}) {
    const test::ScarceThreads scarce(most);
    Loader loader(set, all_indices(50), augment(), {.batch_size = 8, .shuffle = true, .threads = 16});
    CHECK(epoch(loader, 1) == epoch(reference, 1));
  }
}

// Operations that only move numbers, of bytes and of floats: channels_first, select and gather.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "engine/program.h"

namespace qgrad::deploy {

template <class T>
void channels_first(const T* x, T* y, const TensorInfo& in) {
  const int64_t positions = int64_t{in.height} * in.width;
  for (int64_t c = 0; c < in.channels; ++c)
    for (int64_t p = 0; p < positions; ++p) *y++ = x[p * in.channels + c];
}

// Runs of channels that lie side by side, as places in the input and in the output, and their lengths.
struct ChannelRun {
  int32_t from, to, count;
};
inline std::vector<ChannelRun> runs_of(const std::vector<int32_t>& channels) {
  std::vector<ChannelRun> runs;
  for (size_t i = 0; i < channels.size(); ++i) {
    const int32_t from = channels[i];
    if (from == Op::kZeros) continue;
    if (!runs.empty() && from == runs.back().from + runs.back().count &&
        static_cast<int32_t>(i) == runs.back().to + runs.back().count)
      ++runs.back().count;
    else
      runs.push_back({from, static_cast<int32_t>(i), 1});
  }
  return runs;
}

template <class T>
void select(const T* x, T* y, const TensorInfo& in, const Op& op, const std::vector<ChannelRun>& runs, T zero) {
  const auto out = static_cast<int64_t>(op.channels.size());
  std::fill_n(y, std::ssize(op.rows) * std::ssize(op.columns) * out, zero);
  for (const int32_t row : op.rows)
    for (const int32_t column : op.columns) {
      if (row != Op::kZeros && column != Op::kZeros) {
        const T* pixel = x + (int64_t{row} * in.width + column) * in.channels;
        for (const ChannelRun& run : runs) std::copy_n(pixel + run.from, run.count, y + run.to);
      }
      y += out;
    }
}

// What a gather copies: stretches of numbers that lie side by side in the arena and in the output, and constants.
template <class T>
class Gathered {
 public:
  // first: where each input begins in the arena, and its numbers.
  Gathered(const Op& op, const std::vector<std::pair<int64_t, int64_t>>& inputs) {
    for (size_t i = 0; i < op.places.size(); ++i) {
      int64_t place = op.places[i];
      const auto to = static_cast<int64_t>(i);
      if (place < 0) {
        constants_.push_back({to, static_cast<T>(op.constants[static_cast<size_t>(-1 - place)])});
        continue;
      }
      auto input = inputs.begin();
      for (; place >= input->second; ++input) place -= input->second;
      add(input->first + place * static_cast<int64_t>(sizeof(T)), to);
    }
  }
  void copy(const std::byte* arena, T* y) const {
    for (const Stretch& s : stretches_) {
      const T* x = reinterpret_cast<const T*>(arena + s.from);
      for (int64_t i = 0; i < s.count; ++i) y[s.to + i] = x[i];
    }
    for (const auto& [to, constant] : constants_) y[to] = constant;
  }

 private:
  struct Stretch {
    int64_t from, to, count;  // from: of bytes
  };
  void add(int64_t from, int64_t to) {
    if (!stretches_.empty()) {
      Stretch& last = stretches_.back();
      if (last.to + last.count == to && last.from + last.count * static_cast<int64_t>(sizeof(T)) == from) {
        ++last.count;
        return;
      }
    }
    stretches_.push_back({from, to, 1});
  }

  std::vector<Stretch> stretches_;
  std::vector<std::pair<int64_t, T>> constants_;
};

}  // namespace qgrad::deploy

// From the output back.
#include "quant/export/unread.h"

#include <algorithm>

#include "core/narrow.h"

namespace qgrad::deploy {
namespace {

std::vector<bool> read_tensors(const Program& program) {
  std::vector<bool> is_read(program.tensors.size());
  is_read[static_cast<size_t>(program.input)] = is_read[static_cast<size_t>(program.output)] = true;
  for (auto op = program.ops.rbegin(); op != program.ops.rend(); ++op)
    if (is_read[static_cast<size_t>(op->output)])
      for (const int32_t input : op->inputs) is_read[static_cast<size_t>(input)] = true;
  return is_read;
}

}  // namespace

void leave_out_unread(Program& program) {
  const std::vector<bool> is_read = read_tensors(program);
  std::vector<int32_t> index;  // in the list of those that are left
  std::vector<TensorInfo> left;
  for (size_t i = 0; i < is_read.size(); ++i) {
    index.push_back(narrow<int32_t>(left.size(), "number of tensors"));
    if (is_read[i]) left.push_back(std::move(program.tensors[i]));
  }
  program.tensors = std::move(left);
  std::erase_if(program.ops, [&](const Op& op) { return !is_read[static_cast<size_t>(op.output)]; });
  const auto renumber = [&](int32_t& i) { i = index[static_cast<size_t>(i)]; };
  renumber(program.input), renumber(program.output);
  for (Op& op : program.ops) {
    renumber(op.output);
    std::ranges::for_each(op.inputs, renumber);
  }
}

}  // namespace qgrad::deploy

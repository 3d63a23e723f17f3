// Recording and walking the tape.
#include "core/tape.h"

#include <algorithm>
#include <atomic>

#include "core/error.h"
#include "core/kernels/table.h"
#include "core/parallel.h"
#include "core/tensor_impl.h"

namespace qgrad {
namespace {

thread_local Tape* current_tape = nullptr;

uint64_t next_tape_id() {
  static std::atomic<uint64_t> counter{0};
  return ++counter;
}

struct ResetAtEnd {
  Tape& tape;
  ~ResetAtEnd() { tape.reset(); }
};

Tensor sum_of(const Tensor& a, const Tensor& b, Tensor out) {
  const float *pa = a.data().data(), *pb = b.data().data();
  float* po = out.mutable_data().data();
  parallel_for(out.numel(), kElementwiseGrain, [&](int64_t begin, int64_t end) {
    kernels().elementwise.add.same(pa + begin, pb + begin, po + begin, static_cast<size_t>(end - begin));
  });
  return out;
}

}  // namespace

void detail::hand_on_part(Tensor& output, std::span<const Tensor> inputs) {
  if (output.part()) return;
  int64_t examples = 0;
  for (const Tensor& input : inputs) examples = std::max(examples, input.part().value_or(0));
  output.set_part(examples);
}

bool Grads::needs(size_t i) const { return tape_.slot_needs_grad_[inputs_[i]] != 0; }

bool Grads::is_total(size_t i) const { return of_part_ && !tape_.slot_is_part_[inputs_[i]]; }

bool Grads::over_ranks(size_t i) {
  if (i < 64) asked_ |= uint64_t{1} << i;
  return is_total(i);
}

void Grads::add(size_t i, Tensor g) {
  if (!needs(i)) return;
  check(!is_total(i) || (i < 64 && (asked_ >> i & 1)),
        "{}: can not be trained on several ranks: its gradient is not summed over them", op_);
  Tensor& total = tape_.grads_[inputs_[i]];
  if (total.defined())
    check(total.shape() == g.shape(), "backward: gradients of shapes {} and {} for one tensor", total.shape(),
          g.shape());
  if (!total.defined())
    total = std::move(g);
  else if (total.is_unique())
    total = sum_of(total, g, total);
  else if (g.is_unique())
    total = sum_of(total, g, g);
  else
    total = sum_of(total, g, Tensor::empty(total.shape()));
}

Tape::Tape(Mode mode) : mode_(mode), id_(next_tape_id()), scopes_{{nullptr, 0}} {}

Tape* Tape::current() { return current_tape; }

Tape::Recording::Recording(Tape& tape) : previous_(current_tape) { current_tape = &tape; }
Tape::Recording::~Recording() { current_tape = previous_; }
Tape::Paused::Paused() : previous_(current_tape) { current_tape = nullptr; }
Tape::Paused::~Paused() { current_tape = previous_; }

Tape::Scope::Scope(const void* owner) : tape_(current_tape) {
  if (!tape_) return;
  previous_ = tape_->scope_;
  tape_->scopes_.push_back({owner, previous_});
  tape_->scope_ = static_cast<uint32_t>(tape_->scopes_.size() - 1);
}

Tape::Scope::~Scope() {
  if (tape_) tape_->scope_ = previous_;
}

bool Tape::wants_gradient(const Tensor& t) const {
  return t.requires_grad() && (t.impl_->recorded_on == 0 || t.impl_->recorded_on == id_);
}

uint32_t Tape::slot(const Tensor& t) {
  Tensor::Impl* impl = t.impl_.get();
  if (impl && impl->tape == id_) return impl->slot;
  const auto slot = static_cast<uint32_t>(slot_needs_grad_.size());
  slot_needs_grad_.push_back(wants_gradient(t));
  slot_is_part_.push_back(t.is_part());
  if (impl) {
    impl->tape = id_;
    impl->slot = slot;
    if (wants_gradient(t)) leaves_.emplace_back(slot, t);
  }
  return slot;
}

Tape* Tape::recording(std::span<const Tensor> inputs) {
  Tape* tape = current_tape;
  if (!tape || tape->mode() == Tape::Mode::trace) return tape;
  for (const Tensor& x : inputs)
    if (tape->wants_gradient(x)) return tape;
  return nullptr;
}

void Tape::push(std::string_view op, Tensor& output, std::span<const Tensor> inputs, Backward backward) {
  check(output.defined(), "{}: its output is undefined", op);
  const auto first = static_cast<uint32_t>(input_slots_.size());
  bool needs_grad = false;
  for (const Tensor& x : inputs) {
    input_slots_.push_back(slot(x));
    needs_grad |= wants_gradient(x);
  }
  const auto output_slot = static_cast<uint32_t>(slot_needs_grad_.size());
  slot_needs_grad_.push_back(needs_grad);
  slot_is_part_.push_back(output.is_part());
  output.impl_->tape = id_;
  output.impl_->slot = output_slot;
  output.impl_->recorded_on = id_;
  output.impl_->requires_grad = needs_grad && mode_ == Mode::differentiate;
  nodes_.push_back({op, first, static_cast<uint32_t>(inputs.size()), output_slot, scope_, std::move(backward)});
  if (mode_ == Mode::trace) output_shapes_.push_back(output.shape());
  if (listener_) listener_(op, Pass::forward);
}

void Tape::backward(const Tensor& loss) {
  check(mode_ == Mode::differentiate, "backward: this tape only traces");
  check(loss.numel() == 1, "backward: the loss must have one element, got shape {}", loss.shape());
  check(loss.impl_->tape == id_ && loss.requires_grad(),
        "backward: the loss was not recorded on this tape, or depends on nothing that requires a gradient");
  const Paused paused;
  const ResetAtEnd reset_at_end{*this};  // also when a closure throws: half a walk can not be repeated
  grads_.assign(slot_needs_grad_.size(), Tensor());
  grads_[loss.impl_->slot] = Tensor::full(loss.shape(), 1.0f);
  for (size_t i = nodes_.size(); i-- > 0;) {
    Node& node = nodes_[i];
    Tensor dy = std::move(grads_[node.output]);
    if (dy.defined()) {
      Grads dx(*this, node.op, inputs(node), slot_is_part_[node.output]);
      node.backward(std::move(dy), dx);
      if (listener_) listener_(node.op, Pass::backward);
    }
    node.backward = nullptr;
  }
  for (auto& [slot, leaf] : leaves_) {
    Tensor g = std::move(grads_[slot]);
    if (!g.defined()) continue;
    g.data();  // a leaf's gradient does not wait
    const Tensor before = leaf.grad();
    if (before.defined())
      g = sum_of(before, g, g.is_unique() ? g : Tensor::empty(g.shape()));
    else if (!g.is_unique())
      g = g.clone();  // whoever scales one leaf's gradient in place must not reach another's
    leaf.set_grad(std::move(g));
  }
}

void Tape::reset() {
  id_ = next_tape_id();
  nodes_.clear();
  input_slots_.clear();
  scopes_.assign(1, {nullptr, 0});
  output_shapes_.clear();
  scope_ = 0;
  slot_needs_grad_.clear();
  slot_is_part_.clear();
  grads_.clear();
  leaves_.clear();
}

}  // namespace qgrad

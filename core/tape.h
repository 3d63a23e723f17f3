// The autograd tape: nodes in execution order, walked backwards to differentiate, or read to see a model's graph.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "core/ranks.h"
#include "core/tensor.h"

namespace qgrad {

// Where a backward closure puts the gradients of its op's inputs.
class Grads {
 public:
  // Whether anybody wants the gradient of input i; skip the work where not.
  bool needs(size_t i) const;
  // Whether input i is the same on all ranks, and the output of each of its own part of a batch: then the gradient is
  // a sum over the ranks (core/batch_sum.h). An op that does not ask can not be trained on several ranks.
  bool over_ranks(size_t i);
  // Adds g (of input i's shape) to the gradient of input i. The first one is kept without copying, so g must not be
  // written to afterwards; handing on dy itself is fine.
  void add(size_t i, Tensor g);

 private:
  friend class Tape;
  Grads(class Tape& tape, std::string_view op, std::span<const uint32_t> inputs, bool of_part)
      : tape_(tape), op_(op), inputs_(inputs), of_part_(of_part) {}
  bool is_total(size_t i) const;

  class Tape& tape_;
  std::string_view op_;
  std::span<const uint32_t> inputs_;
  bool of_part_;        // whether the output is one
  uint64_t asked_ = 0;  // over_ranks(): a bit for each of the first 64 inputs
};

// dy: the gradient of the op's output, in the output's shape. Its numbers may be overwritten when dy.is_unique().
using Backward = std::function<void(Tensor dy, Grads& dx)>;

class Tape {
 public:
  // differentiate: records ops that depend on a tensor with requires_grad. trace: records every op, without closures.
  enum class Mode { differentiate, trace };
  explicit Tape(Mode mode = Mode::differentiate);
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  // Tensors are numbered as the tape meets them; nodes refer to these numbers ("slots"), not to tensors, so the tape
  // keeps alive only what closures captured.
  struct Node {
    std::string_view op;  // a string literal
    uint32_t first_input, input_count;
    uint32_t output;
    uint32_t scope;  // index into scopes()
    Backward backward;
  };
  // A module call: its module, and the call it happened in. scopes()[0] is the outside.
  struct ScopeRecord {
    const void* owner;
    uint32_t parent;
  };

  std::span<const Node> nodes() const { return nodes_; }
  std::span<const uint32_t> inputs(const Node& node) const {
    return {input_slots_.data() + node.first_input, node.input_count};
  }
  std::span<const ScopeRecord> scopes() const { return scopes_; }
  std::span<const Shape> output_shapes() const { return output_shapes_; }  // of nodes(); filled in trace mode only
  Mode mode() const { return mode_; }

  // Adds d loss / d leaf to the gradient of every leaf with requires_grad that the loss depends on. The loss has one
  // element. Closures are freed as they run, so a tape can be walked once; afterwards it is reset and records anew.
  void backward(const Tensor& loss);
  // Forgets everything recorded; keeps its capacity.
  void reset();

  // Told of every op as soon as it has computed: when it is recorded, and when its closure has run. What an op leaves
  // waiting is computed by the one that asks for it.
  enum class Pass { forward, backward };
  using Listener = std::function<void(std::string_view op, Pass pass)>;
  void set_listener(Listener listener) { listener_ = std::move(listener); }

  // While alive, ops on this thread are recorded here.
  class Recording {
   public:
    explicit Recording(Tape& tape);
    ~Recording();
    Recording(const Recording&) = delete;
    Recording& operator=(const Recording&) = delete;

   private:
    Tape* previous_;
  };
  // While alive, nothing is recorded on this thread.
  class Paused {
   public:
    Paused();
    ~Paused();
    Paused(const Paused&) = delete;
    Paused& operator=(const Paused&) = delete;

   private:
    Tape* previous_;
  };
  // While alive, recorded nodes belong to a call of `owner`.
  class Scope {
   public:
    explicit Scope(const void* owner);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Tape* tape_;
    uint32_t previous_ = 0;
  };

  static Tape* current();  // of this thread; null when nothing records
  static bool is_tracing() { return current() && current()->mode() == Mode::trace; }
  // The tape that must record an op on these inputs, or null. An output of an earlier recording, or of another tape, is
  // a constant here: gradients do not flow through it.
  static Tape* recording(std::span<const Tensor> inputs);
  // Appends output = op(inputs). Ops call record() below instead.
  void push(std::string_view op, Tensor& output, std::span<const Tensor> inputs, Backward backward);
  // The number of a tensor on this tape; it gets one when it has none yet.
  uint32_t slot(const Tensor& t);

 private:
  friend class Grads;
  bool wants_gradient(const Tensor& t) const;

  Mode mode_;
  Listener listener_;  // or empty
  uint64_t id_;        // new after every reset, so that tensors of an earlier recording are not mistaken for known ones
  std::vector<Node> nodes_;
  std::vector<uint32_t> input_slots_;
  std::vector<ScopeRecord> scopes_;
  std::vector<Shape> output_shapes_;
  uint32_t scope_ = 0;
  std::vector<char> slot_needs_grad_, slot_is_part_;
  std::vector<Tensor> grads_;                        // by slot, during backward
  std::vector<std::pair<uint32_t, Tensor>> leaves_;  // tensors with requires_grad that no node produced
};

namespace detail {
void hand_on_part(Tensor& output, std::span<const Tensor> inputs);
}  // namespace detail

// Ends every op: records output = op(inputs) with its backward closure where a tape wants it, and returns the output.
// Undefined inputs (an absent bias) are allowed; needs() is false for them.
//   return record("tanh", y, {x}, [y](Tensor dy, Grads& dx) { ... });
template <class F>
Tensor record(std::string_view op, Tensor output, std::span<const Tensor> inputs, F&& backward) {
  if (ranks()) detail::hand_on_part(output, inputs);
  if (Tape* tape = Tape::recording(inputs))
    tape->push(op, output, inputs,
               tape->mode() == Tape::Mode::trace ? Backward() : Backward(std::forward<F>(backward)));
  return output;
}
template <class F>
Tensor record(std::string_view op, Tensor output, std::initializer_list<Tensor> inputs, F&& backward) {
  return record(op, std::move(output), std::span<const Tensor>(inputs.begin(), inputs.size()),
                std::forward<F>(backward));
}

}  // namespace qgrad

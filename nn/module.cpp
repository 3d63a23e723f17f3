// Calls, slots and walks.
#include "nn/module.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/tape.h"

namespace qgrad {
namespace {

thread_local std::vector<CallObserver*> observers;

std::string join(const std::string& path, const std::string& name) {
  if (path.empty() || name.empty()) return path + name;
  return path + "." + name;
}

void print(const Module& module, const std::string& name, int depth, std::string& out) {
  out += fmt::format("{:{}}{}{}", "", 2 * depth, name.empty() ? "" : "(" + name + "): ", module.kind());
  if (const std::string details = module.describe(); !details.empty()) out += "(" + details + ")";
  out += "\n";
  for (const Parameter* p : module.parameters())
    if (p->transform()) print(*p->transform(), p->name() + " ->", depth + 1, out);
  for (const Child* c : module.children()) print(**c, c->name(), depth + 1, out);
}

}  // namespace

Tensor Module::call(Inputs x) {
  const Tape::Scope scope(this);
  for (CallObserver* o : observers) o->enter(*this, x);
  Tensor y;
  try {
    y = forward(x);
  } catch (const Error& e) {
    if (e.is_located()) throw;
    throw e.located(path());
  }
  for (CallObserver* o : observers) o->leave(*this, x, y);
  return y;
}

std::string Module::path() const { return slot_ ? join(slot_->owner().path(), slot_->name()) : ""; }

void Module::set_training(bool training) {
  visit_modules(*this, [training](Module& m) { m.training_ = training; });
}

Child Module::child(std::string name, ModulePtr module) { return Child(*this, std::move(name), std::move(module)); }
Parameter Module::parameter(std::string name, Tensor initial, const Layout& layout) {
  return Parameter(*this, std::move(name), std::move(initial), layout);
}
Buffer Module::buffer(std::string name, Tensor initial) { return Buffer(*this, std::move(name), std::move(initial)); }

Tensor UnaryModule::forward(Inputs x) {
  check(x.size() == 1, "{} takes one input, got {}", kind(), x.size());
  return forward(x[0]);
}

Child::Child(Module& owner, std::string name, ModulePtr module) : owner_(owner), name_(std::move(name)) {
  owner.children_.push_back(this);
  put(std::move(module));
}

ModulePtr Child::take() {
  if (module_) module_->slot_ = nullptr;
  return std::move(module_);
}

void Child::put(ModulePtr module) {
  module_ = std::move(module);
  if (!module_) return;
  module_->slot_ = this;
  if (module_->training() != owner_.training()) module_->set_training(owner_.training());
}

Parameter::Parameter(Module& owner, std::string name, Tensor initial, const Layout& layout)
    : name_(std::move(name)), layout_(layout), transform_(owner, name_ + "_quant") {
  owner.parameters_.push_back(this);
  set_raw(std::move(initial));
}

Tensor Parameter::operator()() const { return transform_.get() && raw_.defined() ? transform_(raw_) : raw_; }

void Parameter::set_raw(Tensor value) {
  const bool learns = !raw_.defined() || raw_.requires_grad();
  raw_ = std::move(value);
  if (raw_.defined()) raw_.set_requires_grad(learns);
}

void Parameter::restrain() {
  if (limits_ == Limits()) return;
  for (float& value : raw_.mutable_data()) {
    check(!std::isnan(value), "{} is no number any more; has training diverged?", path());
    value = std::clamp(value, limits_.low, limits_.high);
  }
}

std::string Parameter::path() const { return join(owner().path(), name_); }

Buffer::Buffer(Module& owner, std::string name, Tensor initial)
    : owner_(owner), name_(std::move(name)), value_(std::move(initial)) {
  owner.buffers_.push_back(this);
}

std::string Buffer::path() const { return join(owner_.path(), name_); }

void visit_modules(Module& root, const std::function<void(Module&)>& visit) {
  visit(root);
  for (const Parameter* p : root.parameters())
    if (p->transform()) visit_modules(*p->transform(), visit);
  for (const Child* c : root.children()) visit_modules(**c, visit);
}

EvaluationMode::EvaluationMode(Module& root) {
  visit_modules(root, [this](Module& m) { before_.emplace_back(&m, m.training()); });
  root.set_training(false);
}

EvaluationMode::~EvaluationMode() {
  for (const auto& [module, training] : before_)
    if (module->training() != training) module->set_training(training);
}

std::vector<Parameter*> all_parameters(Module& root) {
  std::vector<Parameter*> all;
  visit_modules(root, [&](Module& m) {
    for (Parameter* p : m.parameters())
      if (p->defined()) all.push_back(p);
  });
  return all;
}

std::vector<Buffer*> all_buffers(Module& root) {
  std::vector<Buffer*> all;
  visit_modules(root, [&](Module& m) { all.insert(all.end(), m.buffers().begin(), m.buffers().end()); });
  return all;
}

Module* find_module(Module& root, std::string_view path) {
  Module* found = nullptr;
  visit_modules(root, [&](Module& m) {
    if (!found && m.path() == path) found = &m;
  });
  return found;
}

namespace {

// Children first. A module is attached while its children are rewritten, so that paths are whole.
void rewrite_children(Module& module, const RewriteFn& f) {
  for (Child* c : module.children()) {
    rewrite_children(**c, f);
    const std::string path = (*c)->path();
    c->put(f(path, c->take()));
  }
}

}  // namespace

ModulePtr rewrite(ModulePtr root, const RewriteFn& f) {
  rewrite_children(*root, f);
  return f("", std::move(root));
}

std::string to_string(Module& root) {
  std::string out;
  print(root, "", 0, out);
  return out;
}

Observing::Observing(CallObserver& observer) { observers.push_back(&observer); }
Observing::~Observing() { observers.pop_back(); }

}  // namespace qgrad

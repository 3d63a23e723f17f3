// The fixed order of preparing a model, and who takes which setting.
#include "quant/quantizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "nn/layers/activation.h"
#include "quant/overrides.h"
#include "quant/path_pattern.h"
#include "quant/quantization.h"
#include "quant/wrappers.h"

namespace qgrad {
namespace {

// Whose weights get bits_weights, and bias bits_bias; other modules' parameters are never quantized.
bool has_weights(const Effect& effect) {
  return effect.kind == Effect::Kind::sums || effect.kind == Effect::Kind::looks_up;
}

bool has_parameter(const Module& module, bool bias) {
  return std::ranges::any_of(module.parameters(),
                             [bias](const Parameter* p) { return p->defined() && is_bias(*p) == bias; });
}

bool contains(std::span<const std::string> list, std::string_view word) {
  return std::ranges::find(list, word) != list.end();
}

}  // namespace

std::vector<std::pair<std::string, QuantizedActivations>> enum_names(QuantizedActivations*) {
  return {{"outputs", QuantizedActivations::outputs}, {"inputs", QuantizedActivations::inputs}};
}

// A module as the resolution of overrides sees it.
struct Quantizer::Candidate {
  std::string path, kind;
  Effect effect;
  Source source;                    // the module, or what it reads
  std::vector<std::string> takes;   // override keys, bits_* among them
  bool is_left_to_readers = false;  // an activation, where the inputs of layers are quantized
};

// Every override must match something, and each of its settings must have an effect on a module that goes by it. Bits
// that are null beside a setting with an effect may have none: an addition that is left in float may have null weights.
void Quantizer::check_overrides(const std::vector<Candidate>& before, const std::vector<Candidate>& candidates) const {
  for (const Override& entry : read_overrides(config_.overrides)) {
    std::set<std::string> kinds, paths, taken, effective;
    bool left_to_readers = false;
    for (const std::vector<Candidate>* all : {&before, &candidates})
      for (const Candidate& candidate : *all) {
        paths.insert(candidate.path);
        if (!entry.matches(candidate.path)) continue;
        kinds.insert(candidate.kind);
        left_to_readers |= candidate.is_left_to_readers;
      }
    if (kinds.empty())
      config_error(entry.settings.where(), "matches no module of the model{}",
                   did_you_mean(entry.pattern, std::vector(paths.begin(), paths.end())));
    for (size_t i = 0; i < resolved_.size(); ++i)
      if (resolved_[i].pattern == entry.pattern) {
        taken.insert(candidates[i].takes.begin(), candidates[i].takes.end());
        effective.insert(resolved_[i].takes.begin(), resolved_[i].takes.end());
      }
    const auto has_effect = [&](const auto& setting) { return effective.contains(setting.key()); };
    const bool any_effect = std::ranges::any_of(entry.settings.json().items(), has_effect);
    const auto list = [](const std::set<std::string>& words) {
      return words.empty() ? "none" : joined(std::vector(words.begin(), words.end()));
    };
    for (const auto& [key, value] : entry.settings.json().items()) {
      if (effective.contains(key)) check_reaches_below(entry, key), check_parts(entry, key);
      if (effective.contains(key) || (any_effect && is_bits_key(key) && value.is_null())) continue;
      if (taken.contains(key))
        config_error(entry.settings.where(key),
                     "has no effect on the modules that this matches ({}), with the bits and settings they have; what "
                     "has: {}",
                     list(kinds), list(effective));
      config_error(entry.settings.where(key),
                   "no module that this matches ({}) takes this setting{}; they take: {}{}{}", list(kinds),
                   did_you_mean(key, std::vector(taken.begin(), taken.end())), list(taken),
                   left_to_readers ? "; with quantized_activations \"inputs\", settings of activations belong to the "
                                     "layers that read them"
                                   : "",
                   elsewhere(entry, key));
    }
  }
}

// A setting for activations and for weights, where what is matched has quantized values of one of them alone.
void Quantizer::check_parts(const Override& entry, const std::string& key) const {
  const Json& value = entry.settings.json().at(key);
  const auto counts = [&](std::string_view part) {
    return std::ranges::any_of(resolved_, [&](const Resolved& layer) {
      if (layer.pattern != entry.pattern || !contains(layer.takes, key)) return false;
      return part == "weights" ? layer.bits.weights || layer.bits.bias : layer.bits.activations.has_value();
    });
  };
  for (const char* part : {"weights", "activations"})
    if (value.is_object() && value.contains(part) && !counts(part))
      config_error(entry.settings.where(key + "." + part), "nothing that this matches has {} that are quantized", part);
}

// A container that is matched and none of what is below it, beside what takes the setting: "layer1|fc".
void Quantizer::check_reaches_below(const Override& entry, const std::string& key) const {
  for (const Resolved& container : resolved_) {
    if (container.path.empty() || container.pattern != entry.pattern || !container.takes.empty()) continue;
    bool takes = false, matched = false;
    for (const Resolved& layer : resolved_)
      if (layer.path.starts_with(container.path + ".")) {
        takes |= contains(layer.takes, key);
        matched |= entry.matches(layer.path);
      }
    if (takes && !matched)
      config_error(entry.settings.where(key), "matches the container '{}', but nothing below it{}", container.path,
                   elsewhere(entry, key));
  }
}

// Where a setting that an override has in vain would count: "; '...' ..", or "".
std::string Quantizer::elsewhere(const Override& entry, const std::string& key) const {
  const bool alternates = entry.pattern.find('|') != std::string::npos;
  const std::string pattern = alternates ? "(" + entry.pattern + ").*" : entry.pattern + ".*";
  const Override below{pattern, entry.settings, path_pattern(entry.settings.where(), pattern)};
  bool below_takes = false;
  for (const Resolved& layer : resolved_) {
    if (!contains(layer.takes, key)) continue;
    if (layer.pattern && layer.pattern != entry.pattern && entry.matches(layer.path))
      return fmt::format("; '{}' goes by '{}', which comes first", layer.path, *layer.pattern);
    below_takes |= below.matches(layer.path);
  }
  return below_takes ? fmt::format("; '{}' matches what is below, which does", pattern) : "";
}

void Quantizer::prepare(ModulePtr& model, Optimizer* optimizer, std::span<const Tensor> example) {
  check(!prepared_, "prepare can be called only once: make a new quantizer for another model");
  prepared_ = true;
  const bool training = model->training();
  const Graph first_graph = Graph::trace(*model, example);
  const std::vector<Candidate> before = find_candidates(*model, first_graph);
  pre_process(model, first_graph);
  const Graph graph = Graph::trace(*model, example);
  const std::vector<Candidate> candidates = find_candidates(*model, graph);
  resolve(candidates, graph);
  resolve_inputs(graph);
  if (!allows_idle_overrides_) check_overrides(before, candidates);
  replace(model, candidates, graph);
  attach_weight_transforms(*model, graph);
  if (optimizer)
    for (ParamGroup& group : param_groups(*model)) optimizer->add_param_group(std::move(group));
  post_process(model);
  model->set_training(training);  // a new root has no owner to take it from
}

const Replacement* Quantizer::replacement_of(std::string_view kind, const Effect& effect) const {
  const auto named = replacement_factory.find(kind);
  const Replacement* found = named != replacement_factory.end() ? &named->second : replacement_for(effect);
  return found && found->make ? found : nullptr;
}

const Replacement* Quantizer::replacement_of(const Module& module) const {
  if (const Replacement* found = replacement_of(module.kind(), module.effect())) return found;
  const bool other_leaf = module.children().empty() && module.effect().kind != Effect::Kind::none;
  return other_leaf && default_replacement.make ? &default_replacement : nullptr;
}

const Replacement* Quantizer::replacement_of(const GraphNode& node) const {
  return node.module ? replacement_of(*node.module) : replacement_of(node.kind, node.effect);
}

// Where the numbers that a layer reads are made or quantized, behind what only hands them on; null: at several places.
const GraphNode* Quantizer::read_by(const GraphNode& layer, const Graph& graph) const {
  const auto before = [&](const GraphNode& node) { return node.preds.size() == 1 ? &graph[node.preds[0]] : nullptr; };
  const GraphNode* node = before(layer);
  while (node && node->effect.hands_on() && !replacement_of(*node)) node = before(*node);
  return node;
}

// What one call of a layer of weighted sums reads.
Quantizer::Source Quantizer::source_of(const GraphNode& layer, const Graph& graph) const {
  const GraphNode* node = read_by(layer, graph);
  if (!node) return {};
  const bool of_readers = quantized_ == QuantizedActivations::inputs;
  if (const Replacement* replacement = replacement_of(*node))
    return of_readers ? Source{replacement, node->effect, true} : Source{};
  if (node->is_input() || node->effect.kind == Effect::Kind::looks_up) return {};
  const Effect bounds{.gives = {node->is_positive ? 0 : Limits().low, Limits().high}};
  return {replacement_for_read(bounds), bounds, true};
}

// None where its calls read different numbers.
Quantizer::Source Quantizer::source_of(const Module& layer, const Graph& graph) const {
  if (layer.effect().kind != Effect::Kind::sums) return {};
  std::optional<Source> all;
  for (const GraphNode& call : graph.nodes()) {
    if (call.module != &layer) continue;
    const Source source = source_of(call, graph);
    if (all && *all != source) return {};
    all = source;
  }
  return all.value_or(Source());
}

std::vector<Quantizer::Candidate> Quantizer::find_candidates(Module& model, const Graph& graph) const {
  std::vector<Candidate> found;
  visit_modules(model, [&](Module& module) {
    const Effect effect = module.effect();
    Candidate candidate{module.path(), std::string(module.kind()), effect, {replacement_of(module), effect}, {}};
    const bool is_left = quantized_ == QuantizedActivations::inputs;
    candidate.is_left_to_readers = is_left && candidate.source.replacement;
    if (is_left || !candidate.source.replacement) candidate.source = source_of(module, graph);
    for (const Parameter* p : module.parameters())
      if (p->transform())
        fail("the model is quantized already: {} has the transform {}", p->path(), p->transform()->kind());
    if (!candidate.path.empty() && !found.empty() && found.back().path == candidate.path)
      fail("the model is quantized already: {} is a {} that wraps a {}", candidate.path, found.back().kind,
           candidate.kind);
    if (const Replacement* replacement = candidate.source.replacement) {
      candidate.takes = replacement->settings;
      candidate.takes.push_back("bits_activations");
    }
    if (has_weights(effect)) {
      candidate.takes.insert(candidate.takes.end(), weight_settings.begin(), weight_settings.end());
      if (has_parameter(module, /*bias=*/false)) candidate.takes.push_back("bits_weights");
      if (has_parameter(module, /*bias=*/true)) candidate.takes.push_back("bits_bias");
    }
    found.push_back(std::move(candidate));
  });
  return found;
}

Bits Quantizer::default_bits(const Candidate& candidate, const Graph& graph) const {
  Bits bits{config_.bits_activations, config_.bits_weights, config_.bits_bias};
  if (!config_.bits_first_last) return bits;
  const GraphNode *first = nullptr, *last = nullptr;
  for (const GraphNode& node : graph.nodes())
    if (has_weights(node.effect)) {
      if (!first) first = &node;
      last = &node;
    }
  if (!first) return bits;
  const bool is_last = candidate.path == last->module->path();
  if (is_last || candidate.path == first->module->path()) bits.weights = config_.bits_first_last;
  if (quantized_ == QuantizedActivations::inputs) {
    const auto of_model = replacement_factory.find("input");
    const bool reads_model_input =
        of_model != replacement_factory.end() && candidate.source.replacement == &of_model->second;
    if (is_last || reads_model_input) bits.activations = config_.bits_first_last;
    return bits;
  }
  const GraphNode* read = read_by(*last, graph);
  const std::string& of_last = read && replacement_of(*read) ? read->name : last->name;
  if (candidate.path == of_last) bits.activations = config_.bits_first_last;
  return bits;
}

void Quantizer::resolve(const std::vector<Candidate>& candidates, const Graph& graph) {
  const std::vector<Override> overrides = read_overrides(config_.overrides);
  for (const Candidate& candidate : candidates) {
    const Override* override_entry = find_override(overrides, candidate.path);
    const Config settings = override_entry ? override_entry->settings : Config{Json::object(), "", ""};
    Bits bits = read_bits(settings, default_bits(candidate, graph));
    if (!contains(candidate.takes, "bits_activations")) bits.activations.reset();
    if (!contains(candidate.takes, "bits_weights")) bits.weights.reset();
    if (!contains(candidate.takes, "bits_bias")) bits.bias.reset();
    Json taken = Json::object();
    for (const auto& [key, value] : settings.json().items())
      if (!is_bits_key(key) && contains(candidate.takes, key)) taken[key] = value;
    Resolved resolved{.path = candidate.path,
                      .kind = candidate.kind,
                      .effect = candidate.effect,
                      .activation = candidate.source.effect,
                      .bits = bits,
                      .input = {},
                      .settings = Config{std::move(taken), "", ""},
                      .pattern = override_entry ? std::optional(override_entry->pattern) : std::nullopt};
    resolved.takes = effective_settings(candidate, resolved, graph);
    for (const auto& [key, bits_of] :
         {std::pair("bits_weights", &Bits::weights), {"bits_activations", &Bits::activations}})
      if (!contains(resolved.takes, key)) (resolved.bits.*bits_of).reset();
    resolved_.push_back(std::move(resolved));
  }
}

// What layers with quantized weights read, where an activation or the layer itself quantizes it.
void Quantizer::resolve_inputs(const Graph& graph) {
  const auto bits_of = [&](const std::string& path) -> std::optional<InputBits> {
    const Resolved* giver = find_resolved(path);
    if (!giver || !giver->bits.activations) return std::nullopt;
    return InputBits{*giver->bits.activations, path};
  };
  for (const GraphNode& node : graph.nodes()) {
    if (!node.module || !node.module->weighted_sum() || !graph.called_once(node)) continue;
    if (const Resolved* layer = find_resolved(node.path()); !layer || !layer->bits.weights) continue;
    const GraphNode* read = read_by(node, graph);
    const bool quantizes_itself = source_of(node, graph).before_layer;
    reads(node.path(), quantizes_itself                ? bits_of(node.path())
                       : read && replacement_of(*read) ? bits_of(read->path())
                                                       : std::nullopt);
  }
}

// Settings of activations and of weights count where these have bits.
std::vector<std::string> Quantizer::effective_settings(const Candidate& candidate, const Resolved& resolved,
                                                       const Graph& graph) const {
  const Bits& bits = resolved.bits;
  const Replacement* replacement = candidate.source.replacement;
  const bool of_activations = replacement && (bits.activations || replacement->counts_without_bits);
  const bool of_weights = has_weights(candidate.effect) && (bits.weights || bits.bias);
  const std::vector<std::string> idle = settings_without_effect(site(resolved, candidate.takes, graph));
  std::vector<std::string> effective;
  std::ranges::copy_if(candidate.takes, std::back_inserter(effective), [&](const std::string& key) {
    const bool counts = is_bits_key(key) || (of_activations && contains(replacement->settings, key)) ||
                        (of_weights && contains(weight_settings, key));
    return counts && !contains(idle, key);
  });
  return effective;
}

const Quantizer::Resolved* Quantizer::find_resolved(std::string_view path) const {
  const auto found = std::ranges::find(resolved_, path, &Resolved::path);
  return found == resolved_.end() ? nullptr : &*found;
}

Site Quantizer::site(const Resolved& resolved, std::span<const std::string> settings, const Graph& graph) const {
  Config some{Json::object(), "", resolved.path};
  if (resolved.pattern) some = config_.overrides.at(*resolved.pattern);
  some.json() = Json::object();
  for (const auto& [key, value] : resolved.settings.json().items())
    if (contains(settings, key)) some.json()[key] = value;
  return {resolved.path, resolved.bits, std::move(some), graph, resolved.effect, resolved.activation};
}

void Quantizer::check_can_fold() const {
  fail(
      "fold_batch_norms: this quantizer's weights can not be folded, only those of "
      "QuantAwareTrainRangeLinearQuantizer");
}

void Quantizer::quantized_by(const std::string& path, const std::string& layer) {
  const auto of = [&](const std::string& p) { return std::ranges::find(resolved_, p, &Resolved::path); };
  const auto merged = of(path), by = of(layer);
  if (merged == resolved_.end() || by == resolved_.end()) return;
  if (merged->pattern && !std::regex_match(layer, path_pattern("overrides", *merged->pattern)) &&
      (merged->bits.activations != by->bits.activations || !merged->settings.json().empty()))
    config_error(config_.overrides.at(*merged->pattern).where(),
                 "{} is computed within {}, whose settings count: give the override for that one", path, layer);
  merged->bits.activations.reset();
}

void Quantizer::reads(const std::string& layer, const std::optional<InputBits>& input) {
  const auto found = std::ranges::find(resolved_, layer, &Resolved::path);
  if (found != resolved_.end()) found->input = input;
}

void Quantizer::replace(ModulePtr& model, const std::vector<Candidate>& candidates, const Graph& graph) {
  model = rewrite(std::move(model), [&](const std::string& path, ModulePtr module) -> ModulePtr {
    const auto candidate = std::ranges::find(candidates, path, &Candidate::path);
    const Replacement* replacement = candidate == candidates.end() ? nullptr : candidate->source.replacement;
    const Resolved* resolved = find_resolved(path);
    if (!replacement || !resolved || (resolved->bits == Bits{} && resolved->settings.json().empty())) return module;
    const Site here = site(*resolved, replacement->settings, graph);
    try {
      if (!candidate->source.before_layer) return replacement->make(here, std::move(module));
      if (!here.bits.activations) return module;
      return std::make_unique<QuantizationWrapper>(QuantizationWrapper::Of::input, std::move(module),
                                                   replacement->make(here, std::make_unique<Identity>()));
    } catch (const Error& e) {
      throw e.is_located() ? e : e.located(path);
    }
  });
}

void Quantizer::attach_weight_transforms(Module& model, const Graph& graph) {
  visit_modules(model, [&](Module& module) {
    const Resolved* resolved = has_weights(module.effect()) ? find_resolved(module.path()) : nullptr;
    if (!resolved || resolved->kind != module.kind()) return;
    for (Parameter* parameter : module.parameters()) {
      const std::optional<int> bits = is_bias(*parameter) ? resolved->bits.bias : resolved->bits.weights;
      if (bits && parameter->defined())
        parameter->set_transform(weight_transform(site(*resolved, weight_settings, graph), *parameter, *bits));
    }
  });
}

}  // namespace qgrad

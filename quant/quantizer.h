// The base of every quantizer: it turns a float model into a quantized one, by per-layer settings.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/registry.h"
#include "nn/graph.h"
#include "nn/module.h"
#include "nn/optim/optimizer.h"
#include "quant/kept_corrections.h"
#include "quant/settings.h"

namespace qgrad {

class QuantStats;
struct Override;

// An object of patterns -> settings. Patterns and bits are checked when it is read, settings where they find a module.
struct OverridesConfig : Config {
  using Config::Config;
  OverridesConfig(Config config = {}) : Config(std::move(config)) {}
};
void read_value(const Config& from, OverridesConfig& value);
void write_value(const OverridesConfig& value, Json& to);
void value_schema(const OverridesConfig& value, Json& to);

// What every quantizer's config has. Derived configs list these first in their fields().
struct QuantizerConfig {
  std::optional<int> bits_activations, bits_weights, bits_bias;  // null: not quantized
  // Ordered object: a module's path, or a regular expression that must match the whole path -> settings. A key that
  // equals the path wins, else the first expression that matches. Settings: bits_* (null: not quantized, absent:
  // inherited) and whatever the quantizer takes for that kind of module.
  OverridesConfig overrides = Config::object("overrides");
  // Of the weights of the first and the last layer that have some, of the last one's input, and of the model's inputs
  // where layers quantize them, unless an override says otherwise; null: as everywhere.
  std::optional<int> bits_first_last;
};
inline void fields(Fields& v, QuantizerConfig& c) {
  v("bits_activations", c.bits_activations, {.help = "bits of activations; null: not quantized", .min = 1, .max = 32});
  v("bits_weights", c.bits_weights, {.help = "bits of weights; null: not quantized", .min = 1, .max = 32});
  v("bits_bias", c.bits_bias, {.help = "bits of biases; null: not quantized", .min = 1, .max = 32});
  v("overrides", c.overrides, {.help = "module path or regular expression -> settings"});
  v("bits_first_last", c.bits_first_last,
    {.help =
         "bits of the first and last layer's weights, of the last one's input, and of the model's inputs where layers "
         "quantize them, unless an override says otherwise; null: as everywhere",
     .min = 1,
     .max = 32});
}

// Which activations are quantized: what functions as ReLU give, so that all that comes after them is of that grid, the
// shortcuts of residual blocks too (Distiller); or what layers with weights read, each with a quantization of its own,
// so that shortcuts stay in float (LSQ section 2, APoT). In both ways a layer that reads numbers of no such function,
// as those of an addition or of a batch norm, quantizes its input.
enum class QuantizedActivations { outputs, inputs };
std::vector<std::pair<std::string, QuantizedActivations>> enum_names(QuantizedActivations*);  // "outputs", "inputs"

// Of quantizers for training.
struct QuantAwareTrainConfig : QuantizerConfig {
  QuantizedActivations quantized_activations = QuantizedActivations::outputs;
  // Of what functions read that do more than clamp, as HardSwish and Sigmoid, where their outputs are quantized: in a
  // program they are tables. Their ranges are tracked. null: in float, of which no program can be made.
  std::optional<int> bits_function_inputs = 8;
  float gradient_scaling = 0;
};
inline void fields(Fields& v, QuantAwareTrainConfig& c) {
  fields(v, static_cast<QuantizerConfig&>(c));
  v("quantized_activations", c.quantized_activations,
    {.help = "outputs: of activations, shortcuts included; inputs: what layers with weights read of activations, each "
             "by settings of the layer"});
  v("bits_function_inputs", c.bits_function_inputs,
    {.help = "bits of what functions other than rectifiers read, as HardSwish, where their outputs are quantized: they "
             "are tables in a program; null: in float, of which no program can be made",
     .min = 2,
     .max = 8});
  v("gradient_scaling", c.gradient_scaling,
    {.help = "how much gradients grow where a number lies on the side of its level that they send it away from, and "
             "shrink on the other: by so many times its distance in steps (EWGS); not of weights of DoReFa and APoT, "
             "nor between thresholds of N2UQ",
     .min = 0,
     .max = 2});
}

// One module and the settings that were resolved for it.
struct Site {
  std::string path;  // of the layer, also where its input is quantized
  Bits bits;
  Config settings;     // the override's keys other than bits_*; an empty object where no override matches
  const Graph& graph;  // of the model as it was when replacement began
  Effect effect;       // of the module
  Effect activation;   // of what gives the numbers that are quantized: the module, or what it reads

  // The defaults with this site's settings read onto them.
  template <HasFields T>
  T settings_onto(T defaults) const {
    read_onto(defaults, settings);
    return defaults;
  }
};

// What to put in a module's place, and which override keys (besides bits_*) that takes. Called for every module of its
// kind that has bits or settings; a module with neither stays as it is.
struct Replacement {
  std::function<ModulePtr(const Site&, ModulePtr)> make;  // may return the module itself
  std::vector<std::string> settings;
  bool counts_without_bits = false;  // whether settings have an effect where activations have no bits
  Replacement() = default;
  template <class F>
  Replacement(F function, std::vector<std::string> takes = {})
      : make(std::move(function)), settings(std::move(takes)) {}
};

// A quantized model is rebuilt from its checkpoint as it was made: the metadata holds self_contained() of
// Registry<Quantizer>::resolve(config) (the class and every member of its config); whoever loads it builds the float
// model, calls Registry<Quantizer>::create(metadata) and prepare(model, nullptr, example) with an example of the right
// shape (zeros will do), and then loads the state. prepare must therefore work without data: what was learned or
// tracked (clipping values, tracked ranges) is a parameter or a buffer, and comes with the state.
class Quantizer {
 public:
  static constexpr const char* kRole = "quantizer";
  virtual ~Quantizer() = default;

  // In one fixed order: trace; pre_process; trace again; resolve overrides; replace; attach weight transforms; add
  // parameter groups to the optimizer (if there is one); post_process. Writes no files and prints nothing. Throws when
  // called twice or on a quantized model, when an override is no regular expression or matches no module (neither
  // before pre_process nor after it), and when one of its settings has no effect on any module that goes by it; the
  // error names file, JSON path, and the nearest module or setting, or the pattern that would have an effect.
  void prepare(ModulePtr& model, Optimizer* optimizer, std::span<const Tensor> example);
  void prepare(ModulePtr& model, Optimizer* optimizer, const Tensor& example) {
    prepare(model, optimizer, std::span(&example, 1));
  }

  // What each module got, in the order of the model; filled by prepare. Bits are those that have an effect: of
  // activations where the module is replaced or its input quantized, of weights and biases where it is a layer of
  // weighted sums, or a table, and has them.
  struct Resolved {
    std::string path, kind;
    Effect effect, activation;  // as in Site
    Bits bits;
    std::optional<InputBits> input;  // of a layer that multiplies integers after training; null: it reads floats
    Config settings;
    std::optional<std::string> pattern;  // the override that matched
    std::vector<std::string> takes;      // override keys, bits_* among them, that have an effect on it
  };
  const std::vector<Resolved>& resolved() const { return resolved_; }

  // A resolved config with the content of files, or data given in memory, in place of file names.
  virtual Config self_contained(Config resolved) const { return resolved; }

  // --- The procedure. Commands ask these and no class by name; the defaults are those of a quantizer that trains.
  // Whether the model that prepare made is to be trained; else it is done, but for corrections.
  virtual bool trains() const { return true; }
  // What the settings ask of the float model before it is calibrated. Also makes the `reference` of correct().
  virtual void prepare_float(ModulePtr&, const Tensor& /*example*/) const {}
  // Whether statistics from before prepare_float do not hold after it.
  virtual bool changes_activations() const { return false; }
  // Whether calibration statistics are taken, and the config names none. set_stats copies them, before prepare; `name`
  // is for messages.
  virtual bool wants_stats() const { return false; }
  virtual void set_stats(const QuantStats&, std::string /*name*/ = "the given statistics") {}
  // Throws where the config names statistics that are known to be of another network than this one, as it was loaded.
  virtual void check_network(Module& /*loaded*/) const {}
  // prepare() is for looking at the model: there will be no statistics, and nothing is computed.
  virtual void forgo_stats() {}
  // The same for overrides and settings without effect: prepare() takes them as they are.
  void allow_idle_overrides() { allows_idle_overrides_ = true; }
  // After prepare: the statistics as folding and fusion left them; null where there are none.
  virtual const QuantStats* stats_after_prepare() const { return nullptr; }
  // After prepare: corrections that need images. They end up in the model's state, so a model that is loaded again has
  // them. reference: the same model in float after prepare_float. Both in evaluation mode. What takes long is kept on
  // the way, where `kept` is not null. Returns what was left out, in sentences.
  using Progress = std::function<void(const std::string& path, size_t done, size_t all)>;
  virtual bool has_corrections() const { return false; }
  virtual std::vector<std::string> correct(Module& /*model*/, Module& /*reference*/,
                                           std::span<const Tensor> /*batches*/, const Progress&,
                                           KeptCorrections* /*kept*/) const {
    return {};
  }
  // The keys of its config that ask for them. A config without these asks for none.
  virtual std::vector<std::string> correction_keys() const { return {}; }
  // After training: folds the batch norms of a model that this quantizer prepared, and returns the config that rebuilds
  // the result. check_can_fold throws what fold_trained would throw, for the config alone.
  virtual void check_can_fold() const;
  virtual Config fold_trained(ModulePtr&, const Tensor& /*example*/, Config resolved) const { return resolved; }
  virtual bool ranges_change_when_folded() const { return false; }  // those of activations are to be measured again

 protected:
  explicit Quantizer(const QuantizerConfig& config) : config_(config) {}
  explicit Quantizer(const QuantAwareTrainConfig& config) : config_(config), quantized_(config.quantized_activations) {}

  // Kind of module -> what to make of it; default_replacement is for the other leaves (a null `make`: leave them).
  // Modules are replaced bottom-up, and each only once. Where the inputs of layers are quantized, what an Identity
  // would be replaced by, were it the activation, stands before each layer of weighted sums that reads the activation,
  // directly or through pooling and the like; "input" is then the kind of the model's inputs.
  std::map<std::string, Replacement, std::less<>> replacement_factory;
  Replacement default_replacement;
  // The same for all that have an effect in common; null: none.
  virtual const Replacement* replacement_for(const Effect&) const { return nullptr; }
  // The same for numbers that nothing else quantizes and a layer of weighted sums reads, as those of an addition: what
  // stands before the layer, in both ways. The effect says between which bounds they are. Model inputs and rows of
  // tables are not asked for.
  virtual const Replacement* replacement_for_read(const Effect&) const { return nullptr; }

  virtual void pre_process(ModulePtr&, const Graph&) {}  // fold, move statistics, fuse; the base re-traces after it
  // The transform for a parameter (bits: of this parameter), or null to leave it alone.
  virtual ModulePtr weight_transform(const Site&, Parameter&, int /*bits*/) { return nullptr; }
  // Override keys that weight_transform reads.
  std::vector<std::string> weight_settings;
  // Of the override keys that a module takes: those that change nothing for it, given its bits and its other settings
  // (all of them in `site`). The base knows that settings of what has no bits do not count.
  virtual std::vector<std::string> settings_without_effect(const Site&) const { return {}; }
  virtual std::vector<ParamGroup> param_groups(Module&) { return {}; }
  virtual void post_process(ModulePtr&) {}

  // For post_process: the activations of `path` turned out to be quantized by `layer`, with its settings. Throws where
  // an override of `path` alone asked for others.
  void quantized_by(const std::string& path, const std::string& layer);
  // The same for the bits of what a layer reads, where they are not those that the activation before it gives; null: it
  // reads floats.
  void reads(const std::string& layer, const std::optional<InputBits>& input);

 private:
  struct Candidate;
  std::vector<Candidate> find_candidates(Module& model, const Graph& graph) const;
  void resolve(const std::vector<Candidate>& candidates, const Graph& graph);
  std::vector<std::string> effective_settings(const Candidate& candidate, const Resolved& resolved,
                                              const Graph& graph) const;
  void check_overrides(const std::vector<Candidate>& before, const std::vector<Candidate>& candidates) const;
  void check_reaches_below(const Override& entry, const std::string& key) const;
  void check_parts(const Override& entry, const std::string& key) const;
  std::string elsewhere(const Override& entry, const std::string& key) const;
  Bits default_bits(const Candidate& candidate, const Graph& graph) const;
  void replace(ModulePtr& model, const std::vector<Candidate>& candidates, const Graph& graph);
  void attach_weight_transforms(Module& model, const Graph& graph);
  // What is made of numbers, by what gives them, and whether that is done before the layer that reads them.
  struct Source {
    const Replacement* replacement = nullptr;
    Effect effect;
    bool before_layer = false;
    bool operator==(const Source&) const = default;
  };
  const Replacement* replacement_of(std::string_view kind, const Effect& effect) const;
  const Replacement* replacement_of(const Module& module) const;
  const Replacement* replacement_of(const GraphNode& node) const;
  const GraphNode* read_by(const GraphNode& layer, const Graph& graph) const;
  Source source_of(const GraphNode& layer, const Graph& graph) const;
  Source source_of(const Module& layer, const Graph& graph) const;
  Site site(const Resolved& resolved, std::span<const std::string> settings, const Graph& graph) const;
  const Resolved* find_resolved(std::string_view path) const;
  void resolve_inputs(const Graph& graph);

  QuantizerConfig config_;
  QuantizedActivations quantized_ = QuantizedActivations::outputs;
  std::vector<Resolved> resolved_;
  bool prepared_ = false, allows_idle_overrides_ = false;
};

}  // namespace qgrad

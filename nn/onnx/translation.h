// What translating one node needs: its inputs and attributes, and layers to make of it. For the files in this folder.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

#include "nn/onnx/import.h"

namespace qgrad::onnx {

using Dims = std::vector<int64_t>;
using Order = std::vector<int>;

int64_t count(const Dims& dims);          // throws where it is beyond what an address can count
std::string dims_text(const Dims& dims);  // "[batch, 3, 32, 32]"
Order in_order(size_t rank);              // 0, 1, 2, ..
inline const Order kImages{0, 2, 3, 1};

// What a name of the file stands for: a value that layers compute, or a constant of floats or of whole numbers.
struct Known {
  Dims dims;                                 // the file's
  Order order;                               // dimension i of what is stored is dimension order[i]
  std::string node;                          // the network's, "" for a constant
  Tensor floats;                             // of a constant, as stored
  std::optional<std::vector<int64_t>> ints;  // of a constant, in the file's order

  int rank() const { return static_cast<int>(dims.size()); }
  bool is_constant() const { return node.empty(); }
  int stored(int dim) const;  // where a dimension of the file is stored; negative ones count from the end
};

// The network under construction.
class NetworkBuilder {
 public:
  virtual ~NetworkBuilder() = default;
  // Parameters and buffers of a layer, by name, in our layout.
  using Parameters = std::map<std::string, Tensor>;
  // A layer of a class, whose result has this order; of constants alone it is computed at once.
  virtual Known add(const std::string& layer, Json settings, std::vector<Known> inputs, Order order,
                    Parameters parameters = {}) = 0;
  // What made a value; null for inputs and constants.
  struct Made {
    std::string layer;
    Json settings;
    std::vector<Known> inputs;
    Parameters parameters;
  };
  virtual const Made* maker(const Known& value) const = 0;
  virtual Known first_input() const = 0;  // whose batch is the network's
  // The size of the batch where the file says one: constants may hold it.
  virtual int64_t batch_in_file() const = 0;
};

// One node.
class Translation {
 public:
  Translation(NetworkBuilder& builder, const Node& node, int64_t opset, std::vector<const Known*> inputs)
      : builder_(builder), node_(node), opset_(opset), inputs_(std::move(inputs)) {}

  const std::string& op() const { return node_.op; }
  int64_t opset() const { return opset_; }
  size_t outputs() const { return node_.outputs.size(); }
  NetworkBuilder& builder() const { return builder_; }

  size_t inputs() const { return inputs_.size(); }
  bool has(size_t i) const { return i < inputs_.size() && inputs_[i]; }
  const Known& input(size_t i) const;                // throws where it is absent
  Tensor floats(size_t i) const;                     // of a constant, in the file's order; throws where it is none
  const std::vector<int64_t>& ints(size_t i) const;  // the same
  int64_t whole(size_t i) const;                     // one whole number; the same
  std::vector<Known> all(size_t least) const;        // throws where there are fewer
  std::vector<size_t> present() const;               // inputs that are there
  // The same node with other values for its first inputs, which must outlive it.
  Translation with(const std::vector<Known>& first) const;

  bool has(const std::string& attribute) const { return node_.attributes.contains(attribute); }
  int64_t number(const std::string& attribute, std::optional<int64_t> absent = {}) const;
  // That of something there is a limited number of, from 1 to 2^31 - 1, so that products of two do not overflow.
  int64_t positive(const std::string& attribute, std::optional<int64_t> absent = {}) const;
  float real(const std::string& attribute, std::optional<float> absent = {}) const;
  std::vector<int64_t> numbers(const std::string& attribute, std::vector<int64_t> absent = {}) const;
  std::vector<float> reals(const std::string& attribute) const;
  std::string text(const std::string& attribute, std::string absent) const;
  const Constant& tensor(const std::string& attribute) const;
  // An attribute of early opsets that became an input later; nothing where neither is there.
  std::optional<std::vector<int64_t>> ints(const std::string& attribute, size_t i) const;

  // A layer with the order of its first input.
  Known layer(const std::string& name, std::vector<Known> x, Json settings = Json::object(),
              NetworkBuilder::Parameters parameters = {}) const;
  Known layer(const std::string& name, std::vector<Known> x, Json settings, Order order,
              NetworkBuilder::Parameters parameters = {}) const {
    return builder_.add(name, std::move(settings), std::move(x), std::move(order), std::move(parameters));
  }
  // The same value, stored in another order.
  Known stored(const Known& x, const Order& order) const;
  Known plain(const Known& x) const { return stored(x, in_order(x.dims.size())); }
  Known images(const Known& x) const;                      // [N,C,H,W] as ours
  Known reshaped(const Known& x, const Dims& dims) const;  // of as many numbers
  Known transposed(const Known& x, const Order& dims) const;
  // One part of a dimension; the whole comes back as it is.
  Known sliced(const Known& x, int dim, int64_t begin, std::optional<int64_t> end, int64_t step) const;
  // Operands of as many dimensions, in one order.
  std::vector<Known> aligned(std::vector<Known> operands) const;
  // A constant of one example, [1, ..], for every example of a batch.
  Known for_every_example(const Known& constant) const;
  int axis(const Known& x, int64_t axis) const;  // 0 .. rank - 1; throws where there is none

 private:
  std::optional<Known> shuffled(const Known& x, const Order& before, const Dims& dims, const Order& after) const;

  NetworkBuilder& builder_;
  const Node& node_;
  int64_t opset_;
  std::vector<const Known*> inputs_;
};

// Of the layer that a node becomes: the module's path in PyTorch, or else what the file calls it.
std::string name_of(const Node& node);
// In letters, digits, _ and -, in parts with dots between.
std::string clean_name(const std::string& name);

Known constant_of(const Constant& constant);
Known constant_of(Tensor floats);
Known constant_of(std::vector<int64_t> ints, Dims dims);

using Translate = std::function<std::vector<Known>(const Translation&)>;
using Translations = std::map<std::string, Translate, std::less<>>;  // by operator
Translations layer_translations();                                   // convolutions, products, norms, pools
Translations elementwise_translations();
Translations resizing_translations();
Translations shape_translations();  // and everything else that moves numbers

// What a node gives where it follows from shapes and from constants of whole numbers; else nothing.
std::optional<std::vector<Known>> folded(const Translation& node);

// What exporters write in pieces, as one layer: x * sigmoid(x), layer norms, a bias behind a product, .. The layers of
// the pieces are dropped where nothing else needs them. Operands are aligned; nothing where they mean no more than
// they say.
std::optional<Known> known_product(const Translation& node, const Known& a, const Known& b);
std::optional<Known> known_sum(const Translation& node, const Known& a, const Known& b);
std::optional<Known> known_quotient(const Translation& node, const Known& a, const Known& b);

}  // namespace qgrad::onnx

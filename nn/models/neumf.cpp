// "neumf": neural matrix factorization for implicit feedback (He, Liao, Zhang, Nie, Hu and Chua, "Neural collaborative
// filtering", WWW 2017, section 3.4): a product of embeddings (GMF) and layers on top of others (MLP), joined at the
// end.
#include <fmt/ranges.h>

#include "core/ops.h"
#include "nn/layers/activation.h"
#include "nn/layers/eltwise.h"
#include "nn/layers/embedding.h"
#include "nn/layers/linear.h"
#include "nn/models/architecture.h"

namespace qgrad {
namespace {

struct NeuMFConfig {
  int64_t users = 943, items = 1682;
  int64_t factors = 8;
  std::vector<int64_t> layers{64, 32, 16, 8};
};
void fields(Fields& v, NeuMFConfig& c) {
  v("users", c.users, {.help = "number of users", .min = 1, .max = 1 << 24});
  v("items", c.items, {.help = "number of items", .min = 1, .max = 1 << 24});
  v("factors", c.factors, {.help = "width of the embeddings that are multiplied", .min = 1});
  v("layers", c.layers, {.help = "widths of the layers; the first is a user's and an item's embedding together"});
}

class NeuMF final : public Module {
 public:
  explicit NeuMF(const NeuMFConfig& c)
      : mf_user_embed_(child<Embedding>("mf_user_embed", c.users, c.factors)),
        mf_item_embed_(child<Embedding>("mf_item_embed", c.items, c.factors)),
        mlp_user_embed_(child<Embedding>("mlp_user_embed", c.users, c.layers.at(0) / 2)),
        mlp_item_embed_(child<Embedding>("mlp_item_embed", c.items, c.layers.at(0) / 2)),
        mf_mult_(child<EltwiseMult>("mf_mult")),
        mlp_concat_(child<Concat>("mlp_concat")) {
    for (size_t i = 1; i < c.layers.size(); ++i) {
      mlp_.push_back(std::make_unique<Child>(*this, fmt::format("mlp{}", i),
                                             std::make_unique<Linear>(c.layers[i - 1], c.layers[i])));
      mlp_.push_back(std::make_unique<Child>(*this, fmt::format("relu{}", i), std::make_unique<ReLU>()));
    }
    final_concat_ = std::make_unique<Child>(*this, "final_concat", std::make_unique<Concat>());
    final_ = std::make_unique<Child>(*this, "final", std::make_unique<Linear>(c.factors + c.layers.back(), 1));
  }
  std::string_view kind() const override { return "NeuMF"; }

 protected:
  // Users [N] and items [N] to logits [N, 1].
  Tensor forward(Inputs x) override {
    check(x.size() == 2, "NeuMF: expected users and items, got {} inputs", x.size());
    check(x[0].rank() == 1 && x[0].shape() == x[1].shape(), "NeuMF: expected users [N] and items [N], got {} and {}",
          x[0].shape(), x[1].shape());
    const Tensor product = mf_mult_(mf_user_embed_(x[0]), mf_item_embed_(x[1]));
    Tensor hidden = mlp_concat_(mlp_user_embed_(x[0]), mlp_item_embed_(x[1]));
    for (const auto& layer : mlp_) hidden = (*layer)(hidden);
    return (*final_)((*final_concat_)(product, hidden));
  }

 private:
  Child mf_user_embed_, mf_item_embed_, mlp_user_embed_, mlp_item_embed_, mf_mult_, mlp_concat_;
  std::vector<std::unique_ptr<Child>> mlp_;
  std::unique_ptr<Child> final_concat_, final_;
};

class NeuMFArchitecture final : public Architecture {
 public:
  explicit NeuMFArchitecture(NeuMFConfig config) : config_(std::move(config)) {
    check(config_.layers.size() >= 2 && config_.layers[0] % 2 == 0,
          "neumf: expected two widths or more in 'layers', the first one even, got [{}]",
          fmt::join(config_.layers, ", "));
    for (const int64_t width : config_.layers)
      check(width > 0, "neumf: a layer's width must be positive, got {}", width);
  }
  Shape image_shape() const override { fail("neumf takes numbers of users and items, no images"); }
  std::vector<Tensor> example() const override { return {Tensor::zeros({1}), Tensor::zeros({1})}; }
  ModulePtr make() const override { return std::make_unique<NeuMF>(config_); }
  // Embeddings start at N(0, 0.01), as in the paper.
  ModulePtr build(uint64_t seed) const override {
    ModulePtr model = Architecture::build(seed);
    visit_modules(*model, [](Module& module) {
      if (module.effect().kind == Effect::Kind::looks_up)
        for (float& value : module.parameters()[0]->raw().mutable_data()) value *= 0.01f;
    });
    return model;
  }

 private:
  NeuMFConfig config_;
};

const Registered<Architecture, NeuMFArchitecture, NeuMFConfig> neumf{
    "neumf", "neural matrix factorization (He et al. 2017): ranks items for users"};

}  // namespace
}  // namespace qgrad

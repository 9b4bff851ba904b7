#include "gda/model/deferred_products.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "support/tiny_model.h"

namespace gda {
namespace {

using test::TinyBatch;
using test::TinyModel;
constexpr std::size_t kArenaBlock = std::size_t{1} << 16;

// Two micro-batches go back before the products of the first are carried out.
TEST(DeferredProducts, GiveTheBitsOfProductsInThePass) {
  for (const char* attention : {"softmax", "grouped_differential", "differential_v2"}) {
    const ModelConfig config = test::tiny_config(attention, "poly_norm", true);
    TinyModel now(config, DType::f32);
    TinyModel put_off(config, DType::f32);
    std::vector<DeferredProducts> later;
    for (std::uint64_t i = 0; i < 2; ++i) {
      const TinyBatch batch(config, i);
      const OwnedTensor loss(DType::f32, {TinyBatch::kBatch * TinyBatch::kLength});
      now.forward_backward(batch);
      ForwardState state =
          put_off.decoder.forward(put_off.context(), put_off.arena, batch.view(), {}, {});
      later.emplace_back(Arena(Device{}, kArenaBlock));
      put_off.decoder.backward_from_loss(put_off.context(), std::move(state), batch.target.tensor,
                                         1, loss.tensor, {}, &later.back());
      EXPECT_FALSE(later.back().empty());
    }
    for (DeferredProducts& products : later) {
      put_off.decoder.backward_weights(put_off.context(), products);
      EXPECT_TRUE(products.empty());
      EXPECT_EQ(products.arena().mark().used, 0U);
    }
    for (const Parameter& wanted : now.parameters.all()) {
      const Tensor& found = put_off.parameters.at(wanted.spec.name).gradient;
      EXPECT_EQ(std::memcmp(found.raw(), wanted.gradient.raw(), found.bytes()), 0)
          << wanted.spec.name;
    }
  }
}

// Layers' buckets are reported when their gradients are whole, all others in the pass.
TEST(DeferredProducts, HooksTellOfLayersWhenTheirProductsAreDone) {
  TinyModel model(test::tiny_config("softmax"), DType::f32);
  std::vector<std::size_t> begun;
  std::vector<std::size_t> ready;
  model.decoder.set_hooks({.before_use = {},
                           .before_gradient = [&](std::size_t bucket) { begun.push_back(bucket); },
                           .gradient_ready = [&](std::size_t bucket) { ready.push_back(bucket); },
                           .backward_begins = {}});
  const TinyBatch batch(model.config);
  const OwnedTensor loss(DType::f32, {TinyBatch::kBatch * TinyBatch::kLength});
  DeferredProducts later(Arena(Device{}, kArenaBlock));
  model.decoder.backward_from_loss(
      model.context(), model.decoder.forward(model.context(), model.arena, batch.view(), {}, {}),
      batch.target.tensor, 1, loss.tensor, {}, &later);
  const auto bucket_of = [&](const char* name) { return model.parameters.at(name).bucket; };
  const std::size_t head = bucket_of("lm_head.weight");
  const std::size_t vectors = bucket_of("model.norm.weight");
  const std::size_t embedding = bucket_of("model.embed_tokens.weight");
  EXPECT_EQ(begun, (std::vector<std::size_t>{head, vectors, embedding}));
  EXPECT_EQ(ready, (std::vector<std::size_t>{head, embedding, vectors}));
  begun.clear();
  ready.clear();
  model.decoder.backward_weights(model.context(), later);
  const std::vector<std::size_t> layers = {bucket_of("model.layers.1.mlp.up_proj.weight"),
                                           bucket_of("model.layers.0.mlp.up_proj.weight")};
  EXPECT_EQ(begun, layers);
  EXPECT_EQ(ready, layers);
}

}  // namespace
}  // namespace gda

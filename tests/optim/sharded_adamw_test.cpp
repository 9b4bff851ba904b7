#include "gda/optim/sharded_adamw.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "support/tiny_model.h"

namespace gda {
namespace {

constexpr const char* kQuery = "model.layers.1.self_attn.q_proj.weight";  // [32, 12]
constexpr std::int64_t kGrownRows = 8;                                    // the last of them

// One layer trains, the rest is frozen.
std::vector<ParameterSpec> half_frozen() {
  std::vector<ParameterSpec> specs = parameter_specs(test::tiny_config("grouped_differential"));
  for (ParameterSpec& spec : specs) spec.trainable = spec.layer == 1;
  return specs;
}

class ShardedAdamWTest : public testing::Test {
 protected:
  Context context() { return {Stream{}, arena_}; }

  void fill_gradients(const ParameterStore& parameters, float scale) {
    for (const Parameter& parameter : parameters.all()) {
      for (std::int64_t i = 0; parameter.gradient && i < parameter.gradient.elements(); ++i) {
        parameter.gradient.data<float>()[i] = scale * static_cast<float>(i % 5 + 1);
      }
    }
  }

  void update(ShardedAdamW& optimizer, const ParameterStore& parameters, std::int64_t step) {
    fill_gradients(parameters, static_cast<float>(step));
    for (std::size_t i = 0; i < parameters.buckets().size(); ++i) {
      if (parameters.buckets()[i].trainable) optimizer.reduce(i);
    }
    optimizer.gradient_norm(context());
    optimizer.update(context(), {.lr = 0.01, .beta2 = 0.999, .step = step});
    optimizer.wait_all();
  }

  Arena arena_;
  std::unique_ptr<Communicator> self_ = make_self_communicator();
};

// Rows that begin at update 100 move as those of a run that begins with them; the others as in a
// run without origins.
TEST_F(ShardedAdamWTest, AGrownRegionIsARunOfItsOwn) {
  const auto specs = parameter_specs(test::tiny_config("grouped_differential"));
  ParameterStore grown(specs, DType::f32, 1, true);
  ParameterStore old(specs, DType::f32, 1, true);
  ParameterStore fresh(specs, DType::f32, 1, true);
  ShardedAdamW of_grown(grown, *self_);
  ShardedAdamW of_old(old, *self_);
  ShardedAdamW of_fresh(fresh, *self_);
  of_grown.set_origins(
      context(),
      {{.name = kQuery, .rows = {{32 - kGrownRows, 0}, {kGrownRows, 100}}, .columns = {}}});
  for (std::int64_t step = 101; step <= 104; ++step) {
    update(of_grown, grown, step);
    update(of_old, old, step);
    fill_gradients(fresh, static_cast<float>(step));
    for (std::size_t i = 0; i < fresh.buckets().size(); ++i) of_fresh.reduce(i);
    of_fresh.gradient_norm(context());
    of_fresh.update(context(), {.lr = 0.01, .beta2 = 0.999, .step = step - 100});
    of_fresh.wait_all();
    const float* value = grown.at(kQuery).value.data<float>();
    for (std::int64_t i = 0; i < 32 * 12; ++i) {
      const bool is_grown = i >= (32 - kGrownRows) * 12;
      const ParameterStore& expected = is_grown ? fresh : old;
      ASSERT_EQ(value[i], expected.at(kQuery).value.data<float>()[i]) << step << " " << i;
    }
    if (step == 101) {
      EXPECT_LE(std::abs(value[31 * 12]), 0.01 * (1 + 1e-6));  // lr, at most
    }
  }
  of_grown.set_origins(context(), {});
  for (const ShardedAdamW::Piece& piece : of_grown.pieces()) EXPECT_TRUE(piece.origins.empty());
}

// The noise of rounding is that of the update: an optimizer that goes on after `updates` has the
// values of the one that did them, and those of another count or seed are others.
TEST_F(ShardedAdamWTest, RoundingGoesOnFromTheUpdatesDone) {
  const auto specs = parameter_specs(test::tiny_config("grouped_differential"));
  const auto rounded = [&](std::uint64_t seed, std::int64_t updates, const ShardedAdamW* from) {
    auto parameters = std::make_unique<ParameterStore>(specs, DType::bf16, 1, true);
    ShardedAdamW optimizer(*parameters, *self_);
    for (std::size_t i = 0; from != nullptr && i < from->pieces().size(); ++i) {
      const Tensor& to = optimizer.pieces()[i].master;
      std::memcpy(to.raw(), from->pieces()[i].master.raw(), to.bytes());
    }
    optimizer.round_stochastically(seed, updates);
    optimizer.publish_masters(context());
    optimizer.wait_all();
    return parameters;
  };
  ParameterStore parameters(specs, DType::bf16, 1, true);
  ShardedAdamW optimizer(parameters, *self_);
  parameters.initialize(7);
  optimizer.copy_masters_from_values(context());
  optimizer.round_stochastically(4, 0);
  for (std::int64_t step = 1; step <= 3; ++step) update(optimizer, parameters, step);
  const auto same = [&](const ParameterStore& other) {
    bool all = true;
    for (const Parameter& parameter : parameters.all()) {
      const Tensor& value = other.at(parameter.spec.name).value;
      all = all && std::memcmp(parameter.value.raw(), value.raw(), value.bytes()) == 0;
    }
    return all;
  };
  EXPECT_TRUE(same(*rounded(4, 3, &optimizer)));
  EXPECT_FALSE(same(*rounded(4, 2, &optimizer)));
  EXPECT_FALSE(same(*rounded(5, 3, &optimizer)));
}

// Each parameter decays or does not, whatever lies beside it; without gradients it does nothing
// else.
TEST_F(ShardedAdamWTest, WhatIsMarkedDecays) {
  auto specs = parameter_specs(test::tiny_config("grouped_differential"));
  for (std::size_t i = 0; i < specs.size(); ++i) specs[i].decay = i % 2 == 0;
  ParameterStore parameters(specs, DType::f32, 1, true);
  ParameterStore before(specs, DType::f32, 1, true);
  parameters.initialize(7);
  before.initialize(7);
  ShardedAdamW optimizer(parameters, *self_);
  for (std::size_t i = 0; i < parameters.buckets().size(); ++i) optimizer.reduce(i);
  EXPECT_EQ(optimizer.gradient_norm(context()), 0);
  optimizer.update(context(), {.lr = 0.01, .beta2 = 0.999, .weight_decay = 0.5, .step = 1});
  optimizer.wait_all();
  for (const Parameter& parameter : parameters.all()) {
    const Tensor& old = before.at(parameter.spec.name).value;
    for (std::int64_t i = 0; i < old.elements(); ++i) {
      const double value = old.data<float>()[i];
      const double expected = parameter.spec.decay ? (1 - 0.01 * 0.5) * value : value;
      // Rounded once, and a subtrahend of 0.005 |value| a few times.
      ASSERT_NEAR(parameter.value.data<float>()[i], expected, std::ldexp(std::abs(value), -24 + 1))
          << parameter.spec.name;
    }
  }
}

TEST_F(ShardedAdamWTest, FrozenParametersHaveNoStateAndKeepTheirBits) {
  for (const DType compute : {DType::f32, DType::bf16}) {
    ParameterStore parameters(half_frozen(), compute, 1, true);
    ShardedAdamW optimizer(parameters, *self_);
    parameters.initialize(7);
    optimizer.copy_masters_from_values(context());
    std::vector<std::vector<std::byte>> before;
    for (const Parameter& parameter : parameters.all()) {
      const auto* bytes = static_cast<const std::byte*>(parameter.value.raw());
      before.emplace_back(bytes, bytes + parameter.value.bytes());
    }
    std::size_t moments = 0;
    std::int64_t trainable = 0;
    for (const ShardedAdamW::Piece& piece : optimizer.pieces()) {
      EXPECT_EQ(piece.m.empty(), !piece.spec->trainable) << piece.spec->name;
      EXPECT_EQ(piece.v.empty(), !piece.spec->trainable);
      EXPECT_EQ(piece.gradient.empty(), !piece.spec->trainable);
      EXPECT_FALSE(piece.master.empty());
      if (!piece.spec->trainable) continue;
      moments += piece.m.bytes() + piece.v.bytes();
      trainable += piece.length;
    }
    EXPECT_EQ(moments, static_cast<std::size_t>(8 * trainable));
    // With f32 values there are moments alone; else a master of every matrix, frozen or not.
    if (compute == DType::f32) {
      EXPECT_EQ(optimizer.bytes(), moments);
    }
    for (std::int64_t step = 1; step <= 3; ++step) update(optimizer, parameters, step);
    for (std::size_t i = 0; i < before.size(); ++i) {
      const Parameter& parameter = parameters.all()[i];
      const bool same = std::memcmp(parameter.value.raw(), before[i].data(), before[i].size()) == 0;
      EXPECT_EQ(same, !parameter.spec.trainable) << parameter.spec.name;
      EXPECT_EQ(parameter.gradient.empty(), !parameter.spec.trainable);
    }
  }
}

}  // namespace
}  // namespace gda

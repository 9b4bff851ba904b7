#include "gda/optim/optimizer.h"

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

// A model's optimizer as a run has it.
struct Sharded {
  Sharded(const ParameterStore& parameters, Communicator& group)
      : buckets(parameters, group),
        optimizer(buckets, make_update_rules({.betas = {0.9, 0.999}, .weight_decay = 0}, buckets)) {
  }
  GradientBuckets buckets;
  Optimizer optimizer;
};

class OptimizerTest : public testing::Test {
 protected:
  Context context() { return {Stream{}, arena_}; }

  void fill_gradients(const ParameterStore& parameters, float scale) {
    for (const Parameter& parameter : parameters.all()) {
      for (std::int64_t i = 0; parameter.gradient && i < parameter.gradient.elements(); ++i) {
        parameter.gradient.data<float>()[i] = scale * static_cast<float>(i % 5 + 1);
      }
    }
  }

  // `begun`: updates that were done before those of this optimizer.
  void update(Sharded& sharded, const ParameterStore& parameters, std::int64_t step,
              std::int64_t begun = 0) {
    fill_gradients(parameters, static_cast<float>(step));
    for (std::size_t i = 0; i < parameters.buckets().size(); ++i) {
      if (parameters.buckets()[i].trainable) sharded.buckets.reduce(i);
    }
    sharded.buckets.gradient_norm(context());
    sharded.optimizer.update(context(), {.lr = 0.01, .update = step - begun});
    sharded.buckets.wait_all();
  }

  Arena arena_;
  std::unique_ptr<Communicator> self_ = make_self_communicator();
};

// Rows that begin at update 100 move as those of a run that begins with them; the others as in a
// run without origins.
TEST_F(OptimizerTest, AGrownRegionIsARunOfItsOwn) {
  const auto specs = parameter_specs(test::tiny_config("grouped_differential"));
  ParameterStore grown(specs, DType::f32, 1, true);
  ParameterStore old(specs, DType::f32, 1, true);
  ParameterStore fresh(specs, DType::f32, 1, true);
  Sharded of_grown(grown, *self_);
  Sharded of_old(old, *self_);
  Sharded of_fresh(fresh, *self_);
  of_grown.optimizer.set_origins(
      context(),
      {{.name = kQuery, .rows = {{32 - kGrownRows, 0}, {kGrownRows, 100}}, .columns = {}}});
  for (std::int64_t step = 101; step <= 104; ++step) {
    update(of_grown, grown, step);
    update(of_old, old, step);
    update(of_fresh, fresh, step, 100);
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
  of_grown.optimizer.set_origins(context(), {});
  for (const OptimizerPiece& piece : of_grown.optimizer.pieces())
    EXPECT_TRUE(piece.origins.empty());
}

// The noise of rounding is that of the update: an optimizer that goes on after `updates` has the
// values of the one that did them, and those of another count or seed are others.
TEST_F(OptimizerTest, RoundingGoesOnFromTheUpdatesDone) {
  const auto specs = parameter_specs(test::tiny_config("grouped_differential"));
  const auto rounded = [&](std::uint64_t seed, std::int64_t updates, const Optimizer* from) {
    auto parameters = std::make_unique<ParameterStore>(specs, DType::bf16, 1, true);
    Sharded sharded(*parameters, *self_);
    Optimizer& optimizer = sharded.optimizer;
    for (std::size_t i = 0; from != nullptr && i < from->pieces().size(); ++i) {
      const Tensor& to = optimizer.pieces()[i].master;
      std::memcpy(to.raw(), from->pieces()[i].master.raw(), to.bytes());
    }
    optimizer.round_stochastically(seed, updates);
    optimizer.publish_masters(context());
    sharded.buckets.wait_all();
    return parameters;
  };
  ParameterStore parameters(specs, DType::bf16, 1, true);
  Sharded sharded(parameters, *self_);
  Optimizer& optimizer = sharded.optimizer;
  parameters.initialize(7);
  optimizer.copy_masters_from_values(context());
  optimizer.round_stochastically(4, 0);
  for (std::int64_t step = 1; step <= 3; ++step) update(sharded, parameters, step);
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
TEST_F(OptimizerTest, WhatIsMarkedDecays) {
  auto specs = parameter_specs(test::tiny_config("grouped_differential"));
  for (std::size_t i = 0; i < specs.size(); ++i) specs[i].decay = i % 2 == 0;
  ParameterStore parameters(specs, DType::f32, 1, true);
  ParameterStore before(specs, DType::f32, 1, true);
  parameters.initialize(7);
  before.initialize(7);
  GradientBuckets buckets(parameters, *self_);
  Optimizer optimizer(buckets, make_update_rules({.weight_decay = 0.5}, buckets));
  for (std::size_t i = 0; i < parameters.buckets().size(); ++i) buckets.reduce(i);
  EXPECT_EQ(buckets.gradient_norm(context()), 0);
  optimizer.update(context(), {.lr = 0.01, .update = 1});
  buckets.wait_all();
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

TEST_F(OptimizerTest, FrozenParametersHaveNoStateAndKeepTheirBits) {
  for (const DType compute : {DType::f32, DType::bf16}) {
    ParameterStore parameters(half_frozen(), compute, 1, true);
    Sharded sharded(parameters, *self_);
    Optimizer& optimizer = sharded.optimizer;
    parameters.initialize(7);
    optimizer.copy_masters_from_values(context());
    std::vector<std::vector<std::byte>> before;
    for (const Parameter& parameter : parameters.all()) {
      const auto* bytes = static_cast<const std::byte*>(parameter.value.raw());
      before.emplace_back(bytes, bytes + parameter.value.bytes());
    }
    std::size_t moments = 0;
    std::int64_t trainable = 0;
    for (const OptimizerPiece& piece : optimizer.pieces()) {
      EXPECT_EQ(piece.states.size(), piece.spec().trainable ? 2 : 0) << piece.spec().name;
      EXPECT_EQ(piece.gradient.empty(), !piece.spec().trainable);
      EXPECT_FALSE(piece.master.empty());
      if (!piece.spec().trainable) continue;
      for (const OptimizerState& state : piece.states) moments += state.tensor.bytes();
      trainable += piece.length;
    }
    EXPECT_EQ(moments, static_cast<std::size_t>(8 * trainable));
    // With f32 values there are moments alone; else a master of every matrix, frozen or not.
    if (compute == DType::f32) {
      EXPECT_EQ(optimizer.bytes(), moments);
    }
    for (std::int64_t step = 1; step <= 3; ++step) update(sharded, parameters, step);
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

// A model in stages, with micro-batches in flight, gives the bits of the model in one.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "gda/core/error.h"
#include "support/tiny_model.h"

namespace gda {
namespace {

using test::TinyBatch;
constexpr std::int64_t kStreamRows = TinyBatch::kBatch * TinyBatch::kLength;
constexpr std::int64_t kStagedLayers = 5;  // stages of 2, 2 and 1
constexpr std::size_t kStages = 3;
constexpr std::size_t kMicroBatches = 2;
constexpr std::size_t kBlock = std::size_t{1} << 16;  // of arenas
constexpr double kLossScale = 0.25;

ModelConfig staged_config(const std::string& attention, const std::string& act, bool tied) {
  ModelConfig config = test::tiny_config(attention, act, tied);
  config.num_hidden_layers = kStagedLayers;
  return config;
}

GrowthMask mask_of_every_axis() {
  return {.hidden = {{3, 7}}, .feed_forward = {{5, 9}}, .heads = {{1, 2}}, .layers = {{1, 4}}};
}

std::vector<char> bytes_of(const Tensor& x) {
  const auto* begin = static_cast<const char*>(x.raw());
  return {begin, begin + x.bytes()};
}

void expect_same(const Tensor& found, const Tensor& wanted, const std::string& what) {
  ASSERT_EQ(found.bytes(), wanted.bytes()) << what;
  EXPECT_EQ(std::memcmp(found.raw(), wanted.raw(), wanted.bytes()), 0) << what;
}

void expect_unused(const Arena& arena) {
  EXPECT_EQ(arena.mark().block, 0U);
  EXPECT_EQ(arena.mark().used, 0U);
}

// A stage with its parameters, and what of it must be so whatever it is a part of: its buckets are
// asked for in the order that was announced, and added to between the two reports on each.
class StageUnderTest {
 public:
  StageUnderTest(const ModelConfig& config, const std::vector<ParameterSpec>& specs,
                 const Stage& stage, DType compute, Recompute recompute)
      : parameters(place(specs, {.stage = stage}), compute, 1, true),
        decoder(config, specs, {.stage = stage}, parameters, recompute) {
    parameters.initialize(5);
    decoder.set_hooks(
        {.before_use =
             [this](std::size_t bucket, std::optional<std::size_t> next) {
               const Bucket& read = parameters.buckets()[bucket];
               const bool begins =
                   !parameters.all()[read.parameters.front()].spec.is_matrix();  // a forward pass
               EXPECT_EQ(bucket, begins ? bucket : announced_.value_or(bucket));
               announced_ = next;
               used_[bucket] = true;
             },
         .before_gradient =
             [this](std::size_t bucket) {
               begun_[bucket].push_back(bytes_of(parameters.buckets()[bucket].gradients));
             },
         .gradient_ready =
             [this](std::size_t bucket) {
               ready_[bucket].push_back(bytes_of(parameters.buckets()[bucket].gradients));
             },
         .backward_begins = {}});
  }

  // alone: nothing but its own passes adds to its gradients.
  void expect_reported(bool alone) {
    for (std::size_t i = 0; i < parameters.buckets().size(); ++i) {
      const Bucket& bucket = parameters.buckets()[i];
      EXPECT_TRUE(used_.contains(i)) << "bucket " << i;
      ASSERT_EQ(ready_[i].size(), bucket.trainable ? kMicroBatches : 0) << "bucket " << i;
      ASSERT_EQ(begun_[i].size(), bucket.trainable ? kMicroBatches : 0) << "bucket " << i;
      if (!bucket.trainable) continue;
      for (std::size_t pass = 0; alone && pass < kMicroBatches; ++pass) {
        const std::vector<char> zeros(bucket.gradients.bytes());
        EXPECT_EQ(begun_[i][pass], pass == 0 ? zeros : ready_[i][pass - 1]) << "bucket " << i;
      }
      EXPECT_EQ(ready_[i].back(), bytes_of(bucket.gradients)) << "bucket " << i;
    }
  }

  ParameterStore parameters;
  Decoder decoder;

 private:
  std::map<std::size_t, bool> used_;
  std::optional<std::size_t> announced_;
  std::map<std::size_t, std::vector<std::vector<char>>> begun_, ready_;  // gradients at that moment
};

class StagedModel {
 public:
  StagedModel(const ModelConfig& config, const std::vector<ParameterSpec>& specs, DType compute,
              Recompute recompute)
      : config_(config), compute_(compute) {
    for (const Stage& stage : cut_into_stages(config, kStages)) {
      stages_.push_back(std::make_unique<StageUnderTest>(config, specs, stage, compute, recompute));
    }
  }

  void set_growth(const GrowthMask& mask, double m) {
    for (const auto& stage : stages_) stage->decoder.set_growth(mask, m);
  }

  // All micro-batches go forward before the first goes back.
  void train(const std::vector<TinyBatch>& batches, const std::vector<OwnedTensor>& losses) {
    std::vector<Arena> kept;
    for (std::size_t i = 0; i < kStages * batches.size(); ++i) kept.emplace_back(Device{}, kBlock);
    std::vector<ForwardState> states;
    std::vector<OwnedTensor> streams;
    streams.reserve(kept.size());
    for (const TinyBatch& batch : batches) {
      Tensor stream;
      for (std::size_t s = 0; s < kStages; ++s) {
        // Memory for the stream is the caller's, or the state's.
        streams.emplace_back(compute_, Shape{kStreamRows, config_.hidden_size});
        const Tensor output = s == 0 ? streams.back().tensor : Tensor{};
        const auto before = stream ? bytes_of(stream) : std::vector<char>{};
        states.push_back(stages_[s]->decoder.forward(context(), kept[states.size()], batch.view(),
                                                     stream, output));
        EXPECT_EQ(stream ? bytes_of(stream) : before, before);
        stream = states.back().output();
        expect_unused(arena_);
      }
    }
    for (std::size_t i = 0; i < batches.size(); ++i) {
      go_back(states, i, batches[i].target.tensor, losses[i].tensor);
    }
    for (const Arena& arena : kept) expect_unused(arena);
    for (const auto& stage : stages_) stage->expect_reported(false);
  }

  Tensor gradient(const std::string& name) const {
    for (const auto& stage : stages_) {
      const Parameter* parameter = stage->parameters.find(name);
      if (parameter != nullptr) return parameter->gradient;
    }
    return {};
  }

  // With caches, one of each stage, the tokens continue theirs.
  void infer(const SequenceBatch& batch, std::vector<KvCache>* caches, const Tensor& logits) {
    const ArenaScope scope(arena_);
    Tensor stream;
    for (std::size_t s = 0; s < kStages; ++s) {
      stream = stages_[s]->decoder.infer(context(), batch, stream,
                                         caches != nullptr ? &(*caches)[s] : nullptr);
    }
    const std::int64_t rows = logits.dim(0);
    last().logits_of(context(), stream.rows(stream.dim(0) - rows, rows), logits);
  }
  void loss(const TinyBatch& batch, const Tensor& loss) {
    const ArenaScope scope(arena_);
    Tensor stream;
    for (const auto& stage : stages_) {
      stream = stage->decoder.infer(context(), batch.view(), stream);
    }
    last().loss_of(context(), stream, batch.target.tensor, loss);
  }

  std::vector<KvCache> caches(std::int64_t capacity) const {
    std::vector<KvCache> result;
    for (const auto& stage : stages_) {
      result.emplace_back(config_.attention, stage->decoder.stage().layers, compute_, capacity);
    }
    return result;
  }

 private:
  Context context() { return {Stream{}, arena_}; }
  const Decoder& last() const { return stages_.back()->decoder; }

  void go_back(std::vector<ForwardState>& states, std::size_t micro_batch, const Tensor& target,
               const Tensor& loss) {
    const OwnedTensor gradient(compute_, {kStreamRows, config_.hidden_size});
    for (std::size_t s = kStages; s-- > 0;) {
      Decoder& decoder = stages_[s]->decoder;
      ForwardState state = std::move(states[micro_batch * kStages + s]);
      if (s + 1 < kStages) {
        const Decoder& next = stages_[s + 1]->decoder;
        ASSERT_EQ(decoder.takes_gradient(), next.gives_gradient());
        decoder.backward(context(), std::move(state),
                         next.gives_gradient() ? gradient.tensor : Tensor{});
        continue;
      }
      // A tied embedding adds up in one place, in the order of one model.
      const Parameter* head = stages_[s]->parameters.find(kEmbeddingName);
      const Tensor whole = stages_[0]->parameters.at(kEmbeddingName).gradient;
      const bool shared = head != nullptr && !whole.empty();
      if (shared) std::memcpy(head->gradient.raw(), whole.raw(), whole.bytes());
      decoder.backward_from_loss(context(), std::move(state), target, kLossScale, loss,
                                 decoder.gives_gradient() ? gradient.tensor : Tensor{});
      if (shared) std::memcpy(whole.raw(), head->gradient.raw(), whole.bytes());
    }
    expect_unused(arena_);
  }

  ModelConfig config_;
  DType compute_;
  Arena arena_{Device{}, kBlock};
  std::vector<std::unique_ptr<StageUnderTest>> stages_;
};

using TrainableRule = std::function<bool(const ParameterSpec&)>;

void expect_same_training(const ModelConfig& config, const TrainableRule& trainable, DType compute,
                          Recompute recompute, bool masked, const std::string& what) {
  std::vector<ParameterSpec> specs = parameter_specs(config);
  for (ParameterSpec& spec : specs) spec.trainable = trainable(spec);
  StageUnderTest whole(config, specs, whole_model(config), compute, recompute);
  StagedModel staged(config, specs, compute, recompute);
  if (masked) {
    whole.decoder.set_growth(mask_of_every_axis(), 0.37);
    staged.set_growth(mask_of_every_axis(), 0.37);
  }
  std::vector<TinyBatch> batches;
  std::vector<OwnedTensor> losses;
  std::vector<OwnedTensor> wanted;
  Arena arena(Device{}, kBlock);
  for (std::size_t i = 0; i < kMicroBatches; ++i) {
    batches.emplace_back(config, i);
    losses.emplace_back(accumulate_type(compute), Shape{kStreamRows});
    wanted.emplace_back(accumulate_type(compute), Shape{kStreamRows});
    whole.decoder.forward_backward({Stream{}, arena}, batches[i].view(), batches[i].target.tensor,
                                   kLossScale, wanted[i].tensor);
  }
  whole.expect_reported(true);
  staged.train(batches, losses);
  for (std::size_t i = 0; i < kMicroBatches; ++i) {
    expect_same(losses[i].tensor, wanted[i].tensor, what + ": losses");
  }
  for (const Parameter& parameter : whole.parameters.all()) {
    const std::string& name = parameter.spec.name;
    if (parameter.spec.trainable) {
      expect_same(staged.gradient(name), parameter.gradient, what + ": " + name);
    } else {
      EXPECT_TRUE(staged.gradient(name).empty()) << what << ": " << name;
    }
  }
}

class StageTest : public ::testing::TestWithParam<std::tuple<std::string, bool>> {
 protected:
  ModelConfig config(const std::string& act) const {
    return staged_config(std::get<0>(GetParam()), act, std::get<1>(GetParam()));
  }
};

TEST_P(StageTest, TrainingHasTheBitsOfTheWholeModel) {
  const auto everything = [](const ParameterSpec&) { return true; };
  for (const Recompute recompute : {Recompute::none, Recompute::selective, Recompute::full}) {
    for (const bool masked : {false, true}) {
      expect_same_training(config("silu"), everything, DType::f32, recompute, masked, "all");
    }
  }
  expect_same_training(config("poly_norm"), everything, DType::bf16, Recompute::none, true, "all");
}

TEST_P(StageTest, FrozenLayersEndTheBackwardPassWhereTheyDoInTheWholeModel) {
  const std::map<std::string, TrainableRule> choices = {
      {"last stage", [](const ParameterSpec& spec) { return spec.layer == 4; }},
      {"middle of the middle stage", [](const ParameterSpec& spec) { return spec.layer == 3; }},
      {"middle stage", [](const ParameterSpec& spec) { return spec.layer == 2; }},
      {"first layer", [](const ParameterSpec& spec) { return spec.layer == 0; }},
      {"embedding", [](const ParameterSpec& spec) { return spec.role == Role::embedding; }},
      {"last norm", [](const ParameterSpec& spec) { return spec.role == Role::final_norm; }},
      {"head", [](const ParameterSpec& spec) { return spec.role == Role::head; }},
      {"all but keys", [](const ParameterSpec& spec) { return spec.role != Role::key; }}};
  for (const auto& [name, trainable] : choices) {
    for (const bool masked : {false, true}) {
      expect_same_training(config("silu"), trainable, DType::f32,
                           masked ? Recompute::selective : Recompute::none, masked, name);
    }
  }
}

TEST_P(StageTest, InferenceHasTheBitsOfTheWholeModel) {
  const ModelConfig model = config("poly_norm");
  const std::vector<ParameterSpec> specs = parameter_specs(model);
  StageUnderTest whole(model, specs, whole_model(model), DType::f32, Recompute::none);
  StagedModel staged(model, specs, DType::f32, Recompute::none);
  whole.decoder.set_growth(mask_of_every_axis(), 0.37);
  staged.set_growth(mask_of_every_axis(), 0.37);
  Arena arena(Device{}, kBlock);
  const Context context{Stream{}, arena};
  const TinyBatch batch(model);
  const OwnedTensor found(DType::f32, {kStreamRows, model.vocab_size});
  const OwnedTensor wanted(DType::f32, {kStreamRows, model.vocab_size});
  whole.decoder.forward_logits(context, batch.view(), wanted.tensor);
  staged.infer(batch.view(), nullptr, found.tensor);
  expect_same(found.tensor, wanted.tensor, "logits");

  const OwnedTensor loss(DType::f32, {kStreamRows});
  const OwnedTensor wanted_loss(DType::f32, {kStreamRows});
  whole.decoder.forward_loss(context, batch.view(), batch.target.tensor, wanted_loss.tensor);
  staged.loss(batch, loss.tensor);
  expect_same(loss.tensor, wanted_loss.tensor, "losses");

  constexpr std::int64_t kCapacity = 8;
  KvCache cache(model, DType::f32, kCapacity);
  std::vector<KvCache> caches = staged.caches(kCapacity);
  const OwnedTensor position(DType::i32, {kCapacity});
  std::iota(position.tensor.data<std::int32_t>(), position.tensor.data<std::int32_t>() + kCapacity,
            0);
  for (const auto& [begin, count] : {std::pair{0, 3}, {3, 1}, {4, 4}}) {
    const Tensor token = batch.token.tensor.rows(begin, count);
    whole.decoder.forward_cached(context, token, cache, wanted.tensor.rows(0, 1));
    staged.infer({.batch = 1,
                  .length = count,
                  .token = token,
                  .position = position.tensor.rows(begin, count),
                  .first_key = {}},
                 &caches, found.tensor.rows(0, 1));
    expect_same(found.tensor.rows(0, 1), wanted.tensor.rows(0, 1), "cached logits");
  }
}

INSTANTIATE_TEST_SUITE_P(Types, StageTest,
                         ::testing::Combine(::testing::Values("softmax", "differential",
                                                              "grouped_differential",
                                                              "differential_v2"),
                                            ::testing::Bool()),
                         [](const auto& instance) {
                           return std::get<0>(instance.param) +
                                  (std::get<1>(instance.param) ? "_tied" : "_untied");
                         });

// Without a backward pass, and below what is trained, layers hand two tensors to and fro.
TEST(Stage, MemoryDoesNotGrowWithLayersThatBackwardDoesNotReach) {
  const auto peaks = [](std::int64_t layers) {
    ModelConfig config = test::tiny_config("softmax");
    config.num_hidden_layers = layers;
    std::vector<ParameterSpec> specs = parameter_specs(config);
    for (ParameterSpec& spec : specs) spec.trainable = spec.layer == layers - 1;
    StageUnderTest whole(config, specs, whole_model(config), DType::f32, Recompute::none);
    const TinyBatch batch(config);
    const OwnedTensor loss(DType::f32, {kStreamRows});
    std::array<Arena, 2> arenas{Arena(Device{}, std::size_t{1} << 20),
                                Arena(Device{}, std::size_t{1} << 20)};  // one block
    whole.decoder.forward_loss({Stream{}, arenas[0]}, batch.view(), batch.target.tensor,
                               loss.tensor);
    whole.decoder.forward_backward({Stream{}, arenas[1]}, batch.view(), batch.target.tensor, 1,
                                   loss.tensor);
    return std::pair(arenas[0].peak(), arenas[1].peak());
  };
  EXPECT_EQ(peaks(3), peaks(6));
}

TEST(Stage, RefusesWhatItHasNot) {
  const ModelConfig config = staged_config("softmax", "silu", false);
  const std::vector<ParameterSpec> specs = parameter_specs(config);
  const std::vector<Stage> stages = cut_into_stages(config, kStages);
  StageUnderTest first(config, specs, stages.front(), DType::f32, Recompute::none);
  const TinyBatch batch(config);
  const OwnedTensor loss(DType::f32, {kStreamRows});
  Arena arena(Device{}, kBlock);
  const Context context{Stream{}, arena};
  EXPECT_THROW(first.decoder.forward_loss(context, batch.view(), batch.target.tensor, loss.tensor),
               OpError);
  EXPECT_THROW(first.decoder.backward_from_loss(
                   context, first.decoder.forward(context, arena, batch.view(), {}, {}),
                   batch.target.tensor, 1, loss.tensor, {}),
               OpError);
  EXPECT_THROW(first.decoder.backward(
                   context, first.decoder.forward(context, arena, batch.view(), {}, {}), {}),
               OpError);
  expect_unused(arena);
  const auto build = [&](const Placement& placement) {
    return Decoder(config, specs, placement, first.parameters);
  };
  EXPECT_THROW(build({.stage = {.layers = {2, 2}}}), ConfigError);
  EXPECT_THROW(build({.stage = stages.front(), .tensor = 0, .tensor_size = 2}), ConfigError);
}

}  // namespace
}  // namespace gda

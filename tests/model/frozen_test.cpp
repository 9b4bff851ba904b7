// Models of which a part is frozen.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <set>

#include "support/tiny_model.h"

namespace gda {
namespace {

using Chosen = std::function<bool(const ParameterSpec&)>;

bool contains(const ParameterSpec& spec, std::string_view part) {
  return spec.name.find(part) != std::string::npos;
}

class Frozen {
 public:
  Frozen(const ModelConfig& config, DType compute, const Chosen& trainable,
         Recompute recompute = Recompute::none)
      : parameters_(specs(config, trainable), compute, 1, true),
        decoder_(config, parameters_, recompute),
        batch_(config) {
    parameters_.initialize(5);
  }

  // Gradients of one pass; the loss is returned and the buckets that were reported are counted.
  double run() {
    const OwnedTensor loss(accumulate_type(parameters_.compute_type()),
                           {test::TinyBatch::kBatch * test::TinyBatch::kLength});
    BucketHooks hooks;
    hooks.before_use = [&](std::size_t bucket, auto) { used.insert(bucket); };
    hooks.before_gradient = [&](std::size_t bucket) { ++begun[bucket]; };
    hooks.gradient_ready = [&](std::size_t bucket) { ++ready[bucket]; };
    decoder_.set_hooks(hooks);
    decoder_.forward_backward({Stream{}, arena_}, batch_.view(), batch_.target.tensor, 1.0,
                              loss.tensor);
    return test::TinyModel::sum(loss.tensor);
  }
  const ParameterStore& parameters() const { return parameters_; }

  std::set<std::size_t> used;
  std::map<std::size_t, int> begun, ready;

 private:
  static std::vector<ParameterSpec> specs(const ModelConfig& config, const Chosen& trainable) {
    std::vector<ParameterSpec> all = parameter_specs(config);
    for (ParameterSpec& spec : all) spec.trainable = trainable(spec);
    return all;
  }

  Arena arena_{Device{}, std::size_t{1} << 20};
  ParameterStore parameters_;
  Decoder decoder_;
  test::TinyBatch batch_;
};

bool everything(const ParameterSpec& /*spec*/) {
  return true;
}

// Gradients of what is trainable are those of the whole model: to the bit, or (where `split`)
// within the rounding of sums in another order.
void expect_same_gradients(const ModelConfig& config, DType compute, const Chosen& trainable,
                           bool split, const std::string& what,
                           Recompute recompute = Recompute::none) {
  Frozen whole(config, compute, everything, recompute);
  Frozen part(config, compute, trainable, recompute);
  const double loss = whole.run();
  // A dot product of n = 20 terms and less, in f64: n 2^-53 relative, passed through two layers.
  const double tolerance = 1e-12;
  EXPECT_NEAR(part.run(), loss, split ? tolerance * loss : 0) << what;
  for (const Parameter& parameter : part.parameters().all()) {
    const std::string where = what + " " + parameter.spec.name;
    ASSERT_EQ(parameter.gradient.empty(), !parameter.spec.trainable) << where;
    if (!parameter.spec.trainable) continue;
    const Tensor& expected = whole.parameters().at(parameter.spec.name).gradient;
    if (!split) {
      EXPECT_EQ(std::memcmp(parameter.gradient.raw(), expected.raw(), expected.bytes()), 0)
          << where;
      continue;
    }
    for (std::int64_t i = 0; i < expected.elements(); ++i) {
      const double wanted = expected.data<double>()[i];
      ASSERT_NEAR(parameter.gradient.data<double>()[i], wanted, tolerance * (1 + std::abs(wanted)))
          << where;
    }
  }
  for (std::size_t i = 0; i < part.parameters().buckets().size(); ++i) {
    const Bucket& bucket = part.parameters().buckets()[i];
    EXPECT_EQ(part.ready[i], bucket.trainable ? 1 : 0) << what << " bucket " << i;
    EXPECT_EQ(part.begun[i], bucket.trainable ? 1 : 0) << what << " bucket " << i;
    EXPECT_TRUE(part.used.contains(i)) << what << " bucket " << i;
    EXPECT_EQ(bucket.gradients.empty(), !bucket.trainable);
  }
}

struct FrozenCase {
  std::string attention;
  std::string act;
  bool tied;
};
const FrozenCase kFrozenCases[] = {{"softmax", "silu", false},
                                   {"softmax", "poly_norm", true},
                                   {"grouped_differential", "poly_norm", false},
                                   {"grouped_differential", "silu", true},
                                   {"differential_v2", "silu", false}};

TEST(FrozenModel, TrainableGradientsAreThoseOfTheWholeModel) {
  const std::map<std::string, Chosen> choices = {
      {"all", everything},
      {"upper layer", [](const ParameterSpec& spec) { return spec.layer == 1; }},
      {"lower layer", [](const ParameterSpec& spec) { return spec.layer == 0; }},
      {"embedding", [](const ParameterSpec& spec) { return contains(spec, "embed_tokens"); }},
      {"matrices", [](const ParameterSpec& spec) { return spec.is_matrix(); }},
      {"vectors", [](const ParameterSpec& spec) { return !spec.is_matrix(); }},
      {"last norm", [](const ParameterSpec& spec) { return contains(spec, "model.norm"); }},
      {"output sides", [](const ParameterSpec& spec) {
         return contains(spec, "o_proj") || contains(spec, "down_proj");
       }}};
  for (const FrozenCase& which : kFrozenCases) {
    const ModelConfig config = test::tiny_config(which.attention, which.act, which.tied);
    for (const auto& [name, trainable] : choices) {
      for (const DType compute : {DType::f32, DType::f64}) {
        expect_same_gradients(config, compute, trainable, false, which.attention + " " + name);
      }
      expect_same_gradients(config, DType::f64, trainable, false, which.attention + " " + name,
                            Recompute::selective);
      expect_same_gradients(config, DType::f64, trainable, false, which.attention + " " + name,
                            Recompute::full);
    }
  }
}

TEST(FrozenModel, EachVectorCanTrainAlone) {
  const ModelConfig config = test::tiny_config("grouped_differential", "poly_norm");
  for (const char* name : {"input_layernorm", "post_attention_layernorm", "lambda_q1", "lambda_k1",
                           "lambda_q2", "lambda_k2", "subln", "act_fn.weight", "act_fn.bias"}) {
    const auto alone = [&](const ParameterSpec& spec) {
      return spec.layer == 0 && contains(spec, name);
    };
    expect_same_gradients(config, DType::f32, alone, false, name);
    expect_same_gradients(config, DType::f64, alone, false, name);
  }
}

TEST(FrozenModel, LmHeadCanTrainAlone) {
  const ModelConfig config = test::tiny_config("grouped_differential");
  const auto head = [](const ParameterSpec& spec) { return contains(spec, "lm_head"); };
  expect_same_gradients(config, DType::f64, head, false, "lm_head");
}

// q, k, v and gate, up are one matrix only where they are alike.
TEST(FrozenModel, FusedMatricesCanBeSplit) {
  for (const FrozenCase& which : kFrozenCases) {
    const ModelConfig config = test::tiny_config(which.attention, which.act, which.tied);
    for (const char* name : {"q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"}) {
      const auto one = [&](const ParameterSpec& spec) { return contains(spec, name); };
      const auto others = [&](const ParameterSpec& spec) { return !contains(spec, name); };
      expect_same_gradients(config, DType::f64, one, true, which.attention + " " + name);
      expect_same_gradients(config, DType::f64, others, true, which.attention + " not " + name);
    }
  }
}

// In bf16 the parts of dx are summed in f32: every gradient is within a few roundings of the whole
// model's, relative to the largest of its tensor.
TEST(FrozenModel, SplitMatricesRoundOnceInBf16) {
  const ModelConfig config = test::tiny_config("grouped_differential");
  Frozen whole(config, DType::bf16, everything);
  Frozen part(config, DType::bf16,
              [](const ParameterSpec& spec) { return !contains(spec, "k_proj"); });
  whole.run();
  part.run();
  for (const Parameter& parameter : part.parameters().all()) {
    if (!parameter.spec.trainable) continue;
    const float* found = parameter.gradient.data<float>();
    const float* wanted = whole.parameters().at(parameter.spec.name).gradient.data<float>();
    float largest = 0;
    float difference = 0;
    for (std::int64_t i = 0; i < parameter.gradient.elements(); ++i) {
      largest = std::max(largest, std::abs(wanted[i]));
      difference = std::max(difference, std::abs(found[i] - wanted[i]));
    }
    // Two layers of some eight bf16 activations each, 2^-8 apart where a rounding falls otherwise.
    EXPECT_LE(difference, 16 * 0x1p-8F * largest) << parameter.spec.name;
  }
}

// Frozen parameters take no gradient memory.
TEST(FrozenModel, TakesLessMemory) {
  ModelConfig config = test::tiny_config("softmax");
  std::vector<ParameterSpec> specs = parameter_specs(config);
  std::int64_t trainable = 0;
  for (ParameterSpec& spec : specs) {
    spec.trainable = spec.layer == 1;
    if (spec.trainable) trainable += spec.shape.elements();
  }
  const ParameterStore store(specs, DType::f32, 1, true);
  std::int64_t elements = 0;
  for (const Bucket& bucket : store.buckets()) {
    if (bucket.gradients) elements += bucket.gradients.elements();
  }
  EXPECT_EQ(elements, trainable);
  EXPECT_EQ(store.trainable_matrices(0), std::nullopt);
  EXPECT_TRUE(store.trainable_matrices(1).has_value());
  EXPECT_TRUE(store.trainable_vectors().has_value());
}

// Of the six FLOPs a number of a matrix (two forward, two for each gradient), a frozen one spares
// two, and one below the trained layers four; attention spares its backward pass, two thirds.
TEST(FrozenModel, SparesFlops) {
  const ModelConfig config = test::tiny_config("grouped_differential");
  constexpr std::int64_t kLength = 16;
  std::vector<ParameterSpec> specs = parameter_specs(config);
  const FlopsPerToken whole = training_flops_per_token(config, kLength);
  EXPECT_EQ(training_flops_per_token(config, kLength, specs).full, whole.full);
  EXPECT_EQ(training_flops_per_token(config, kLength, specs).causal, whole.causal);
  double spared = 0;
  for (ParameterSpec& spec : specs) {
    const auto count = static_cast<double>(spec.shape.elements());
    spec.trainable = spec.layer == 1;
    if (spec.layer == 0) spared += 4 * count;
    if (spec.layer < 0 && !contains(spec, "embed_tokens")) spared += 2 * count;
  }
  // 8 query heads, d = 4 and d_v = 8; forward 2 d + 2 d_v a score, backward twice that.
  const double core = 2 * 8 * (2 * 4 + 2 * 8) * kLength;
  EXPECT_EQ(lowest_trained_layer(config, specs), 1);
  EXPECT_EQ(training_flops_per_token(config, kLength, specs).full, whole.full - spared - core);
  EXPECT_EQ(training_flops_per_token(config, kLength, specs).causal,
            whole.causal - spared - core / 2);
  for (ParameterSpec& spec : specs) spec.trainable = contains(spec, "lm_head");
  EXPECT_EQ(lowest_trained_layer(config, specs), 2);
  for (ParameterSpec& spec : specs) spec.trainable = contains(spec, "embed_tokens");
  EXPECT_EQ(lowest_trained_layer(config, specs), 0);
}

}  // namespace
}  // namespace gda

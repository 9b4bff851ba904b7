// A tiny model on the ranks of tensor and context groups, in one stage or several, beside the same
// model on one rank that judges it.
#pragma once

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gda/core/philox.h"
#include "gda/model/decoder.h"

namespace gda::test {

using Chooses = std::function<bool(const ParameterSpec&)>;

struct ShardedCase {
  std::string attention = "grouped_differential";
  std::string act = "silu";
  bool tied = false;
  ContextMethod method = ContextMethod::automatic;
  bool documents = true;
  Recompute recompute = Recompute::none;
  bool masked = false;  // a growth mask on its way
  Chooses trainable = [](const ParameterSpec&) { return true; };
  std::int64_t stages = 1;
  bool deferred = false;
  std::int64_t batch = 2;
  DType compute = DType::f64;
};

// `groups` K/V groups; a vocabulary that divides over neither 2, 3 nor 4 ranks.
inline ModelConfig sharded_config(const ShardedCase& which, std::int64_t groups) {
  ModelConfig config;
  config.hidden_size = 12;
  config.num_hidden_layers = 3;
  config.intermediate_size = 24;
  config.vocab_size = 19;
  config.max_position_embeddings = 32;
  config.hidden_act = from_word<Activation>(which.act).value();
  config.tie_word_embeddings = which.tied;
  config.initializer_range = 0.3;
  AttentionConfig& attention = config.attention;
  attention.type = from_word<AttentionType>(which.attention).value();
  attention.head_dim = 4;
  if (attention.is_differential()) {
    const std::int64_t ratio = which.attention == "differential" ? 1 : 3;
    attention.noise_heads = 2 * groups;  // two stripes a group
    attention.signal_heads = ratio * attention.noise_heads;
    attention.num_key_value_heads = 2 * groups;
  } else {
    attention.num_attention_heads = 2 * groups;
    attention.num_key_value_heads = groups;
  }
  return config;
}

inline GrowthMask sharded_mask() {
  return {.hidden = {{3, 7}},
          .feed_forward = {{5, 9}, {20, 22}},
          .heads = {{1, 3}},
          .layers = {{1, 2}}};
}

constexpr double kMaskValue = 0.37;
constexpr double kShardedScale = 0.25;
constexpr std::int64_t kShardedLength = 24;

// Whole sequences of three documents each, which begin elsewhere in each.
struct WholeBatch {
  std::int64_t batch;
  bool documents;
  std::vector<std::int32_t> token, position, first_key, target;

  WholeBatch(const ModelConfig& config, std::int64_t sequences, bool with_documents)
      : batch(sequences), documents(with_documents) {
    const Philox random(7, RandomPurpose::test, "sharded batch");
    const auto draw = [&](std::uint64_t index) {
      return static_cast<std::int32_t>(random.bits(index) %
                                       static_cast<std::uint64_t>(config.vocab_size));
    };
    for (std::int64_t row = 0; row < batch * kShardedLength; ++row) {
      const std::int64_t t = row % kShardedLength;
      const std::int64_t second = 5 + row / kShardedLength;
      const std::int64_t start = !documents || t < second ? 0 : t < 17 ? second : 17;
      const auto i = static_cast<std::uint64_t>(row);
      token.push_back(draw(2 * i));
      target.push_back(t % 11 == 4 ? kIgnoreTarget : draw(2 * i + 1));
      position.push_back(static_cast<std::int32_t>(t - start));
      first_key.push_back(static_cast<std::int32_t>(start));
    }
  }
};

inline OwnedTensor tensor_of(const std::vector<std::int32_t>& values) {
  OwnedTensor result(DType::i32, {static_cast<std::int64_t>(values.size())});
  std::copy(values.begin(), values.end(), result.tensor.data<std::int32_t>());
  return result;
}

// What a rank of a cut has of it.
struct PartOfBatch {
  std::vector<std::int64_t> rows;
  OwnedTensor token, position, first_key, target;
  SequenceBatch view;

  PartOfBatch(const WholeBatch& whole, const ContextCut& cut)
      : rows(cut.rows(whole.batch, kShardedLength)),
        token(pick(whole.token)),
        position(pick(whole.position)),
        first_key(cut.method == ContextMethod::gather ? pick(whole.first_key)
                                                      : tensor_of(whole.first_key)),
        target(pick(whole.target)),
        view{.batch = whole.batch,
             .length = kShardedLength,
             .token = token.tensor,
             .position = position.tensor,
             .first_key = whole.documents ? first_key.tensor : Tensor{}} {}

 private:
  OwnedTensor pick(const std::vector<std::int32_t>& whole) const {
    std::vector<std::int32_t> values;
    for (const std::int64_t row : rows) values.push_back(whole[static_cast<std::size_t>(row)]);
    return tensor_of(values);
  }
};

// Stages of a model at one place; without groups, the model that judges.
class ShardedModel {
 public:
  ShardedModel(const ShardedCase& which, const ModelConfig& config, std::int64_t stage_count,
               const StageGroups& groups)
      : which_(which), config_(config) {
    std::vector<ParameterSpec> specs = parameter_specs(config);
    for (ParameterSpec& spec : specs) spec.trainable = which.trainable(spec);
    for (const Stage& stage : cut_into_stages(config, stage_count)) {
      Placement placement{.stage = stage};
      if (groups.tensor != nullptr) {
        placement.tensor = groups.tensor->rank();
        placement.tensor_size = groups.tensor->size();
      }
      parameters.push_back(
          std::make_unique<ParameterStore>(place(specs, placement), which.compute, 1, true));
      parameters.back()->initialize(5);
      leave_constants(*parameters.back());
      // Chunks of five rows.
      decoders.emplace_back(config, specs, placement, *parameters.back(), which.recompute,
                            LinearCrossEntropyOptions{.max_logit_bytes = 5 * 19 * 8}, groups);
      if (which.masked) decoders.back().set_growth(sharded_mask(), kMaskValue);
    }
  }

  Context context() { return {Stream{}, arena}; }
  const ContextCut& cut() const { return decoders.front().context_cut(); }
  // Losses of this rank's rows; gradients accumulate.
  void train(const PartOfBatch& part, const Tensor& loss, const Tensor& max_logit = {}) {
    SequenceBatch batch = part.view;
    batch.max_logit = max_logit;
    std::vector<Arena> kept;
    for (std::size_t s = 0; s < decoders.size(); ++s) kept.emplace_back(Device{}, 1 << 16);
    std::vector<ForwardState> states;
    Tensor stream;
    for (std::size_t s = 0; s < decoders.size(); ++s) {
      states.push_back(decoders[s].forward(context(), kept[s], batch, stream, {}));
      stream = states.back().output();
    }
    std::vector<DeferredProducts> later;
    for (std::size_t s = 0; s < decoders.size(); ++s) later.emplace_back(Arena(Device{}, 1 << 16));
    const OwnedTensor gradient(which_.compute, stream.shape());
    for (std::size_t s = decoders.size(); s-- > 0;) {
      Decoder& decoder = decoders[s];
      DeferredProducts* put_off = which_.deferred ? &later[s] : nullptr;
      if (s + 1 == decoders.size()) {
        decoder.backward_from_loss(context(), std::move(states[s]), part.target.tensor,
                                   kShardedScale, loss,
                                   decoder.gives_gradient() ? gradient.tensor : Tensor{}, put_off);
      } else {
        decoder.backward(context(), std::move(states[s]),
                         decoder.takes_gradient() ? gradient.tensor : Tensor{}, put_off);
      }
    }
    for (std::size_t s = 0; s < decoders.size(); ++s) {
      decoders[s].backward_weights(context(), later[s]);
    }
  }

  Tensor infer(const PartOfBatch& part) {
    Tensor stream;
    for (Decoder& decoder : decoders) stream = decoder.infer(context(), part.view, stream);
    return stream;
  }

  std::vector<std::unique_ptr<ParameterStore>> parameters;
  std::vector<Decoder> decoders;
  Arena arena{Device{}, std::size_t{1} << 18};

 private:
  // Vectors that begin as constants would hide one that is another's.
  static void leave_constants(const ParameterStore& store) {
    for (const Parameter& parameter : store.all()) {
      if (parameter.spec.is_matrix()) continue;
      const Philox random(2, RandomPurpose::test, parameter.spec.name);
      for (std::int64_t i = 0; i < parameter.value.elements(); ++i) {
        const double more = 0.2 * random.normal(static_cast<std::uint64_t>(i));
        if (parameter.value.dtype() == DType::f64) {
          parameter.value.data<double>()[i] += more;
        } else {
          parameter.value.data<float>()[i] += static_cast<float>(more);
        }
      }
    }
  }

  ShardedCase which_;
  ModelConfig config_;
};

inline double number(const Tensor& x, std::int64_t i) {
  return x.dtype() == DType::f64   ? x.data<double>()[i]
         : x.dtype() == DType::f32 ? x.data<float>()[i]
                                   : static_cast<float>(x.data<bfloat16>()[i]);
}

}  // namespace gda::test

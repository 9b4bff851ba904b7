// A decoder small enough for plain-loop arithmetic, with a batch of packed documents to run on it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gda/core/philox.h"
#include "gda/model/decoder.h"

namespace gda::test {

inline ModelConfig tiny_config(const std::string& attention, const std::string& act = "silu",
                               bool tied = false) {
  ModelConfig config;
  config.hidden_size = 12;
  config.num_hidden_layers = 2;
  config.intermediate_size = 20;
  config.vocab_size = 19;
  config.max_position_embeddings = 32;
  config.hidden_act = from_word<Activation>(act).value();
  config.tie_word_embeddings = tied;
  // Large enough that every path carries a visible share of the gradient.
  config.initializer_range = 0.3;
  config.attention.type = from_word<AttentionType>(attention).value();
  config.attention.head_dim = 4;
  if (attention == "grouped_differential") {
    config.attention.signal_heads = 6;
    config.attention.noise_heads = 2;
    config.attention.num_key_value_heads = 4;
  } else if (attention == "differential") {
    config.attention.signal_heads = 2;
    config.attention.noise_heads = 2;
    config.attention.num_key_value_heads = 4;
  } else {
    config.attention.num_attention_heads = 4;
    config.attention.num_key_value_heads = 2;
  }
  return config;
}

// Two sequences of nine tokens; each holds two documents.
struct TinyBatch {
  static constexpr std::int64_t kBatch = 2;
  static constexpr std::int64_t kLength = 9;
  OwnedTensor token{DType::i32, {kBatch * kLength}};
  OwnedTensor position{DType::i32, {kBatch * kLength}};
  OwnedTensor first_key{DType::i32, {kBatch * kLength}};
  OwnedTensor target{DType::i32, {kBatch * kLength}};

  explicit TinyBatch(const ModelConfig& config, std::uint64_t seed = 1) {
    const Philox random(seed, RandomPurpose::test, "tiny batch");
    for (std::int64_t row = 0; row < kBatch * kLength; ++row) {
      const std::int64_t t = row % kLength;
      const std::int64_t start = t < 4 ? 0 : 4;
      const auto draw = [&](std::uint64_t index) {
        return static_cast<std::int32_t>(random.bits(index) %
                                         static_cast<std::uint64_t>(config.vocab_size));
      };
      const auto i = static_cast<std::uint64_t>(row);
      token.tensor.data<std::int32_t>()[row] = draw(2 * i);
      target.tensor.data<std::int32_t>()[row] = t == 3 ? kIgnoreTarget : draw(2 * i + 1);
      position.tensor.data<std::int32_t>()[row] = static_cast<std::int32_t>(t - start);
      first_key.tensor.data<std::int32_t>()[row] = static_cast<std::int32_t>(start);
    }
  }

  SequenceBatch view() const {
    return {.batch = kBatch,
            .length = kLength,
            .token = token.tensor,
            .position = position.tensor,
            .first_key = first_key.tensor};
  }
};

// A model with its parameters, on the CPU.
struct TinyModel {
  ModelConfig config;
  Arena arena{Device{}, std::size_t{1} << 20};
  ParameterStore parameters;
  Decoder decoder;

  TinyModel(const ModelConfig& model_config, DType compute, Recompute recompute = Recompute::none,
            std::uint64_t seed = 5)
      : config(model_config),
        parameters(parameter_specs(model_config), compute, 1, true),
        decoder(model_config, parameters, recompute) {
    parameters.initialize(seed);
  }

  Context context() { return {Stream{}, arena}; }

  // Sum of the losses of a batch, times scale; gradients accumulate.
  double forward_backward(const TinyBatch& batch, double scale = 1.0) {
    const OwnedTensor loss(accumulate_type(parameters.compute_type()),
                           {TinyBatch::kBatch * TinyBatch::kLength});
    decoder.forward_backward(context(), batch.view(), batch.target.tensor, scale, loss.tensor);
    return scale * sum(loss.tensor);
  }

  double loss(const TinyBatch& batch) {
    const OwnedTensor loss(accumulate_type(parameters.compute_type()),
                           {TinyBatch::kBatch * TinyBatch::kLength});
    decoder.forward_loss(context(), batch.view(), batch.target.tensor, loss.tensor);
    return sum(loss.tensor);
  }

  static double sum(const Tensor& x) {
    double total = 0;
    for (std::int64_t i = 0; i < x.elements(); ++i) {
      total += x.dtype() == DType::f64 ? x.data<double>()[i] : x.data<float>()[i];
    }
    return total;
  }
};

}  // namespace gda::test

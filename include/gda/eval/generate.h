// Continuing a text, token by token.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "gda/model/decoder.h"

namespace gda {

struct SamplingOptions {
  double temperature = 1;  // logits are divided by it; 0: always the likeliest token
  std::int64_t top_k = 0;  // only the k likeliest tokens; 0: all
  double top_p = 1;  // only the likeliest tokens whose probabilities reach p (nucleus sampling)
  std::uint64_t seed = 0;  // the same seed, prompt and model give the same text
};

// Draws a token from logits [V]; `index` numbers the draws of one text. Temperature is applied
// first, then top_k, then top_p. Ties go to the smaller id.
std::int32_t sample_token(std::span<const double> logits, const SamplingOptions& options,
                          std::uint64_t index);

struct GenerateOptions {
  SamplingOptions sampling;
  std::int64_t max_tokens = 128;           // new tokens at most
  std::optional<std::int32_t> stop_token;  // ends the text and is not part of it
};

// What generation asks of a model.
struct TextModel {
  const ModelConfig& config;
  DType statistics_type;  // of logits
  // Forgets what it has seen, and makes room for so many tokens.
  std::function<void(std::int64_t capacity)> begin;
  // Takes tokens [n] i32 behind those it has seen, and gives the logits [1, V] of the one that
  // follows.
  std::function<void(const Tensor& token, const Tensor& logits)> next;
};

// The tokens that follow the prompt, which must not be empty; each is given to `on_token` (if any)
// as it comes. Ends early where the model's positions do. Where several ranks compute one model
// together, they all call it with the same arguments.
std::vector<std::int32_t> generate(const Context& context, const TextModel& model,
                                   std::span<const std::int32_t> prompt,
                                   const GenerateOptions& options,
                                   const std::function<void(std::int32_t)>& on_token = {});
// Of a model that this rank has whole.
std::vector<std::int32_t> generate(const Context& context, Decoder& decoder,
                                   std::span<const std::int32_t> prompt,
                                   const GenerateOptions& options,
                                   const std::function<void(std::int32_t)>& on_token = {});

}  // namespace gda

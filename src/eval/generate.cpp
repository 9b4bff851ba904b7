#include "gda/eval/generate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "gda/core/error.h"
#include "gda/core/philox.h"
#include "gda/core/stream.h"
#include "gda/core/text.h"

namespace gda {
namespace {

std::vector<double> read_row(const Stream& stream, const Tensor& logits) {
  const HostCopy host(stream, logits);
  std::vector<double> row(static_cast<std::size_t>(logits.elements()));
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = host[static_cast<std::int64_t>(i)];
  return row;
}

Tensor copy_tokens(const Context& context, std::span<const std::int32_t> tokens) {
  const Tensor tensor =
      context.arena.allocate(DType::i32, {static_cast<std::int64_t>(tokens.size())});
  fill_from_host(context.stream, tensor, [&](const Tensor& host) {
    std::copy(tokens.begin(), tokens.end(), host.data<std::int32_t>());
  });
  return tensor;
}

}  // namespace

std::int32_t sample_token(std::span<const double> logits, const SamplingOptions& options,
                          std::uint64_t index) {
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto likelier = [&](std::int32_t a, std::int32_t b) {
    const double x = logits[static_cast<std::size_t>(a)];
    const double y = logits[static_cast<std::size_t>(b)];
    return x > y || (x == y && a < b);
  };
  if (options.temperature <= 0) return *std::min_element(order.begin(), order.end(), likelier);
  auto kept = order.size();
  if (options.top_k > 0) kept = std::min(kept, static_cast<std::size_t>(options.top_k));
  if (kept < order.size()) {
    std::nth_element(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept) - 1,
                     order.end(), likelier);
    order.resize(kept);
  }
  std::sort(order.begin(), order.end(), likelier);

  const double largest = logits[static_cast<std::size_t>(order.front())];
  std::vector<double> cumulative(order.size());
  double total = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const double logit = logits[static_cast<std::size_t>(order[i])];
    total += std::exp((logit - largest) / options.temperature);
    cumulative[i] = total;
  }
  if (options.top_p < 1) {
    const auto last = std::lower_bound(cumulative.begin(), cumulative.end(), options.top_p * total);
    cumulative.resize(static_cast<std::size_t>(last - cumulative.begin()) + 1);
    total = cumulative.back();
  }
  const double drawn = total * Philox(options.seed, RandomPurpose::sampling).uniform(index);
  const auto chosen = std::upper_bound(cumulative.begin(), cumulative.end() - 1, drawn);
  return order[static_cast<std::size_t>(chosen - cumulative.begin())];
}

std::vector<std::int32_t> generate(const Context& context, const TextModel& model,
                                   std::span<const std::int32_t> prompt,
                                   const GenerateOptions& options,
                                   const std::function<void(std::int32_t)>& on_token) {
  const ModelConfig& config = model.config;
  const auto prompt_length = static_cast<std::int64_t>(prompt.size());
  require<ConfigError>(prompt_length > 0, "the prompt has no tokens");
  require<ConfigError>(prompt_length < config.max_position_embeddings,
                       "the prompt has {}; the model has {}", counted(prompt_length, "token"),
                       counted(config.max_position_embeddings, "position"));
  const std::int64_t capacity =
      std::min(prompt_length + options.max_tokens, config.max_position_embeddings);
  const ArenaScope scope(context.arena);
  model.begin(capacity);
  const Tensor logits = context.arena.allocate(model.statistics_type, {1, config.vocab_size});
  std::vector<std::int32_t> generated;
  std::vector<std::int32_t> next(prompt.begin(), prompt.end());
  std::int64_t seen = 0;
  while (static_cast<std::int64_t>(generated.size()) < options.max_tokens &&
         seen + static_cast<std::int64_t>(next.size()) <= capacity) {
    {
      const ArenaScope step(context.arena);
      model.next(copy_tokens(context, next), logits);
    }
    seen += static_cast<std::int64_t>(next.size());
    const std::int32_t token =
        sample_token(read_row(context.stream, logits), options.sampling, generated.size());
    if (options.stop_token == token) break;
    generated.push_back(token);
    if (on_token) on_token(token);
    next.assign(1, token);
  }
  return generated;
}

std::vector<std::int32_t> generate(const Context& context, Decoder& decoder,
                                   std::span<const std::int32_t> prompt,
                                   const GenerateOptions& options,
                                   const std::function<void(std::int32_t)>& on_token) {
  std::optional<KvCache> cache;
  const TextModel model{.config = decoder.config(),
                        .statistics_type = decoder.statistics_type(),
                        .begin =
                            [&](std::int64_t capacity) {
                              cache.emplace(decoder.config(), decoder.compute_type(), capacity,
                                            context.device());
                            },
                        .next =
                            [&](const Tensor& token, const Tensor& logits) {
                              decoder.forward_cached(context, token, *cache, logits);
                            }};
  return generate(context, model, prompt, options, on_token);
}

}  // namespace gda

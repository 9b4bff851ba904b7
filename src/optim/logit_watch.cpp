#include "gda/optim/logit_watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "gda/core/error.h"
#include "gda/core/stream.h"
#include "gda/model/attention_shape.h"

namespace gda {
namespace {

template <class T>
void fill_lowest(const Tensor& tensor) {
  std::fill_n(tensor.data<T>(), tensor.elements(), -std::numeric_limits<T>::infinity());
}

bool is_trained(const std::vector<ParameterSpec>& specs, const std::string& name) {
  const auto found = std::find_if(specs.begin(), specs.end(),
                                  [&](const ParameterSpec& spec) { return spec.name == name; });
  require<OpError>(found != specs.end(), "[qk_clip] there is no parameter {}", name);
  return found->trainable;
}

std::string query_name(std::int64_t layer) {
  return fmt::format("model.layers.{}.self_attn.q_proj.weight", layer);
}

std::string key_name(std::int64_t layer) {
  return fmt::format("model.layers.{}.self_attn.k_proj.weight", layer);
}

IndexRange all_heads(const ModelConfig& model) {
  return {0, attention_shape(model.attention).query_heads()};
}

}  // namespace

LogitWatch::LogitWatch(const QkClipConfig& config, const ModelConfig& model,
                       const ParameterStore& parameters, Communicator& replicas)
    : LogitWatch(config, model, parameters.specs(), parameters, replicas, all_heads(model)) {}

LogitWatch::LogitWatch(const QkClipConfig& config, const ModelConfig& model,
                       const std::vector<ParameterSpec>& specs, const ParameterStore& parameters,
                       Communicator& world, const IndexRange& heads)
    : config_(config),
      shape_(attention_shape(model.attention)),
      parameters_(parameters),
      world_(world),
      heads_(heads),
      logits_(accumulate_type(parameters.compute_type()), {model.num_hidden_layers, heads.size()},
              parameters.all().front().value.device()),
      all_(DType::f64, {model.num_hidden_layers, shape_.query_heads()}) {
  const std::int64_t count = shape_.query_heads();
  require<OpError>(heads.begin >= 0 && heads.size() > 0 && heads.end <= count,
                   "[qk_clip] expected some of {} query heads, got {} to {}", count, heads.begin,
                   heads.end - 1);
  for (std::int64_t layer = 0; layer < model.num_hidden_layers; ++layer) {
    clips_.push_back(is_trained(specs, query_name(layer)) && is_trained(specs, key_name(layer)));
  }
}

void LogitWatch::begin(const Stream& stream) {
  fill_from_host(stream, logits_.tensor, [](const Tensor& host) {
    host.dtype() == DType::f64 ? fill_lowest<double>(host) : fill_lowest<float>(host);
  });
}

std::vector<HeadFactors> LogitWatch::end(const Stream& stream) {
  const std::int64_t layers = all_.tensor.dim(0);
  const std::int64_t heads = all_.tensor.dim(1);
  auto* all = all_.tensor.data<double>();
  fill_lowest<double>(all_.tensor);
  {
    const HostCopy host(stream, logits_.tensor);
    for (std::int64_t i = 0; i < logits_.tensor.elements(); ++i) {
      all[i / heads_.size() * heads + heads_.begin + i % heads_.size()] = host[i];
    }
  }
  world_.all_reduce(all_.tensor, Reduction::max).wait();
  seen_.largest.resize(static_cast<std::size_t>(layers), -std::numeric_limits<double>::infinity());
  std::vector<HeadFactors> clips;
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    const std::vector<double> logits(all + layer * heads, all + (layer + 1) * heads);
    double& largest = seen_.largest[static_cast<std::size_t>(layer)];
    largest = std::max(largest, *std::max_element(logits.begin(), logits.end()));
    clip_layer(layer, logits, clips);
  }
  return clips;
}

void LogitWatch::clip_layer(std::int64_t layer, const std::vector<double>& logits,
                            std::vector<HeadFactors>& clips) {
  if (!clips_[static_cast<std::size_t>(layer)]) return;
  QkClipFactors factors =
      qk_clip_factors(shape_.key_head, shape_.key_heads, logits, config_.threshold);
  if (factors.empty()) return;
  for (std::size_t head = 0; head < logits.size(); ++head) {
    const auto its_key = static_cast<std::size_t>(shape_.key_head[head]);
    if (factors.query[head] < 1 || factors.key[its_key] < 1) ++seen_.clipped_heads;
  }
  const Parameter* query = parameters_.find(query_name(layer));
  if (query == nullptr) return;  // another stage's
  const Parameter& key = parameters_.at(key_name(layer));
  clips.push_back({query, shape_.head_dim, std::move(factors.query)});
  clips.push_back({&key, shape_.head_dim, std::move(factors.key)});
}

std::unique_ptr<LogitWatch> make_logit_watch(const std::optional<QkClipConfig>& config,
                                             const ModelConfig& model,
                                             const std::vector<ParameterSpec>& specs,
                                             const ParameterStore& parameters, Communicator& world,
                                             const IndexRange& heads) {
  if (!config) return nullptr;
  return std::make_unique<LogitWatch>(*config, model, specs, parameters, world, heads);
}

std::unique_ptr<LogitWatch> make_logit_watch(const std::optional<QkClipConfig>& config,
                                             const ModelConfig& model,
                                             const ParameterStore& parameters,
                                             Communicator& replicas) {
  if (!config) return nullptr;
  return std::make_unique<LogitWatch>(*config, model, parameters, replicas);
}

}  // namespace gda

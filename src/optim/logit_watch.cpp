#include "gda/optim/logit_watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "gda/core/stream.h"
#include "gda/model/attention_shape.h"

namespace gda {
namespace {

template <class T>
void fill_lowest(const Tensor& tensor) {
  std::fill_n(tensor.data<T>(), tensor.elements(), -std::numeric_limits<T>::infinity());
}

}  // namespace

LogitWatch::LogitWatch(const QkClipConfig& config, const ModelConfig& model,
                       const ParameterStore& parameters, Communicator& replicas)
    : config_(config),
      shape_(attention_shape(model.attention)),
      parameters_(parameters),
      replicas_(replicas),
      logits_(accumulate_type(parameters.compute_type()),
              {model.num_hidden_layers, shape_.query_heads()},
              parameters.all().front().value.device()),
      all_(DType::f64, logits_.tensor.shape()) {}

void LogitWatch::begin(const Stream& stream) {
  fill_from_host(stream, logits_.tensor, [](const Tensor& host) {
    host.dtype() == DType::f64 ? fill_lowest<double>(host) : fill_lowest<float>(host);
  });
}

std::vector<HeadFactors> LogitWatch::end(const Stream& stream) {
  const std::int64_t layers = all_.tensor.dim(0);
  const std::int64_t heads = all_.tensor.dim(1);
  auto* all = all_.tensor.data<double>();
  {
    const HostCopy host(stream, logits_.tensor);
    for (std::int64_t i = 0; i < layers * heads; ++i) all[i] = host[i];
  }
  replicas_.all_reduce(all_.tensor, Reduction::max).wait();
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
  const std::string prefix = fmt::format("model.layers.{}.self_attn.", layer);
  const Parameter& query = parameters_.at(prefix + "q_proj.weight");
  const Parameter& key = parameters_.at(prefix + "k_proj.weight");
  if (!query.spec.trainable || !key.spec.trainable) return;
  QkClipFactors factors =
      qk_clip_factors(shape_.key_head, shape_.key_heads, logits, config_.threshold);
  if (factors.empty()) return;
  for (std::size_t head = 0; head < logits.size(); ++head) {
    const auto its_key = static_cast<std::size_t>(shape_.key_head[head]);
    if (factors.query[head] < 1 || factors.key[its_key] < 1) ++seen_.clipped_heads;
  }
  clips.push_back({&query, shape_.head_dim, std::move(factors.query)});
  clips.push_back({&key, shape_.head_dim, std::move(factors.key)});
}

std::unique_ptr<LogitWatch> make_logit_watch(const std::optional<QkClipConfig>& config,
                                             const ModelConfig& model,
                                             const ParameterStore& parameters,
                                             Communicator& replicas) {
  if (!config) return nullptr;
  return std::make_unique<LogitWatch>(*config, model, parameters, replicas);
}

}  // namespace gda

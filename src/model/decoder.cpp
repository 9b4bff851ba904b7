#include "gda/model/decoder.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "gda/core/error.h"
#include "gda/core/stream.h"
#include "gda/core/text.h"
#include "gda/ops/rope.h"
#include "model/decoder_layer.h"
#include "model/growth_masks.h"
#include "model/linear.h"
#include "model/stage_buckets.h"

namespace gda {
namespace {

std::string_view head_name(const ModelConfig& config) {
  return config.tie_word_embeddings ? kEmbeddingName : kHeadName;
}

}  // namespace

SequenceBatch single_document(const Context& context, const Tensor& token, std::int64_t begin) {
  const std::int64_t length = token.dim(0);
  const Tensor position = context.arena.allocate(DType::i32, {length});
  fill_from_host(context.stream, position, [&](const Tensor& host) {
    std::iota(host.data<std::int32_t>(), host.data<std::int32_t>() + length,
              static_cast<std::int32_t>(begin));
  });
  return {.batch = 1, .length = length, .token = token, .position = position, .first_key = {}};
}

Decoder::Decoder(const ModelConfig& config, const ParameterStore& parameters, Recompute recompute,
                 LinearCrossEntropyOptions loss_options)
    : Decoder(config, parameters.specs(), {.stage = whole_model(config)}, parameters, recompute,
              loss_options) {}

Decoder::Decoder(const ModelConfig& config, const std::vector<ParameterSpec>& specs,
                 const Placement& placement, const ParameterStore& parameters, Recompute recompute,
                 LinearCrossEntropyOptions loss_options, const StageGroups&)
    : config_(config),
      stage_(placement.stage),
      parameters_(&parameters),
      recompute_(recompute),
      loss_options_(loss_options) {
  config_.validate();
  const IndexRange& layers = stage_.layers;
  require<ConfigError>(
      layers.begin >= 0 && layers.size() > 0 && layers.end <= config_.num_hidden_layers,
      "decoder: a stage of layers [{}, {}) of {}; expected at least one layer", layers.begin,
      layers.end, config_.num_hidden_layers);
  require<ConfigError>(placement.tensor_size == 1,
                       "decoder: a part of {} tensor-parallel ranks, whose partial sums are not "
                       "exchanged; expected 1",
                       placement.tensor_size);
  const LayerPart part = layer_part(config_, placement);
  for (std::int64_t layer = layers.begin; layer < layers.end; ++layer) {
    layers_.emplace_back(config_, part, parameters, layer);
  }
  if (stage_.has_embedding) embedding_ = parameters.at(kEmbeddingName).weight();
  if (stage_.has_head) {
    norm_ = parameters.at(kFinalNormName).weight();
    head_ = std::make_unique<Linear>(parameters,
                                     std::vector<std::string>{std::string(head_name(config_))});
  }
  buckets_ = std::make_unique<StageBuckets>(config_, stage_, parameters);
  lowest_trained_layer_ = lowest_trained_layer(config_, specs);
  trains_embedding_ = std::any_of(specs.begin(), specs.end(), [](const ParameterSpec& spec) {
    return spec.role == Role::embedding && spec.trainable;
  });
  const Device device = parameters.all().front().value.device();
  rope_table_ =
      make_rope_table(config_.rope.theta, config_.rope.scaling, config_.max_position_embeddings,
                      config_.attention.head_dim, statistics_type(), device);
  masks_ = std::make_unique<GrowthMasks>(config_, part, statistics_type(), device);
}

Decoder::~Decoder() = default;
Decoder::Decoder(Decoder&&) noexcept = default;

void Decoder::set_growth(const GrowthMask& mask, double m) {
  mask.validate(config_);
  require<OpError>(m >= 0 && m <= 1, "[set_growth] expected a mask value in [0, 1], got {}", m);
  masks_->set(mask, m);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    layers_[i].set_masks(masks_->layer(stage_.layers.begin + static_cast<std::int64_t>(i)));
  }
}

void Decoder::set_growth_at(const GrowthState& growth, std::int64_t step) {
  set_growth(growth.ramp ? growth.ramp->mask : GrowthMask{}, growth.mask_at(step));
}

void Decoder::check_whole(std::string_view op) const {
  require<OpError>(stage_ == whole_model(config_),
                   "[{}] expected the whole model, this is a stage of it: layers [{}, {}) of {}",
                   op, stage_.layers.begin, stage_.layers.end, config_.num_hidden_layers);
}

void Decoder::forward_backward(const Context& context, const SequenceBatch& batch,
                               const Tensor& target, double scale, const Tensor& loss) {
  check_whole("forward_backward");
  ForwardState state = forward(context, context.arena, batch, {}, {});
  backward_from_loss(context, std::move(state), target, scale, loss, {});
}

void Decoder::forward_loss(const Context& context, const SequenceBatch& batch, const Tensor& target,
                           const Tensor& loss) {
  check_whole("forward_loss");
  const ArenaScope scope(context.arena);
  loss_of(context, infer(context, batch, {}), target, loss);
}

void Decoder::forward_logits(const Context& context, const SequenceBatch& batch,
                             const Tensor& logits) {
  check_whole("forward_logits");
  const ArenaScope scope(context.arena);
  logits_of(context, infer(context, batch, {}), logits);
}

void Decoder::forward_cached(const Context& context, const Tensor& token, KvCache& cache,
                             const Tensor& logits) {
  check_whole("forward_cached");
  const std::int64_t rows = token.dim(0);
  require<OpError>(cache.length() + rows <= cache.capacity(),
                   "[forward_cached] the cache holds {}, it has {} and {} more came",
                   counted(cache.capacity(), "token"), cache.length(), rows);
  require<OpError>(cache.length() + rows <= config_.max_position_embeddings,
                   "[forward_cached] the model has {}, of which {} are used and {} more came",
                   counted(config_.max_position_embeddings, "position"), cache.length(), rows);
  const ArenaScope scope(context.arena);
  const SequenceBatch batch = single_document(context, token, cache.length());
  logits_of(context, infer(context, batch, {}, &cache).rows(rows - 1, 1), logits);
}

std::vector<double> Decoder::lambdas(const Context& context) const {
  if (!layers_.front().attention().has_lambda()) return {};
  const ArenaScope scope(context.arena);
  const auto count = static_cast<std::int64_t>(layers_.size());
  const Tensor lambda = context.arena.allocate(statistics_type(), {count});
  for (std::int64_t i = 0; i < count; ++i) {
    layers_[static_cast<std::size_t>(i)].attention().lambda(context, lambda.rows(i, 1));
  }
  const HostCopy host(context.stream, lambda);
  std::vector<double> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(host[i]);
  return values;
}

}  // namespace gda

#include "gda/model/decoder.h"

#include <algorithm>
#include <utility>

#include "gda/core/error.h"
#include "gda/core/stream.h"
#include "gda/model/layer_part.h"
#include "gda/ops/rope.h"
#include "model/decoder_layer.h"
#include "model/growth_masks.h"
#include "model/layer_groups.h"
#include "model/linear.h"
#include "model/stage_buckets.h"

namespace gda {
namespace {

std::string_view head_name(const ModelConfig& config) {
  return config.tie_word_embeddings ? kEmbeddingName : kHeadName;
}

}  // namespace

Decoder::Decoder(const ModelConfig& config, const ParameterStore& parameters, Recompute recompute,
                 LinearCrossEntropyOptions loss_options)
    : Decoder(config, parameters.specs(), {.stage = whole_model(config)}, parameters, recompute,
              std::move(loss_options)) {}

Decoder::Decoder(const ModelConfig& config, const std::vector<ParameterSpec>& specs,
                 const Placement& placement, const ParameterStore& parameters, Recompute recompute,
                 LinearCrossEntropyOptions loss_options, const StageGroups& groups)
    : config_(config),
      stage_(placement.stage),
      parameters_(&parameters),
      recompute_(recompute),
      loss_options_(std::move(loss_options)) {
  config_.validate();
  const IndexRange& layers = stage_.layers;
  require<ConfigError>(
      layers.begin >= 0 && layers.size() > 0 && layers.end <= config_.num_hidden_layers,
      "decoder: a stage of layers [{}, {}) of {}; expected at least one layer", layers.begin,
      layers.end, config_.num_hidden_layers);
  const LayerPart part = layer_part(config_, placement);
  const LayerGroups layer_groups = cut_over(placement, groups, part);
  for (std::int64_t layer = layers.begin; layer < layers.end; ++layer) {
    layers_.emplace_back(config_, part, parameters, layer, layer_groups);
  }
  if (stage_.has_embedding) embedding_ = parameters.at(kEmbeddingName).weight();
  if (stage_.has_head) {
    norm_ = parameters.at(kFinalNormName).weight();
    head_ = std::make_unique<Linear>(
        parameters, std::vector<std::string>{std::string(head_name(config_))}, tensor_);
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

LayerGroups Decoder::cut_over(const Placement& placement, const StageGroups& groups,
                              const LayerPart& part) {
  const int ranks = groups.tensor != nullptr ? groups.tensor->size() : 1;
  const int rank = groups.tensor != nullptr ? groups.tensor->rank() : 0;
  require<ConfigError>(placement.tensor_size == ranks && placement.tensor == rank,
                       "decoder: tensor coordinate {} of {}, with a group in which this is rank {} "
                       "of {}; expected the same",
                       placement.tensor, placement.tensor_size, rank, ranks);
  if (ranks > 1) {
    tensor_ = groups.tensor;
    for (int i = 0; i < ranks; ++i) {
      vocabularies_.push_back(vocabulary_part(config_.vocab_size, i, ranks));
    }
    vocabulary_ = {.first = vocabularies_[static_cast<std::size_t>(rank)].begin,
                   .total = config_.vocab_size};
  }
  heads_ = part.attention;
  LayerGroups result{.tensor = tensor_, .context = nullptr, .cut = {}};
  if (groups.context != nullptr && groups.context->size() > 1) {
    cut_ = gda::context_cut(config_, groups.method, groups.context->rank(), groups.context->size(),
                            ranks);
    result.context = groups.context;
    result.cut = cut_;
  }
  const std::int64_t shares = result.exchanges_heads() ? cut_.size : 1;
  const std::int64_t place = rank * shares + (shares > 1 ? cut_.rank : 0);
  const std::int64_t count = heads_.query_heads() / shares;
  query_heads_ = {place * count, (place + 1) * count};
  return result;
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

#include "gda/model/staged_model.h"

#include <algorithm>

#include "gda/core/error.h"
#include "gda/core/stream.h"
#include "gda/core/text.h"

namespace gda {
namespace {

int size_of_group(const Communicator* group) {
  return group == nullptr ? 1 : group->size();
}

}  // namespace

StagedModel::StagedModel(const ModelConfig& config, const std::vector<ParameterSpec>& specs,
                         const std::vector<Placement>& placements, const ParameterStore& parameters,
                         const ModelGroups& groups, Recompute recompute,
                         const LinearCrossEntropyOptions& loss_options)
    : groups_(groups) {
  require<OpError>(!placements.empty(), "[staged_model] expected a stage, got {}", "none");
  if (size_of_group(groups_.pipeline) == 1) groups_.pipeline = nullptr;
  require<OpError>(groups_.pipeline != nullptr || placements.size() == 1,
                   "[staged_model] {} on one pipeline rank: expected the whole model in one",
                   counted(static_cast<std::int64_t>(placements.size()), "stage"));
  const int last_rank = size_of_group(groups_.pipeline) - 1;
  const int rank = groups_.pipeline != nullptr ? groups_.pipeline->rank() : 0;
  for (std::size_t i = 0; i < placements.size(); ++i) {
    const Stage& stage = placements[i].stage;
    require<OpError>(stage.has_embedding == (rank == 0 && i == 0) &&
                         stage.has_head == (rank == last_rank && i + 1 == placements.size()),
                     "[staged_model] chunk {} of {} on pipeline rank {} of {} has {} embedding and "
                     "{} head",
                     i, placements.size(), rank, last_rank + 1, stage.has_embedding ? "the" : "no",
                     stage.has_head ? "the" : "no");
  }
  for (const Placement& placement : placements) {
    chunks_.emplace_back(config, specs, placement, parameters, recompute, loss_options,
                         groups.stage);
  }
}

bool StagedModel::speaks_for_losses() const {
  const Communicator* tensor = groups_.stage.tensor;
  return has_head() && (tensor == nullptr || tensor->is_root());
}

bool StagedModel::shares_stages() const {
  return size_of_group(groups_.stage.tensor) > 1 || size_of_group(groups_.stage.context) > 1;
}

int StagedModel::rank_before() const {
  const int size = groups_.pipeline->size();
  return (groups_.pipeline->rank() + size - 1) % size;
}

int StagedModel::rank_behind() const {
  return (groups_.pipeline->rank() + 1) % groups_.pipeline->size();
}

Shape StagedModel::stream_shape(std::int64_t rows) const {
  return {rows / size_of_group(groups_.stage.tensor), config().hidden_size};
}

void StagedModel::set_growth_at(const GrowthState& growth, std::int64_t step) {
  for (Decoder& chunk : chunks_) chunk.set_growth_at(growth, step);
}

void StagedModel::set_hooks(const BucketHooks& hooks) {
  for (Decoder& chunk : chunks_) chunk.set_hooks(hooks);
}

Tensor StagedModel::infer(const Context& context, const SequenceBatch& batch, const Shape& shape,
                          std::vector<KvCache>* caches) const {
  const bool is_plan = context.arena.is_plan();
  Tensor stream;
  for (std::size_t i = 0; i < chunks_.size(); ++i) {
    if (!is_first(i)) {
      stream = context.arena.allocate(compute_type(), shape);
      if (!is_plan) groups_.pipeline->receive(stream, rank_before()).wait();
    }
    KvCache* cache = caches == nullptr ? nullptr : &(*caches)[i];
    stream = chunks_[i].infer(context, batch, is_first(i) ? Tensor() : stream, cache);
    if (!is_last(i) && !is_plan) groups_.pipeline->send(stream, rank_behind()).wait();
  }
  return stream;
}

void StagedModel::forward_loss(const Context& context, const SequenceBatch& batch,
                               const Tensor& target, const Tensor& loss) const {
  const ArenaScope scope(context.arena);
  const Tensor stream = infer(context, batch, stream_shape(target.dim(0)), nullptr);
  if (has_head()) chunks_.back().loss_of(context, stream, target, loss);
}

std::vector<double> StagedModel::lambdas(const Context& context) const {
  const auto layers = static_cast<std::size_t>(config().num_hidden_layers);
  std::vector<double> all(layers);
  for (const Decoder& chunk : chunks_) {
    const std::vector<double> here = chunk.lambdas(context);
    if (here.empty()) return {};
    std::copy(here.begin(), here.end(), all.begin() + chunk.stage().layers.begin);
  }
  if (groups_.pipeline == nullptr) return all;
  // (one term of each sum is not 0)
  const Tensor sums(all.data(), DType::f64, {config().num_hidden_layers});
  groups_.pipeline->all_reduce(sums, Reduction::sum).wait();
  return all;
}

void StagedModel::begin_text(std::int64_t capacity) {
  caches_.clear();
  for (const Decoder& chunk : chunks_) caches_.push_back(chunk.make_cache(capacity));
}

void StagedModel::continue_text(const Context& context, const Tensor& token, const Tensor& logits) {
  const std::int64_t rows = token.dim(0);
  const KvCache& cache = caches_.front();
  const std::int64_t length = cache.length();
  require<OpError>(length + rows <= cache.capacity(),
                   "[continue_text] there is room for {}, the text has {} and {} more came",
                   counted(cache.capacity(), "token"), length, rows);
  require<OpError>(length + rows <= config().max_position_embeddings,
                   "[continue_text] the model has {}, of which {} are used and {} more came",
                   counted(config().max_position_embeddings, "position"), length, rows);
  const ArenaScope scope(context.arena);
  const SequenceBatch batch = single_document(context, token, length);
  const Tensor stream = infer(context, batch, {rows, config().hidden_size}, &caches_);
  if (has_head()) chunks_.back().logits_of(context, stream.rows(rows - 1, 1), logits);
  if (groups_.pipeline != nullptr) {
    groups_.pipeline->broadcast(logits, groups_.pipeline->size() - 1).wait();
  }
}

}  // namespace gda

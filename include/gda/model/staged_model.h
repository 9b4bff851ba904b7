// The stages of a model that a rank computes, and the passes that ranks make together through all
// of it.
//
// With P pipeline ranks and S stages, stage s is on rank s mod P: chunk s / P of that rank. Between
// ranks goes the residual stream [n, D], n as decoder.h has it. Everything here that makes a pass
// is collective over the ranks of the pipeline, and of the tensor and context groups of each stage.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "gda/dist/communicator.h"
#include "gda/model/decoder.h"

namespace gda {

struct ModelGroups {
  Communicator* pipeline = nullptr;  // null: all stages are here
  StageGroups stage;                 // of the ranks that compute a stage together
};

class StagedModel {
 public:
  // `placements`: of this rank's chunks, in forward order. `parameters` holds
  // place(specs, placements). All must outlive it. OpError unless the embedding is in the first
  // chunk of the first pipeline rank alone, and the head in the last chunk of the last one.
  StagedModel(const ModelConfig& config, const std::vector<ParameterSpec>& specs,
              const std::vector<Placement>& placements, const ParameterStore& parameters,
              const ModelGroups& groups, Recompute recompute = Recompute::none,
              const LinearCrossEntropyOptions& loss_options = {});

  const ModelConfig& config() const { return chunks_.front().config(); }
  DType compute_type() const { return chunks_.front().compute_type(); }
  DType statistics_type() const { return chunks_.front().statistics_type(); }

  const std::vector<Decoder>& chunks() const { return chunks_; }
  Decoder& chunk(std::size_t index) { return chunks_[index]; }
  // Whether this rank computes losses.
  bool has_head() const { return chunks_.back().stage().has_head; }
  // Whether of the ranks that compute the same losses this one speaks.
  bool speaks_for_losses() const;
  // Whether ranks exchange something within a stage.
  bool shares_stages() const;
  // Null where all stages are here.
  Communicator* pipeline() const { return groups_.pipeline; }
  // The pipeline ranks that have the stages in front of and behind each stage of this one.
  int rank_before() const;
  int rank_behind() const;
  bool is_first(std::size_t chunk) const { return chunks_[chunk].stage().has_embedding; }
  bool is_last(std::size_t chunk) const { return chunks_[chunk].stage().has_head; }
  // [n, D] of a batch whose local rows are these.
  Shape stream_shape(std::int64_t rows) const;

  // Of all chunks (decoder.h).
  void set_growth_at(const GrowthState& growth, std::int64_t step);
  void set_hooks(const BucketHooks& hooks);

  // Loss of each of the local rows, on the ranks that have the head. loss [rows] accumulate type.
  void forward_loss(const Context& context, const SequenceBatch& batch, const Tensor& target,
                    const Tensor& loss) const;
  // lambda of every layer of the model, on every rank; empty for types without it.
  std::vector<double> lambdas(const Context& context) const;

  // Generation: forgets the text so far and makes room for so many tokens.
  void begin_text(std::int64_t capacity);
  // Takes tokens [n] i32 behind those of the text, the same on every rank, and gives the logits
  // [1, V] (accumulate type) of the one that follows, on every rank.
  void continue_text(const Context& context, const Tensor& token, const Tensor& logits);
  // Gives the memory back.
  void end_text() { caches_.clear(); }

 private:
  // The stream behind the last layer of the last chunk, which runs through the stages one after
  // another. Without a stage here behind it, what this rank's last one has sent.
  Tensor infer(const Context& context, const SequenceBatch& batch, const Shape& shape,
               std::vector<KvCache>* caches) const;

  std::vector<Decoder> chunks_;
  ModelGroups groups_;
  std::vector<KvCache> caches_;
};

}  // namespace gda

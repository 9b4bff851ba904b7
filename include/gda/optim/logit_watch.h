// Schedule of QK-clip's checks of attention's logits, and the head factors that follow from them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "gda/core/memory.h"
#include "gda/dist/communicator.h"
#include "gda/model/model_config.h"
#include "gda/model/parameters.h"
#include "gda/ops/attention.h"
#include "gda/optim/optimizer_config.h"
#include "gda/optim/qk_clip.h"

namespace gda {

struct SeenLogits {
  std::vector<double> largest;  // of each layer; empty if nobody looked
  // Query heads of all layers that were scaled down, or whose key head was; once for each update.
  std::int64_t clipped_heads = 0;
};

// In an update that is due, begin() comes before the passes, which are given logits()
// (SequenceBatch::max_logit), and end() behind them, on every rank. What a rank's passes do not
// see, other layers and other heads, others do: the largest of all ranks decides.
class LogitWatch {
 public:
  // `specs` are those of the whole model, `parameters` what this rank holds of it. `heads`: the
  // query heads of attention's core here, among all of the model. `parameters` and `world` must
  // outlive it.
  LogitWatch(const QkClipConfig& config, const ModelConfig& model,
             const std::vector<ParameterSpec>& specs, const ParameterStore& parameters,
             Communicator& world, const IndexRange& heads);
  // Of ranks that hold the whole model.
  LogitWatch(const QkClipConfig& config, const ModelConfig& model, const ParameterStore& parameters,
             Communicator& replicas);

  // `update`: 1 for the run's first.
  bool is_due(std::int64_t update) const { return update % config_.every_steps == 0; }
  // [layers of the model, query heads here] accumulate type, on the parameters' device.
  const Tensor& logits() const { return logits_.tensor; }
  void begin(const Stream& stream);
  // The largest logits of all ranks' passes, and what the heads' weights have to be multiplied by.
  // Factors are of all heads of a projection, whichever this rank has; of layers that are here.
  // Layers whose q_proj or k_proj is frozen are left as they are. Collective.
  std::vector<HeadFactors> end(const Stream& stream);

  // Findings since the last call.
  SeenLogits take_seen() { return std::exchange(seen_, {}); }

 private:
  void clip_layer(std::int64_t layer, const std::vector<double>& logits,
                  std::vector<HeadFactors>& clips);

  QkClipConfig config_;
  AttentionShape shape_;
  const ParameterStore& parameters_;
  Communicator& world_;
  IndexRange heads_;
  std::vector<bool> clips_;  // of each layer: whether its projections are trained
  OwnedTensor logits_;
  OwnedTensor all_;  // of all heads; f64, on the host
  SeenLogits seen_;
};

// Null without a configuration.
std::unique_ptr<LogitWatch> make_logit_watch(const std::optional<QkClipConfig>& config,
                                             const ModelConfig& model,
                                             const std::vector<ParameterSpec>& specs,
                                             const ParameterStore& parameters, Communicator& world,
                                             const IndexRange& heads);
std::unique_ptr<LogitWatch> make_logit_watch(const std::optional<QkClipConfig>& config,
                                             const ModelConfig& model,
                                             const ParameterStore& parameters,
                                             Communicator& replicas);

}  // namespace gda

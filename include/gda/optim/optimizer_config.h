// The `optimizer` section of a run's configuration.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "gda/config/fields.h"

namespace gda {

// What Muon leaves to AdamW: the embedding, the output projection and all vectors. As published
// (Motif-2-12.7B, arXiv 2511.07464): the rates of Muon, betas of 0.9 and 0.95.
struct AdamWGroupConfig {
  std::optional<double> lr = {};  // at the peak of the schedule; nothing: that of the matrices
  std::vector<double> betas = {0.9, 0.95};
  double eps = 1e-8;
  std::optional<double> weight_decay = {};  // nothing: that of the matrices

  bool operator==(const AdamWGroupConfig&) const = default;

  void fields(FieldVisitor& visit);
};

// Logits of attention are kept below a threshold (qk_clip.h).
struct QkClipConfig {
  double threshold = 100;
  std::int64_t every_steps = 10;

  bool operator==(const QkClipConfig&) const = default;

  void fields(FieldVisitor& visit);
};

enum class OptimizerName : std::uint8_t { adamw, muon };
template <>
inline constexpr auto kWordsOf<OptimizerName> = words("adamw", "muon");

struct OptimizerConfig {
  OptimizerName name = OptimizerName::adamw;
  double lr = 4e-4;                            // at the peak of the schedule
  std::vector<double> betas = {0.9, 0.95};     // adamw: decay rates of the first and second moment
  double eps = 1e-8;                           // adamw: added to the root of the second moment
  double weight_decay = 0.1;                   // of matrices only, times the learning rate
  double grad_clip = 1.0;                      // largest global gradient norm; 0: no clipping
  double momentum = 0.95;                      // muon: decay rate of the momentum
  std::optional<AdamWGroupConfig> adamw = {};  // muon; nothing: as published
  std::optional<QkClipConfig> qk_clip = {};    // nothing: logits are left as they are

  bool operator==(const OptimizerConfig&) const = default;

  void fields(FieldVisitor& visit);
};

}  // namespace gda

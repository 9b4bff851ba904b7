// QK-clip: attention's logits kept below a threshold by the weights that make them (MuonClip, Kimi
// K2, arXiv 2507.20534; with keys that query heads share, the Motif-3 report).
//
// A logit of query head h is q_h . k_{key_head(h)} / sqrt(d), so rows of q_proj that belong to h
// times alpha_h, and rows of k_proj that belong to its key head times beta, multiply it by
// alpha_h beta: RoPE between them is linear, and turns all of a head alike. With tau the threshold,
// S_h the largest logit of head h, n the query heads that share a key head, and
//   gamma_h = min(1, tau / S_h), 1 where S_h <= 0;    gamma = min of gamma_h over these n heads;
//   rho = 1 / (1 + sqrt(n))
// the factors are
//   beta = gamma^rho                  the head that is farthest above decides for the key, and
//   alpha_h = min(1, gamma_h / beta)  each head does what is left for its own.
// Then alpha_h beta S_h <= gamma_h S_h <= tau, and for the head that decides alpha is
// gamma^(1 - rho), the published split. A head that is less far above would come below tau by
// (gamma / gamma_h)^rho with gamma_h^(1 - rho); with gamma_h / beta it comes to tau exactly, and a
// head that is not above, or brought down by beta alone, keeps its rows. No factor is above 1: a
// row that were made larger to keep the logits of such a head would grow with every clip of its
// neighbour's. Shared keys shrink by the smaller power, since n heads' clips meet in them: with
// rho = 1/2 for all they would go to zero. Values are never touched.
#pragma once

#include <cstdint>
#include <vector>

#include "gda/model/parameters.h"
#include "gda/model/region.h"
#include "gda/ops/context.h"

namespace gda {

struct QkClipFactors {
  std::vector<double> query;  // alpha of each query head
  std::vector<double> key;    // beta of each key head

  bool empty() const;  // all are 1
};

// `key_head`: of each query head, the key head that it reads (AttentionShape); every one of
// `key_heads`. `largest`: S of each query head. OpError where one is not finite.
QkClipFactors qk_clip_factors(const std::vector<int>& key_head, std::int64_t key_heads,
                              const std::vector<double>& largest, double threshold);

// Of the heads of one projection.
struct HeadFactors {
  const Parameter* parameter = nullptr;
  std::int64_t head_dim = 0;  // rows of a head
  std::vector<double> factors;
};

// The piece of a projection that a rank owns: elements [offset, offset + n) of the box `region`,
// whose rows are `head_dim` for each head. Multiplies the rows by their head's factor, as
// scale_rows (gda/ops/muon.h) does; `copy` may be empty. Heads of factor 1 keep their bits.
void scale_heads(const Context& context, const std::vector<double>& factors, std::int64_t head_dim,
                 const Region& region, std::int64_t offset, const Tensor& master,
                 const Tensor& copy);

}  // namespace gda

// What the ranks of a context group exchange around attention (gda/model/context_cut.h). In a plan
// nothing is sent.
//
// C ranks share B sequences of T tokens; each has N = B T / C rows. "By token": this rank's rows of
// all columns. "By head": all B T rows, in the order (sequence, token), of this rank's columns.
#pragma once

#include <cstdint>
#include <vector>

#include "gda/dist/communicator.h"
#include "gda/model/context_cut.h"
#include "gda/ops/context.h"

namespace gda {

class ContextExchange {
 public:
  ContextExchange(Communicator& group, const ContextCut& cut) : group_(&group), cut_(cut) {}

  // by_token [N, sum of widths], by_head [B T, sum of widths / C]. A row by token has pieces (q, k,
  // v) of these widths, of which rank c has columns [c width / C, (c+1) width / C); by head, its
  // columns of all pieces are side by side.
  void to_heads(const Context& context, std::int64_t batch, const std::vector<std::int64_t>& widths,
                const Tensor& by_token, const Tensor& by_head) const;
  void to_tokens(const Context& context, std::int64_t batch,
                 const std::vector<std::int64_t>& widths, const Tensor& by_head,
                 const Tensor& by_token) const;

  // Gathers rows [N, W] of all ranks: on their way until arrange() puts them in order, whole
  // [B T, W]. Memory is the context's.
  struct Gathering {
    Tensor parts;  // [C N, W]
    Pending pending;
  };
  Gathering start_gather(const Context& context, const Tensor& rows) const;
  void arrange(const Context& context, std::int64_t batch, const Gathering& gathering,
               const Tensor& whole) const;
  // rows [N, W] = this rank's of the sum of `whole` [B T, W] over the ranks.
  void reduce_scatter(const Context& context, std::int64_t batch, const Tensor& whole,
                      const Tensor& rows) const;

 private:
  // Calls visit(rows of the parts of all ranks, the same rows of the whole sequences), each
  // [B, tokens * W], for each stretch of tokens of each rank.
  template <class Visit>
  void for_each_stretch(std::int64_t batch, const Tensor& parts, const Tensor& whole,
                        const Visit& visit) const;
  // Calls visit(columns of `by_token`, the same of what is sent to or came from a rank).
  template <class Visit>
  void for_each_piece(const std::vector<std::int64_t>& widths, const Tensor& by_token,
                      const Tensor& parts, const Visit& visit) const;

  Communicator* group_;
  ContextCut cut_;
};

}  // namespace gda

// Interface of backends: a table of functions for each, the CPU's and CUDA's.
//
// The list below has every operator once. From it come the declarations gda::cpu::x and
// gda::cuda::x, a table's slots, and the tables (kernels/*/backend.*). A function has the public
// one's type, or takes the named fields of x_kernels.h where there are more than five arguments.
// Types, shapes and devices are checked by the callers in src/ops, token ids by the backend; of
// matmul and the functions of the cross-entropy no extent is 0.
#pragma once

#include <type_traits>

#include "gda/ops/differential.h"
#include "gda/ops/elementwise.h"
#include "gda/ops/embedding.h"
#include "gda/ops/matmul.h"
#include "gda/ops/muon.h"
#include "gda/ops/rope.h"
#include "ops/adamw_kernels.h"
#include "ops/attention_kernels.h"
#include "ops/differential_kernels.h"
#include "ops/dispatch.h"
#include "ops/gated_activation_kernels.h"
#include "ops/linear_cross_entropy_kernels.h"
#include "ops/rms_norm_kernels.h"

namespace gda::ops {

template <class Arguments>
using Takes = void(const Context&, const Arguments&);

#define GDA_OPERATORS(OPERATOR)                                                 \
  OPERATOR(adamw_update, Takes<AdamWUpdate>)                                    \
  OPERATOR(attention_forward, Takes<AttentionForward>)                          \
  OPERATOR(attention_max_logit, Takes<AttentionMaxLogit>)                       \
  OPERATOR(attention_backward, Takes<AttentionBackward>)                        \
  OPERATOR(lambda_forward, decltype(gda::lambda_forward))                       \
  OPERATOR(lambda_backward, decltype(gda::lambda_backward))                     \
  OPERATOR(differential_forward, Takes<DifferentialForward>)                    \
  OPERATOR(differential_backward, Takes<DifferentialBackward>)                  \
  OPERATOR(gated_difference_forward, decltype(gda::gated_difference_forward))   \
  OPERATOR(gated_difference_backward, decltype(gda::gated_difference_backward)) \
  OPERATOR(fill_zero, decltype(gda::fill_zero))                                 \
  OPERATOR(convert, decltype(gda::convert))                                     \
  OPERATOR(stochastic_round, decltype(gda::stochastic_round))                   \
  OPERATOR(add, decltype(gda::add))                                             \
  OPERATOR(scale_columns, decltype(gda::scale_columns))                         \
  OPERATOR(axpby, decltype(gda::axpby))                                         \
  OPERATOR(sum_of_squares, decltype(gda::sum_of_squares))                       \
  OPERATOR(embedding_forward, decltype(gda::embedding_forward))                 \
  OPERATOR(embedding_backward, decltype(gda::embedding_backward))               \
  OPERATOR(swiglu_forward, decltype(gda::swiglu_forward))                       \
  OPERATOR(swiglu_backward, Takes<SwigluBackward>)                              \
  OPERATOR(poly_norm_forward, Takes<PolyNormForward>)                           \
  OPERATOR(poly_norm_backward, Takes<PolyNormBackward>)                         \
  OPERATOR(poly_norm_sums, Takes<PolyNormSums>)                                 \
  OPERATOR(softmax_statistics, Takes<SoftmaxStatistics>)                        \
  OPERATOR(local_targets, Takes<LocalTargets>)                                  \
  OPERATOR(statistics_message, Takes<StatisticsMessage>)                        \
  OPERATOR(cross_entropy_loss, Takes<CrossEntropyLoss>)                         \
  OPERATOR(cross_entropy_gradient, Takes<CrossEntropyGradient>)                 \
  OPERATOR(matmul, decltype(gda::matmul))                                       \
  OPERATOR(bf16_matmul_is_native, bool())                                       \
  OPERATOR(momentum_update, decltype(gda::momentum_update))                     \
  OPERATOR(scale_by_norm, decltype(gda::scale_by_norm))                         \
  OPERATOR(apply_direction, decltype(gda::apply_direction))                     \
  OPERATOR(scale_rows, decltype(gda::scale_rows))                               \
  OPERATOR(rms_norm_forward, Takes<RmsNormForward>)                             \
  OPERATOR(rms_norm_backward, Takes<RmsNormBackward>)                           \
  OPERATOR(rope_forward, decltype(gda::rope_forward))                           \
  OPERATOR(rope_backward, decltype(gda::rope_backward))

// An operator's place in a table. Calling one that is empty is an OpError that says which build
// option is missing.
template <class Signature>
struct Slot;

template <class Result, class... Parameters>
struct Slot<Result(Parameters...)> {
  using Function = Result(Parameters...);

  const char* name;
  Function* function = nullptr;

  Result operator()(Parameters... parameters) const {
    if (function == nullptr) fail_missing(name);
    return function(parameters...);
  }
};

#define GDA_SLOT(NAME, ...) Slot<__VA_ARGS__> NAME{#NAME};
struct Backend {
  GDA_OPERATORS(GDA_SLOT)
};
#undef GDA_SLOT

// The table for a device.
const Backend& backend(const Device& device);

}  // namespace gda::ops

#define GDA_FUNCTION(NAME, ...) decltype(ops::Backend::NAME)::Function NAME;
namespace gda::cpu {
extern const ops::Backend kBackend;
GDA_OPERATORS(GDA_FUNCTION)
}  // namespace gda::cpu

namespace gda::cuda {
extern const ops::Backend kBackend;
GDA_OPERATORS(GDA_FUNCTION)
}  // namespace gda::cuda
#undef GDA_FUNCTION

// A table with every function of the namespace that it is used in.
#define GDA_TABLE_ENTRY(NAME, ...) .NAME = {#NAME, NAME},
#define GDA_TABLE \
  { GDA_OPERATORS(GDA_TABLE_ENTRY) }

// Interface of update rules, AdamW and others, and the pieces of parameters that they work on.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gda/model/parameters.h"
#include "gda/ops/adamw.h"

namespace gda {

struct OptimizerState {
  std::string name;  // as in checkpoints: "exp_avg"
  Tensor tensor;     // [length], accumulate type
};

// The part of one parameter whose state this rank owns: elements [offset, offset + length), in
// row-major order, of the box `parameter->region`. Tensors are [length], accumulate type but
// `value`; a frozen parameter has no gradient and no states.
struct OptimizerPiece {
  const Parameter* parameter = nullptr;
  std::int64_t offset = 0;
  std::int64_t length = 0;
  Tensor gradient;
  Tensor value;   // compute type
  Tensor master;  // the same memory as `value` where their types agree
  std::vector<OptimizerState> states;
  AdamWOrigins origins;  // of its states, for rules that count updates

  const ParameterSpec& spec() const { return parameter->spec; }
  bool has_own_master() const { return master.raw() != value.raw(); }
  // OpError if there is no such state.
  const Tensor& state(std::string_view name) const;
};

struct UpdateStep {
  double lr = 0;
  double gradient_scale = 1;  // multiplies the gradient first: clipping
  std::int64_t update = 1;    // 1 for the run's first
  // Whether the rule rounds the new masters to `value`, in the same pass; otherwise somebody else
  // does it afterwards.
  bool writes_values = true;
};

class UpdateRule {
 public:
  UpdateRule() = default;
  UpdateRule(const UpdateRule&) = delete;
  UpdateRule& operator=(const UpdateRule&) = delete;
  virtual ~UpdateRule() = default;

  // Whether it updates this parameter, if it is the first of an optimizer's rules that does.
  virtual bool takes(const ParameterSpec& spec) const = 0;
  // The states that it keeps of each element. They begin at zero.
  virtual std::vector<std::string> states() const = 0;
  // Updates masters and states of all pieces, which lie in the order of the store's buckets. Their
  // gradients are zeroed afterwards: a rule may use that memory.
  // Collective: every rank of the group calls it with its own pieces.
  virtual void update(const Context& context, const std::vector<OptimizerPiece>& pieces,
                      const UpdateStep& step) = 0;
};

}  // namespace gda

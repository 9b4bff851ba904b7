// Connection between the passes of a model and the communication of its parameters' buckets.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "gda/model/staged_model.h"
#include "gda/optim/gradient_buckets.h"
#include "gda/report/phase_timer.h"

namespace gda {

class PassHooks {
 public:
  // Which gradients the coming backward pass completes for this step.
  struct Last {
    bool layers = false;  // matrices of the layers that it goes through
    bool ends = false;    // embedding and head
  };

  // Becomes the hooks of the model, which it must outlive. `buckets` must outlive it.
  PassHooks(StagedModel& model, GradientBuckets& buckets);
  PassHooks(const PassHooks&) = delete;
  PassHooks& operator=(const PassHooks&) = delete;

  // The passes of a step, in a scope. Time that is waited for parameters is communication in it,
  // and at the beginning of the backward pass from a loss the phase changes.
  class Step {
   public:
    Step(PassHooks& hooks, const Context& context, PhaseTimer& timer);
    ~Step();
    Step(const Step&) = delete;
    Step& operator=(const Step&) = delete;

   private:
    PassHooks& hooks_;
  };
  // Behind the last pass of a step: no pass knows whether another chunk adds to the vectors, since
  // one with nothing to train does not tell of them.
  void reduce_vectors();
  // The phase of a pass from here on, until the next one, idle() or the end of the step.
  void phase(Phase phase);
  void idle() { phase_.reset(); }
  void completes(const Last& last) { last_ = last; }
  // While a graph is recorded: it exchanges nothing.
  void set_silent(bool silent) { silent_ = silent; }

 private:
  enum class Kind : std::uint8_t { layer, end, vectors };

  void use(std::size_t bucket, std::optional<std::size_t> next);
  void ready(std::size_t bucket);

  GradientBuckets& buckets_;
  std::vector<Kind> kinds_;  // of buckets
  Last last_;
  bool silent_ = false;
  const Context* context_ = nullptr;  // of a step
  PhaseTimer* timer_ = nullptr;
  std::optional<PhaseTimer::Scope> phase_;
};

}  // namespace gda

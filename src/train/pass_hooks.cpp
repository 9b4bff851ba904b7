#include "train/pass_hooks.h"

namespace gda {

PassHooks::PassHooks(StagedModel& model, GradientBuckets& buckets) : buckets_(buckets) {
  const ParameterStore& parameters = buckets.parameters();
  for (const Bucket& bucket : parameters.buckets()) {
    const ParameterSpec& spec = parameters.all()[bucket.parameters.front()].spec;
    kinds_.push_back(!spec.is_matrix() ? Kind::vectors : spec.layer >= 0 ? Kind::layer : Kind::end);
  }
  model.set_hooks({.before_use = [this](std::size_t bucket,
                                        std::optional<std::size_t> next) { use(bucket, next); },
                   .before_gradient =
                       [this](std::size_t bucket) {
                         if (!silent_) buckets_.prepare_gradient(*context_, bucket);
                       },
                   .gradient_ready = [this](std::size_t bucket) { ready(bucket); },
                   .backward_begins =
                       [this] {
                         if (timer_ != nullptr && !silent_) phase(Phase::backward);
                       }});
}

PassHooks::Step::Step(PassHooks& hooks, const Context& context, PhaseTimer& timer) : hooks_(hooks) {
  hooks_.context_ = &context;
  hooks_.timer_ = &timer;
}

PassHooks::Step::~Step() {
  hooks_.phase_.reset();
  hooks_.context_ = nullptr;
  hooks_.timer_ = nullptr;
}

void PassHooks::reduce_vectors() {
  const auto vectors = buckets_.parameters().trainable_vectors();
  if (vectors) buckets_.reduce(*vectors);
}

void PassHooks::phase(Phase phase) {
  phase_.reset();
  phase_.emplace(*timer_, phase);
}

void PassHooks::use(std::size_t bucket, std::optional<std::size_t> next) {
  if (silent_) return;
  std::optional<PhaseTimer::Scope> waiting;
  if (timer_ != nullptr) waiting.emplace(*timer_, Phase::communication);
  buckets_.use(bucket, next);
}

void PassHooks::ready(std::size_t bucket) {
  if (silent_) return;
  const Kind kind = kinds_[bucket];
  if (kind == Kind::vectors) return;
  const bool whole = kind == Kind::layer ? last_.layers : last_.ends;
  // Slots of gradients serve the next layer.
  const bool each_pass = buckets_.parameters().zero() != ZeroStage::one;
  if (whole || each_pass) buckets_.reduce(bucket);
}

}  // namespace gda

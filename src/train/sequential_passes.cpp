#include <utility>

#include "gda/core/log.h"
#include "gda/core/stream.h"
#include "gda/eval/loss.h"
#include "gda/train/step_passes.h"
#include "train/pass_hooks.h"

namespace gda {
namespace {

class SequentialPasses final : public StepPasses {
 public:
  SequentialPasses(StagedModel& model, GradientBuckets& buckets)
      : decoder_(model.chunk(0)),
        buckets_(buckets),
        hooks_(model, buckets),
        exchanges_in_passes_(model.shares_stages() ||
                             buckets.parameters().zero() != ZeroStage::one) {}

  void run(const Context& context, std::span<const Batch> micro_batches, const PassOptions& options,
           const Tensor& losses, PhaseTimer& timer) override {
    const std::int64_t rows = micro_batches.front().targets.tensor.elements();
    const PassHooks::Step step(hooks_, context, timer);
    for (std::size_t i = 0; i < micro_batches.size(); ++i) {
      const ProfileRange range("micro-batch");
      const ArenaScope scope(context.arena);
      PlacedBatch placed = to_device(context, micro_batches[i]);
      if (options.watch != nullptr) placed.input.max_logit = options.watch->logits();
      const Tensor loss = context.arena.allocate(decoder_.statistics_type(), {rows});
      const bool last = i + 1 == micro_batches.size();
      const bool alone =
          !exchanges_in_passes_ && (buckets_.replicas().size() == 1 || (i > 0 && !last));
      const bool as_graph =
          options.graphs && graphs_work_ && is_warm_ && alone && options.watch == nullptr;
      if (!as_graph || !replay(context, placed, options.scale, loss)) {
        pass(context, placed, options.scale, loss, last);
      }
      copy(context.stream, loss, losses.rows(static_cast<std::int64_t>(i) * rows, rows));
    }
    hooks_.reduce_vectors();
  }

  std::size_t reserve(const Context& plan, const Batch& batch, std::size_t /*micro_batches*/,
                      LogitWatch* watch) override {
    const ArenaScope scope(plan.arena);
    PlacedBatch placed = to_device(plan, batch);
    if (watch != nullptr) placed.input.max_logit = watch->logits();
    const Tensor loss = plan.arena.allocate(decoder_.statistics_type(), placed.target.shape());
    hooks_.set_silent(true);
    decoder_.forward_backward(plan, placed.input, placed.target, 1, loss);
    hooks_.set_silent(false);
    return plan.arena.peak();
  }

  std::size_t held_bytes() const override { return 0; }

 private:
  // The gradient of scale * sum of losses of a batch.
  void pass(const Context& context, const PlacedBatch& batch, double scale, const Tensor& loss,
            bool last) {
    hooks_.phase(Phase::forward);
    // Gradients are whole only once the last micro-batch has added to them.
    hooks_.completes({.layers = last, .ends = last});
    decoder_.forward_backward(context, batch.input, batch.target, scale, loss);
    is_warm_ = true;
  }

  // The same as a graph; recorded when it is not of this memory and scale. False, with a warning,
  // if that failed: nothing was done then, and no graph is tried again.
  bool replay(const Context& context, const PlacedBatch& batch, double scale, const Tensor& loss) {
    hooks_.phase(Phase::backward);
    hooks_.set_silent(true);
    bool done = true;
    try {
      if (graph_.empty() || recorded_input_ != batch.input.token.raw() ||
          recorded_scale_ != scale) {
        graph_.record(context.stream, [&] {
          decoder_.forward_backward(context, batch.input, batch.target, scale, loss);
        });
        recorded_input_ = batch.input.token.raw();
        recorded_scale_ = scale;
      }
      graph_.launch(context.stream);
    } catch (const Error& error) {
      log::warning("a micro-batch cannot be a graph ({}); the run continues without graphs, slower",
                   error.what());
      graph_ = {};
      graphs_work_ = false;
      done = false;
    }
    hooks_.set_silent(false);
    return done;
  }

  Decoder& decoder_;
  GradientBuckets& buckets_;
  PassHooks hooks_;
  bool exchanges_in_passes_;
  Graph graph_;
  bool graphs_work_ = true;
  bool is_warm_ = false;  // kernels have run: a graph can be recorded
  const void* recorded_input_ = nullptr;
  double recorded_scale_ = 0;
};

}  // namespace

std::unique_ptr<StepPasses> make_sequential_passes(StagedModel& model, GradientBuckets& buckets) {
  return std::make_unique<SequentialPasses>(model, buckets);
}

}  // namespace gda

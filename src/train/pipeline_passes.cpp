// The executor of pipeline tables.
#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "gda/core/error.h"
#include "gda/core/stream.h"
#include "gda/eval/loss.h"
#include "gda/train/step_passes.h"
#include "train/pass_hooks.h"
#include "train/pipeline_memory.h"

namespace gda {
namespace {

// A micro-batch between its forward and its backward pass through a chunk.
struct InFlight {
  Arena* kept = nullptr;
  Tensor input;
  PlacedBatch batch;
  std::optional<ForwardState> state;
  Pending received;     // the input
  Pending output_sent;  // what `state` holds
  Tensor gradient;      // of the output, then of the input
  Pending gradient_received;
  DeferredProducts* products = nullptr;  // from backward_input to backward_weight
};

// What of a step has been done by a chunk.
struct ChunkProgress {
  int inputs = 0;   // micro-batches whose backward pass has reached the chunk's input
  int weights = 0;  // and those whose products for weights are done
};

class PipelinePasses final : public StepPasses {
 public:
  PipelinePasses(StagedModel& model, GradientBuckets& buckets, const PipelineOptions& options)
      : model_(model),
        group_(*model.pipeline()),
        options_(options),
        device_(buckets.parameters().all().front().value.device()),
        hooks_(model, buckets),
        deferred_([this] { return DeferredProducts(Arena(device_)); }) {
    for (std::size_t i = 0; i < model.chunks().size(); ++i) {
      kept_.emplace_back([this] { return Arena(device_); });
    }
  }

  void run(const Context& context, std::span<const Batch> micro_batches, const PassOptions& options,
           const Tensor& losses, PhaseTimer& timer) override {
    const std::int64_t rows = micro_batches.front().targets.tensor.elements();
    messages_.set_shape(model_.compute_type(), model_.stream_shape(rows), device_);
    const PassHooks::Step scope(hooks_, context, timer);
    Step step{.context = context,
              .micro_batches = micro_batches,
              .options = options,
              .losses = losses,
              .rows = rows,
              .timer = timer,
              .chunks = std::vector<ChunkProgress>(kept_.size()),
              .in_flight = {}};
    for (const PipelineEvent& event : events(static_cast<int>(micro_batches.size()))) {
      switch (event.kind) {
        case PipelineEvent::Kind::receive:
          receive(step, event);
          break;
        case PipelineEvent::Kind::send:
          send(step, event);
          break;
        case PipelineEvent::Kind::compute:
          compute(step, event.slot);
          break;
      }
    }
    hooks_.reduce_vectors();
    const auto waiting = timer.scope(Phase::communication);
    messages_.wait();
  }

  std::size_t reserve(const Context& plan, const Batch& batch, std::size_t micro_batches,
                      LogitWatch* watch) override;

  std::size_t held_bytes() const override {
    std::size_t total = messages_.bytes();
    for (const DeferredProducts& products : deferred_.all()) total += products.arena().capacity();
    for (const Pool<Arena>& pool : kept_) {
      for (const Arena& arena : pool.all()) total += arena.capacity();
    }
    return total;
  }

 private:
  using Key = std::pair<int, int>;  // chunk, micro-batch

  struct Step {
    const Context& context;
    std::span<const Batch> micro_batches;
    const PassOptions& options;
    const Tensor& losses;
    std::int64_t rows;  // of a micro-batch
    PhaseTimer& timer;
    std::vector<ChunkProgress> chunks;
    std::map<Key, InFlight> in_flight;

    InFlight& at(const PipelineSlot& slot) { return in_flight[{slot.chunk, slot.micro_batch}]; }
  };

  Arena reserved(std::size_t bytes) const {
    Arena arena(device_);
    if (bytes > 0) arena.reserve(bytes);
    return arena;
  }

  const std::vector<PipelineEvent>& events(int micro_batches) {
    const auto [entry, is_new] = events_.try_emplace(micro_batches);
    if (is_new) {
      const PipelineTable table =
          make_pipeline_table(options_.schedule, group_.size(), options_.chunks, micro_batches);
      entry->second = simulate(table).events[static_cast<std::size_t>(group_.rank())];
    }
    return entry->second;
  }

  Decoder& chunk(const PipelineSlot& slot) {
    return model_.chunk(static_cast<std::size_t>(slot.chunk));
  }
  Pool<Arena>& kept(const PipelineSlot& slot) {
    return kept_[static_cast<std::size_t>(slot.chunk)];
  }

  void wait(Step& step, const Pending& pending) {
    const auto waiting = step.timer.scope(Phase::communication);
    pending.wait();
  }

  Tensor input_memory(Arena& arena, std::int64_t rows) const {
    return arena.allocate(model_.compute_type(), model_.stream_shape(rows));
  }

  // Nothing is sent of a gradient that trains nothing.
  void receive(Step& step, const PipelineEvent& event) {
    if (event.slot.action != PipelineAction::forward && !chunk(event.slot).takes_gradient()) return;
    InFlight& flight = step.at(event.slot);
    if (event.slot.action == PipelineAction::forward) {
      flight.kept = &kept(event.slot).take();
      flight.input = input_memory(*flight.kept, step.rows);
      flight.received = group_.receive(flight.input, event.peer);
    } else {
      flight.gradient = messages_.take();
      flight.gradient_received = group_.receive(flight.gradient, event.peer);
    }
  }

  void send(Step& step, const PipelineEvent& event) {
    if (event.slot.action != PipelineAction::forward && !chunk(event.slot).gives_gradient()) return;
    InFlight& flight = step.at(event.slot);
    if (event.slot.action == PipelineAction::forward) {
      flight.output_sent = group_.send(flight.state.value().output(), event.peer);
    } else {
      messages_.give_back(flight.gradient, group_.send(flight.gradient, event.peer));
      flight.gradient = {};
      release(step, event.slot);
    }
  }

  void compute(Step& step, const PipelineSlot& slot) {
    const ProfileRange range("pipeline slot");
    switch (slot.action) {
      case PipelineAction::forward:
        return forward(step, slot);
      case PipelineAction::backward:
      case PipelineAction::backward_input:
        return backward(step, slot);
      case PipelineAction::backward_weight:
        return backward_weight(step, slot);
    }
  }

  void forward(Step& step, const PipelineSlot& slot) {
    InFlight& flight = step.at(slot);
    if (flight.kept == nullptr) flight.kept = &kept(slot).take();
    wait(step, flight.received);
    hooks_.phase(Phase::forward);
    const Context keeping{step.context.stream, *flight.kept, step.context.reproducible};
    flight.batch =
        to_device(keeping, step.micro_batches[static_cast<std::size_t>(slot.micro_batch)]);
    if (step.options.watch != nullptr) flight.batch.input.max_logit = step.options.watch->logits();
    flight.state.emplace(
        chunk(slot).forward(step.context, *flight.kept, flight.batch.input, flight.input, {}));
    hooks_.idle();
  }

  void backward(Step& step, const PipelineSlot& slot) {
    InFlight& flight = step.at(slot);
    wait(step, flight.gradient_received);
    ChunkProgress& done = step.chunks[static_cast<std::size_t>(slot.chunk)];
    const bool defers = slot.action == PipelineAction::backward_input;
    ++done.inputs;
    if (!defers) ++done.weights;
    hooks_.completes(last_of(step, done));
    hooks_.phase(Phase::backward);
    if (defers) flight.products = &deferred_.take();
    pass_back(step, slot, flight);
    hooks_.idle();
    // A gradient that goes on is given back when it is sent.
    if (chunk(slot).gives_gradient()) return;
    if (flight.gradient) messages_.give_back(flight.gradient);
    flight.gradient = {};
    release(step, slot);
  }

  void pass_back(Step& step, const PipelineSlot& slot, InFlight& flight) {
    const Decoder& decoder = chunk(slot);
    ForwardState state = std::move(*flight.state);
    flight.state.reset();
    wait(step, flight.output_sent);
    if (!decoder.stage().has_head) {
      return decoder.backward(step.context, std::move(state), flight.gradient, flight.products);
    }
    if (decoder.gives_gradient()) flight.gradient = messages_.take();
    const Tensor loss = step.losses.rows(slot.micro_batch * step.rows, step.rows);
    decoder.backward_from_loss(step.context, std::move(state), flight.batch.target,
                               step.options.scale, loss, flight.gradient, flight.products);
  }

  void backward_weight(Step& step, const PipelineSlot& slot) {
    InFlight& flight = step.at(slot);
    ChunkProgress& done = step.chunks[static_cast<std::size_t>(slot.chunk)];
    ++done.weights;
    hooks_.completes(last_of(step, done));
    hooks_.phase(Phase::backward);
    chunk(slot).backward_weights(step.context, *flight.products);
    hooks_.idle();
    deferred_.give_back(*std::exchange(flight.products, nullptr));
    release(step, slot);
  }

  PassHooks::Last last_of(const Step& step, const ChunkProgress& done) const {
    const auto all = static_cast<int>(step.micro_batches.size());
    return {.layers = done.weights == all, .ends = done.inputs == all};
  }

  // What the micro-batch kept, once nothing of it is needed.
  void release(Step& step, const PipelineSlot& slot) {
    InFlight& flight = step.at(slot);
    if (flight.kept != nullptr) {
      flight.kept->rewind({});
      kept(slot).give_back(*std::exchange(flight.kept, nullptr));
    }
    if (flight.products == nullptr) step.in_flight.erase({slot.chunk, slot.micro_batch});
  }

  StagedModel& model_;
  Communicator& group_;
  PipelineOptions options_;
  Device device_;
  PassHooks hooks_;
  std::deque<Pool<Arena>> kept_;  // of each chunk
  Pool<DeferredProducts> deferred_;
  MessagePool messages_;
  std::map<int, std::vector<PipelineEvent>> events_;  // by the number of micro-batches
};

// How many arenas of each kind a rank's events use at once.
struct MostAtOnce {
  std::vector<std::size_t> kept;  // of each chunk
  std::size_t deferred = 0;
  std::size_t messages = 0;
};

MostAtOnce most_at_once(const std::vector<PipelineEvent>& events, const StagedModel& model) {
  MostAtOnce most;
  most.kept.resize(model.chunks().size());
  std::vector<std::size_t> kept(model.chunks().size());
  std::size_t deferred = 0;
  std::size_t messages = 0;
  const auto more = [](std::size_t& now, std::size_t& largest) {
    largest = std::max(largest, ++now);
  };
  for (const PipelineEvent& event : events) {
    const auto chunk = static_cast<std::size_t>(event.slot.chunk);
    const bool is_forward = event.slot.action == PipelineAction::forward;
    const bool computes = event.kind == PipelineEvent::Kind::compute;
    const bool begins = event.kind == PipelineEvent::Kind::receive ||
                        (computes && (is_forward ? model.is_first(chunk) : model.is_last(chunk)));
    const bool ends = event.kind == PipelineEvent::Kind::send ||
                      (computes && !is_forward && model.is_first(chunk));
    if (event.slot.action == PipelineAction::backward_weight) {
      --deferred;
      continue;
    }
    if (is_forward) {
      if (begins) more(kept[chunk], most.kept[chunk]);
      continue;
    }
    if (begins) more(messages, most.messages);
    if (computes && event.slot.action == PipelineAction::backward_input) {
      more(deferred, most.deferred);
    }
    if (!ends) continue;
    --messages;
    --kept[chunk];
  }
  return most;
}

std::size_t PipelinePasses::reserve(const Context& plan, const Batch& batch,
                                    std::size_t micro_batches, LogitWatch* watch) {
  const std::int64_t rows = batch.targets.tensor.elements();
  const MostAtOnce most = most_at_once(events(static_cast<int>(micro_batches)), model_);
  messages_.set_shape(model_.compute_type(), model_.stream_shape(rows), device_);
  // As many again: what is sent is waited for when its memory is needed.
  messages_.reserve(2 * most.messages);
  hooks_.set_silent(true);
  std::size_t deferred_bytes = 0;
  for (std::size_t i = 0; i < kept_.size(); ++i) {
    Arena kept = Arena::plan(device_);
    DeferredProducts products(Arena::plan(device_));
    {
      DeferredProducts* later = most.deferred > 0 ? &products : nullptr;
      const Context keeping{plan.stream, kept, plan.reproducible};
      const Tensor input = model_.is_first(i) ? Tensor() : input_memory(kept, rows);
      PlacedBatch placed = to_device(keeping, batch);
      if (watch != nullptr) placed.input.max_logit = watch->logits();
      const Decoder& decoder = model_.chunk(i);
      ForwardState state = decoder.forward(plan, kept, placed.input, input, {});
      const ArenaScope scope(plan.arena);
      const Tensor gradient = input_memory(plan.arena, rows);
      if (model_.is_last(i)) {
        const Tensor loss = plan.arena.allocate(model_.statistics_type(), {rows});
        decoder.backward_from_loss(plan, std::move(state), placed.target, 1, loss, gradient, later);
      } else {
        decoder.backward(plan, std::move(state), gradient, later);
      }
      if (later != nullptr) decoder.backward_weights(plan, products);
    }
    deferred_bytes = std::max(deferred_bytes, products.arena().peak());
    kept_[i].reserve(most.kept[i], [this, bytes = kept.peak()] { return reserved(bytes); });
  }
  {
    // Evaluations, and the look at the weights before they are saved, keep nothing elsewhere.
    const ArenaScope scope(plan.arena);
    const PlacedBatch placed = to_device(plan, batch);
    const Tensor loss = plan.arena.allocate(model_.statistics_type(), {rows});
    model_.forward_loss(plan, placed.input, placed.target, loss);
  }
  deferred_.reserve(most.deferred,
                    [this, deferred_bytes] { return DeferredProducts(reserved(deferred_bytes)); });
  hooks_.set_silent(false);
  return plan.arena.peak();
}

}  // namespace

std::unique_ptr<StepPasses> make_pipeline_passes(StagedModel& model, GradientBuckets& buckets,
                                                 const PipelineOptions& options) {
  return std::make_unique<PipelinePasses>(model, buckets, options);
}

}  // namespace gda

#include "gda/train/memory_estimate.h"

#include <algorithm>
#include <map>

#include "gda/core/error.h"
#include "gda/model/context_cut.h"
#include "gda/train/rank_layout.h"
#include "gda/train/trainable.h"

namespace gda {
namespace {

// The numbers of a configuration that formulas are made of; memory_estimate.h has the letters.
struct Sizes {
  double t, c, r;        // ranks along tensor and context, and of replicas
  double w, a;           // bytes of a compute and an accumulate element
  double rows, n;        // N, and N / tensor
  double d, f;           // hidden_size, intermediate_size
  double q, kv, att, o;  // Q, of which keys and values; A; O, or 0 where attention's output is it
  double out, h, s;      // O; heads; S, or 0
  double micro_batches;
  Recompute recompute;
  ContextMethod method;
  int zero;
  bool on_cpu;

  double stream() const { return n * d * w; }
  double saved() const {
    return stream() + 2 * n * a + rows / t * ((q + att + 2 * f) * w + (h + s) * a);
  }
  double cheap() const { return 2 * stream() + rows / t * (o + f) * w; }
  double kept_by_layer() const {
    if (recompute == Recompute::full) return stream();
    return stream() + saved() + (recompute == Recompute::none ? cheap() : 0);
  }
  double recomputed() const {
    if (recompute == Recompute::none) return 0;
    return cheap() + (recompute == Recompute::full ? saved() : 0);
  }
  double deferred_by_layer() const { return 4 * stream() + rows / t * (q + out + 3 * f) * w; }
  double layer_work(bool has_head) const {
    const double attention = (q + att + o) * w + (s > 0 ? h * a : 0);
    return (has_head ? 4 : 2) * stream() + recomputed() + rows / t * std::max(3 * f * w, attention);
  }
};

Sizes sizes_of(const RunConfig& config, const ModelConfig& model, const MeshShape& mesh,
               ContextMethod method, std::int64_t micro_batches) {
  const AttentionConfig& attention = model.attention;
  const DType compute = config.precision.compute_type();
  const double rows =
      static_cast<double>(config.train.micro_batch_size * config.data.sequence_length) /
      mesh.context;
  const bool gated = attention.type == AttentionType::differential_v2;
  const auto heads = static_cast<double>(attention.query_heads());
  const auto out = static_cast<double>(attention.out_size());
  const auto kv = static_cast<double>(attention.k_size() + attention.v_size());
  return {.t = static_cast<double>(mesh.tensor),
          .c = static_cast<double>(mesh.context),
          .r = static_cast<double>(mesh.data * mesh.context),
          .w = static_cast<double>(size_of(compute)),
          .a = static_cast<double>(size_of(accumulate_type(compute))),
          .rows = rows,
          .n = rows / mesh.tensor,
          .d = static_cast<double>(model.hidden_size),
          .f = static_cast<double>(model.intermediate_size),
          .q = static_cast<double>(attention.q_size()) + kv +
               static_cast<double>(gated ? attention.num_attention_heads : 0),
          .kv = kv,
          .att = heads * static_cast<double>(attention.value_dim()),
          .o = attention.type == AttentionType::softmax ? 0 : out,
          .out = out,
          .h = heads,
          .s = static_cast<double>(attention.is_differential() ? attention.signal_heads : 0),
          .micro_batches = static_cast<double>(micro_batches),
          .recompute = config.train.recompute,
          .method = method,
          .zero = static_cast<int>(config.parallel.zero_stage),
          .on_cpu = config.device == WantedDevice::cpu};
}

// Elements of parameters that a rank holds, frozen or not.
struct Held {
  std::map<std::int64_t, double> layers;  // matrices of each
  double largest_matrix = 0;              // of layers, whole
  double embedding = 0, head = 0, vectors = 0;

  void add(const PlacedSpec& placed) {
    const auto count = static_cast<double>(placed.region.elements());
    if (!placed.spec.is_matrix()) {
      vectors += count;
    } else if (placed.spec.layer >= 0) {
      layers[placed.spec.layer] += count;
      largest_matrix = std::max(largest_matrix, static_cast<double>(placed.spec.shape.elements()));
    } else if (placed.spec.role == Role::embedding) {
      embedding += count;
    } else {
      head += count;
    }
  }
  double layer_matrices() const {
    double sum = 0;
    for (const auto& [layer, count] : layers) sum += count;
    return sum;
  }
  double matrices() const { return layer_matrices() + embedding + head; }
  bool turns_layers() const { return layers.size() > 2; }
  bool turns_ends() const { return embedding > 0 && head > 0; }
  // Whose memory ZeRO gives to others in turn, so that a rank's part has memory of its own.
  double in_turn() const {
    return (turns_layers() ? layer_matrices() : 0) + (turns_ends() ? embedding + head : 0);
  }
  // What ZeRO keeps whole: two layers, and the embedding or the head.
  double layer_slots() const {
    double most = 0;
    for (const auto& [layer, count] : layers) most = std::max(most, count);
    return turns_layers() ? 2 * most : layer_matrices();
  }
  double slots() const { return layer_slots() + std::max(embedding, head); }
  // Elements of matrices that ZeRO 3 gathers in a step. Two layers are still there where a pass
  // turns, unless other micro-batches come between.
  double gathered(double micro_batches, bool in_pipeline) const {
    const double kept = in_pipeline ? 0 : layer_slots();
    const double of_layers =
        turns_layers() ? 2 * micro_batches * (layer_matrices() - kept) + kept : layer_matrices();
    return of_layers + (turns_ends() ? micro_batches : 1) * (embedding + head);
  }
  // Frozen ones that nothing takes the place of were gathered before the first step.
  double gathered_frozen(double micro_batches, bool in_pipeline) const {
    const double still =
        (turns_layers() ? 0 : layer_matrices()) + (turns_ends() ? 0 : embedding + head);
    return gathered(micro_batches, in_pipeline) - still;
  }
};

void add_parameters(const Sizes& z, OptimizerName optimizer, const Held& trained,
                    const Held& frozen, RankMemory& memory) {
  const bool has_masters = z.w < z.a;
  for (const Held* held : {&trained, &frozen}) {
    const double whole = held->matrices() * z.w;
    memory.parameters += z.zero < 3 ? whole : (held->in_turn() / z.r + held->slots()) * z.w;
    memory.parameters += held->vectors * z.a;
    if (has_masters) memory.optimizer += held->matrices() * z.a / z.r;
  }
  const double all = trained.matrices() + trained.vectors;
  memory.gradients =
      z.zero < 2 ? all * z.a : all * z.a / z.r + (trained.slots() + trained.vectors) * z.a;
  const double muon = optimizer == OptimizerName::muon ? trained.layer_matrices() : 0;
  memory.optimizer += (muon + 2 * (all - muon)) * z.a / z.r;
}

// The most of what a rank keeps of its chunks at any time.
double activations_of(const Sizes& z, const PipelineTable& table, int rank,
                      const std::vector<Placement>& places) {
  double now = 0;
  double most = 0;
  for (const PipelineSlot& slot : table.slots[static_cast<std::size_t>(rank)]) {
    const Stage& stage = places[static_cast<std::size_t>(slot.chunk)].stage;
    const auto layers = static_cast<double>(stage.layers.size());
    const double kept = layers * z.kept_by_layer() + z.stream();
    const double deferred = layers * z.deferred_by_layer();
    if (slot.action == PipelineAction::forward) now += kept;
    if (slot.action == PipelineAction::backward_input) now += deferred;
    most = std::max(most, now);
    if (slot.action == PipelineAction::backward_weight) now -= deferred;
    if (slot.action == PipelineAction::backward || slot.action == PipelineAction::backward_input) {
      now -= kept;
    }
  }
  return most;
}

double loss_work(const Sizes& z, const RunConfig& config, double vocabulary) {
  const std::int64_t mib = config.train.max_logit_mib;
  const double most = static_cast<double>(mib > 0 ? mib : z.on_cpu ? 64 : 1024) * 1048576.0;
  const double logits = z.rows * vocabulary * (z.on_cpu ? z.a : z.w);
  return 3 * z.stream() + std::min(logits, most);
}

double buffers_of(const Sizes& z, int pipeline, const PipelineKept& kept) {
  double bytes = 0;
  if (z.t > 1) bytes += 2 * z.rows * z.d * z.w;
  if (z.c > 1) {
    const bool gathers = z.method == ContextMethod::gather;
    bytes += 2 * z.rows / z.t * (gathers ? z.c * z.kv : z.q) * z.w;
  }
  if (pipeline > 1) bytes += (2 + kept.arrived) * z.stream();
  return bytes;
}

// Of a layer's passes over one micro-batch.
double context_traffic(const Sizes& z) {
  const double share = (z.c - 1) / z.c;
  if (z.method == ContextMethod::gather) return 3 * share * z.c * z.rows / z.t * z.kv * z.w;
  const double there_and_back = z.recompute == Recompute::full ? 3 : 2;
  const double again = z.recompute == Recompute::selective ? z.out : 0;
  return share * z.rows / z.t * (there_and_back * (z.q + z.out) + again) * z.w;
}

RankTraffic traffic_of(const Sizes& z, OptimizerName optimizer,
                       const std::vector<Placement>& places, std::int64_t stages,
                       const Held& trained, const Held& frozen, bool tied) {
  RankTraffic traffic;
  const double whole_stream = z.rows * z.d * z.w * (z.t - 1) / z.t;
  for (const Placement& place : places) {
    const Stage& stage = place.stage;
    const auto layers = static_cast<double>(stage.layers.size());
    const double products = z.recompute == Recompute::full ? 13 : 10;
    const int ends = int{stage.has_embedding} + int{stage.has_head};
    traffic.tensor += z.micro_batches * (layers * products + 2 * ends) * whole_stream;
    traffic.context += z.micro_batches * layers * context_traffic(z);
    if (stages > 1) {
      traffic.pipeline += z.micro_batches * (2 - ends) * z.stream();
      if (tied && ends > 0) traffic.pipeline += trained.embedding * z.a / z.r;
    }
  }
  const double share = (z.r - 1) / z.r;
  const double all = trained.matrices() + trained.vectors;
  traffic.replicas = share * all * z.a * (z.zero > 1 ? z.micro_batches : 1);
  traffic.replicas += z.zero < 3 ? share * all * z.w
                                 : share * z.w *
                                       (trained.gathered(z.micro_batches, stages > 1) +
                                        frozen.gathered_frozen(z.micro_batches, stages > 1));
  if (optimizer == OptimizerName::muon) {
    const double away = 1 - 1 / (z.r * z.t);
    traffic.replicas += trained.layer_matrices() * (z.a + z.w) / z.r * away;
  }
  return traffic;
}

std::vector<ParameterSpec> specs_of(const RunConfig& config, const ModelConfig& model) {
  std::vector<ParameterSpec> specs = parameter_specs(model);
  if (!config.train.trainable.list.empty() &&
      pattern_problem(config.train.trainable, specs).empty()) {
    choose_trainable(config.train.trainable, {}, "", specs);
  }
  return specs;
}

RankEstimate estimate_rank(const RunConfig& config, const Sizes& z, const PipelineTable& table,
                           int rank, const PipelineKept& kept,
                           const std::vector<ParameterSpec>& specs,
                           const std::vector<Placement>& places) {
  Held trained;
  Held frozen;
  double vocabulary = 0;
  bool tied = true;
  for (const PlacedSpec& placed : place(specs, places)) {
    (placed.spec.trainable ? trained : frozen).add(placed);
    const bool is_table = placed.spec.role == Role::embedding || placed.spec.role == Role::head;
    if (is_table) vocabulary = static_cast<double>(placed.region.rows.size());
  }
  for (const ParameterSpec& spec : specs) tied = tied && spec.role != Role::head;

  RankEstimate estimate;
  const double count = trained.matrices() + trained.vectors + frozen.matrices() + frozen.vectors;
  estimate.elements = static_cast<std::int64_t>(count);
  RankMemory& memory = estimate.memory;
  add_parameters(z, config.optimizer.name, trained, frozen, memory);
  memory.activations = activations_of(z, table, rank, places);
  const bool has_head = places.back().stage.has_head;
  memory.working = z.layer_work(has_head);
  if (has_head) memory.working = std::max(memory.working, loss_work(z, config, vocabulary));
  if (config.optimizer.name == OptimizerName::muon) {
    memory.working = std::max(memory.working, 2 * trained.largest_matrix * z.a);
  }
  memory.communication = buffers_of(z, table.ranks(), kept);
  estimate.traffic =
      traffic_of(z, config.optimizer.name, places, table.stages(), trained, frozen, tied);
  return estimate;
}

}  // namespace

LayoutEstimate estimate_layout(const RunConfig& config, const ModelConfig& model,
                               std::int64_t ranks) {
  config.validate_for_world(ranks);
  const ParallelConfig& parallel = config.parallel;
  LayoutEstimate estimate;
  estimate.parameters = parameter_count(model);
  estimate.mesh = parallel.mesh(static_cast<int>(ranks == 0 ? parallel.model_ranks() : ranks));
  estimate.method =
      context_cut(model, parallel.context_method, 0, estimate.mesh.context, estimate.mesh.tensor)
          .method;
  estimate.micro_batches =
      config.train.global_batch_size / (config.train.micro_batch_size * estimate.mesh.data);
  estimate.stages = pipeline_stages(model, parallel);

  const PipelineTable table = make_pipeline_table(parallel.schedule, estimate.mesh.pipeline,
                                                  static_cast<int>(parallel.virtual_stages),
                                                  static_cast<int>(estimate.micro_batches));
  const PipelineSimulation simulation = simulate(table);
  estimate.bubble = simulation.bubble;
  estimate.kept = simulation.kept;
  const Sizes sizes =
      sizes_of(config, model, estimate.mesh, estimate.method, estimate.micro_batches);
  const std::vector<ParameterSpec> specs = specs_of(config, model);
  for (int rank = 0; rank < estimate.mesh.pipeline; ++rank) {
    estimate.ranks.push_back(
        estimate_rank(config, sizes, table, rank, simulation.kept[static_cast<std::size_t>(rank)],
                      specs, rank_layout(model, parallel, rank, parallel.tensor - 1)));
  }
  return estimate;
}

}  // namespace gda

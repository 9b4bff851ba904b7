#include "gda/train/trained_model.h"

namespace gda {
namespace {

std::vector<Placement> placements_of(const TrainedModelOptions& options) {
  if (!options.placements.empty()) return options.placements;
  return {{.stage = whole_model(options.config)}};
}

// Null for a group of one.
Communicator* shared(const Mesh& mesh, Axis axis) {
  return mesh.size(axis) > 1 ? &mesh.group(axis) : nullptr;
}

ModelGroups model_groups(const Mesh& mesh, ContextMethod method) {
  return {.pipeline = shared(mesh, Axis::pipeline),
          .stage = {.tensor = shared(mesh, Axis::tensor),
                    .context = shared(mesh, Axis::context),
                    .method = method}};
}

GradientGroups gradient_groups(Communicator& world, const Mesh& mesh) {
  return {.replicas = mesh.replicas(),
          .tensor = shared(mesh, Axis::tensor),
          .pipeline = shared(mesh, Axis::pipeline),
          .world = world};
}

StepRanks step_ranks(const TrainedModelOptions& options, Communicator& world, const Mesh& mesh) {
  return {
      .world = world,
      .parts = mesh.replicas().size(),
      .counts_tokens = mesh.coordinate(Axis::pipeline) == 0 && mesh.coordinate(Axis::tensor) == 0,
      .pipeline = options.pipeline};
}

}  // namespace

TrainedModel::TrainedModel(const TrainedModelOptions& options, Communicator& world,
                           const Mesh& mesh)
    : parameters(place(options.specs, placements_of(options)), {.compute = options.compute,
                                                                .alignment = mesh.replicas().size(),
                                                                .with_gradients = true,
                                                                .device = options.device,
                                                                .zero = options.zero_stage}),
      model(options.config, options.specs, placements_of(options), parameters,
            model_groups(mesh, options.context_method), options.recompute, options.loss),
      buckets(parameters, gradient_groups(world, mesh)),
      optimizer(buckets, make_update_rules(options.optimizer, buckets)),
      watch(make_logit_watch(options.optimizer.qk_clip, options.config, options.specs, parameters,
                             world, model.chunks().front().query_heads())),
      step(model, buckets, optimizer, step_ranks(options, world, mesh), options.sources,
           watch.get()),
      checkpoints(options.checkpoints, options.checkpoint, world, options.specs, buckets,
                  optimizer) {}

}  // namespace gda

// A model over ranks and its optimizer, with gradients that follow from names, steps and global
// indices alone, beside the same on one rank.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gda/core/philox.h"
#include "gda/dist/mesh.h"
#include "gda/model/placement.h"
#include "gda/optim/optimizer.h"
#include "support/tiny_model.h"

namespace gda::test {

struct Layout {
  int pipeline = 1;
  int replicas = 1;
  int tensor = 1;
  int chunks = 1;  // stages of a rank
  ZeroStage zero = ZeroStage::one;

  std::string str() const {
    return "pipeline " + std::to_string(pipeline) + " x replicas " + std::to_string(replicas) +
           " x tensor " + std::to_string(tensor) + ", " + std::to_string(chunks) +
           " stages a rank, ZeRO " + std::to_string(static_cast<int>(zero));
  }
};

struct LaidOutModel {
  ModelConfig config;
  std::vector<ParameterSpec> specs;
  DType compute = DType::f64;
  OptimizerConfig optimizer;
  bool stochastic = false;
};

// Layers of several sizes of what is trained and frozen, where `frozen`: all of layer 1, one
// projection of layer 3, the vectors of layer 2, and the head.
inline LaidOutModel laid_out_model(const std::string& attention, bool tied, bool frozen) {
  LaidOutModel model;
  model.config = tiny_config(attention, "poly_norm", tied);
  model.config.num_hidden_layers = 6;
  model.specs = parameter_specs(model.config);
  for (ParameterSpec& spec : model.specs) {
    const bool is_frozen = spec.layer == 1 || (spec.layer == 3 && spec.role == Role::key) ||
                           (spec.layer == 2 && !spec.is_matrix()) || spec.role == Role::head;
    spec.trainable = !frozen || !is_frozen;
  }
  model.optimizer = {.betas = {0.9, 0.999}, .weight_decay = 0.1};
  return model;
}

// The groups of a rank. One of one rank where `world` is null.
class Groups {
 public:
  Groups() = default;
  // `wrap` makes each group another, which its caller keeps.
  template <class Wrap>
  Groups(Communicator& world, const Layout& layout, const Wrap& wrap)
      : mesh_(std::make_unique<Mesh>(world, MeshShape{.pipeline = layout.pipeline,
                                                      .data = layout.replicas,
                                                      .tensor = layout.tensor})),
        replicas_(&wrap(mesh_->group(Axis::data))),
        tensor_(&wrap(mesh_->group(Axis::tensor))),
        pipeline_(&wrap(mesh_->group(Axis::pipeline))),
        world_(&wrap(world)) {}

  GradientGroups get() const {
    if (mesh_ == nullptr) return {.replicas = *self_, .world = *self_};
    return {.replicas = *replicas_, .tensor = tensor_, .pipeline = pipeline_, .world = *world_};
  }
  int coordinate(Axis axis) const { return mesh_ == nullptr ? 0 : mesh_->coordinate(axis); }
  int size(Axis axis) const { return mesh_ == nullptr ? 1 : mesh_->size(axis); }

 private:
  std::unique_ptr<Communicator> self_ = make_self_communicator();
  std::unique_ptr<Mesh> mesh_;
  Communicator* replicas_ = nullptr;
  Communicator* tensor_ = nullptr;
  Communicator* pipeline_ = nullptr;
  Communicator* world_ = nullptr;
};

inline std::vector<PlacedSpec> placed_on(const LaidOutModel& model, const Layout& layout,
                                         std::int64_t pipeline, std::int64_t tensor) {
  const std::vector<Stage> stages =
      layout.pipeline * layout.chunks == 1
          ? std::vector<Stage>{whole_model(model.config)}
          : cut_into_stages(model.config, layout.pipeline * layout.chunks);
  std::vector<Placement> places;
  for (int chunk = 0; chunk < layout.chunks; ++chunk) {
    const auto stage = static_cast<std::size_t>(chunk * layout.pipeline + pipeline);
    places.push_back({.stage = stages[stage], .tensor = tensor, .tensor_size = layout.tensor});
  }
  return place(model.specs, places);
}

class LaidOut {
 public:
  static constexpr std::int64_t kBegun = 40;  // updates of the run before the first one here

  LaidOut(const LaidOutModel& model, const Layout& layout, Groups groups)
      : groups_(std::move(groups)),
        layout_(layout),
        parameters_(placed_on(model, layout, groups_.coordinate(Axis::pipeline),
                              groups_.coordinate(Axis::tensor)),
                    {.compute = model.compute, .alignment = layout.replicas, .zero = layout.zero}),
        buckets_(parameters_, groups_.get()),
        optimizer_(buckets_, make_update_rules(model.optimizer, buckets_)) {
    buckets_.initialize(3, {});
    optimizer_.copy_masters_from_values(context());
    optimizer_.set_origins(context(), origins(model));
    if (model.stochastic) optimizer_.round_stochastically(9, kBegun);
  }

  ParameterStore& parameters() { return parameters_; }
  GradientBuckets& buckets() { return buckets_; }
  Optimizer& optimizer() { return optimizer_; }
  Context context() { return {Stream{}, arena_}; }

  // One element of this rank's gradients is no number in the next passes.
  void break_gradient(std::string name) { broken_ = std::move(name); }

  // The passes of a step, each with a hook where a bucket's values are there.
  template <class Seen>
  void passes(std::int64_t step, int micro_batches, const Seen& seen) {
    for (int micro = 0; micro < micro_batches; ++micro) {
      const auto count = static_cast<std::ptrdiff_t>(parameters_.buckets().size());
      const auto use = [&](std::ptrdiff_t i, std::ptrdiff_t next) {
        const bool is_there = next >= 0 && next < count;
        buckets_.use(static_cast<std::size_t>(i),
                     is_there ? std::optional(static_cast<std::size_t>(next)) : std::nullopt);
        seen(static_cast<std::size_t>(i));
      };
      for (std::ptrdiff_t i = 0; i < count; ++i) use(i, i + 1);
      const bool is_last = micro + 1 == micro_batches;
      for (std::ptrdiff_t i = count - 1; i >= 0; --i) {
        use(i, i - 1);
        const auto bucket = static_cast<std::size_t>(i);
        if (!parameters_.buckets()[bucket].trainable) continue;
        buckets_.prepare_gradient(context(), bucket);
        add_gradients(bucket, step, micro);
        if (is_last || layout_.zero > ZeroStage::one) buckets_.reduce(bucket);
      }
    }
    broken_.clear();
  }

  // Calls f(global index, element) of what a piece's tensor holds.
  template <class F>
  static void for_each(const OptimizerPiece& piece, const F& f) {
    for (const Stretch& part :
         stretches(piece.parameter->region, piece.spec().shape, piece.offset, piece.length)) {
      for (std::int64_t i = 0; i < part.length; ++i) {
        f(part.global + i, part.local - piece.offset + i);
      }
    }
  }

 private:
  // A whole number for an element of the whole model's gradient, which the shares divide.
  static double number(const Philox& random, int micro, std::int64_t index) {
    const auto i = static_cast<std::uint64_t>(index);
    return 60 * 60 * 3 *
           std::floor(16 * random.normal(static_cast<std::uint64_t>(micro) << 32 | i));
  }
  // Rank r of n has r + 1 parts of 1 + ... + n: 1, 3, 6 or 10, of which 60 is a multiple.
  static double share(int rank, int size) { return (rank + 1) * 2.0 / (size * (size + 1)); }

  // What this rank has of a parameter's gradient, before any sum.
  double share_of(const ParameterSpec& spec) const {
    double all = share(groups_.coordinate(Axis::data), groups_.size(Axis::data));
    const bool is_partial = spec.completion == Completion::partial_by_token ||
                            spec.completion == Completion::partial_by_head;
    const int stages = groups_.size(Axis::pipeline);
    if (is_partial) all *= share(groups_.coordinate(Axis::tensor), groups_.size(Axis::tensor));
    if (spec.completion == Completion::tied && stages > 1) {
      all *= groups_.coordinate(Axis::pipeline) == 0 ? 1 / 3.0 : 2 / 3.0;
    }
    return all;
  }

  void add_gradients(std::size_t bucket, std::int64_t step, int micro) {
    for (const std::size_t index : parameters_.buckets()[bucket].parameters) {
      const Parameter& parameter = parameters_.all()[index];
      const ParameterSpec& spec = parameter.spec;
      const Philox random(static_cast<std::uint64_t>(step), RandomPurpose::test, spec.name);
      const double part = share_of(spec);
      const auto add = [&](auto* gradient) {
        for (const Stretch& run :
             stretches(parameter.region, spec.shape, 0, parameter.region.elements())) {
          for (std::int64_t i = 0; i < run.length; ++i) {
            const double value = std::round(part * number(random, micro, run.global + i));
            gradient[run.local + i] += static_cast<std::decay_t<decltype(*gradient)>>(value);
          }
        }
        if (spec.name == broken_) *gradient = std::numeric_limits<float>::quiet_NaN();
      };
      if (parameter.gradient.dtype() == DType::f64) {
        add(parameter.gradient.data<double>());
      } else {
        add(parameter.gradient.data<float>());
      }
    }
  }

  // Matrices with rows of three ages, with columns, and with both, and vectors.
  static std::vector<UpdateOrigin> origins(const LaidOutModel& model) {
    std::vector<UpdateOrigin> all;
    for (const ParameterSpec& spec : model.specs) {
      const std::int64_t third = spec.shape[0] / 3;
      UpdateOrigin origin{.name = spec.name,
                          .rows = {{third, 0}, {third, 17}, {spec.shape[0] - 2 * third, kBegun}},
                          .columns = {}};
      if (spec.is_matrix() && all.size() % 3 > 0) {
        origin.columns = {{5, 33}, {spec.shape[1] - 5, 0}};
        if (all.size() % 3 > 1) origin.rows.clear();
      }
      all.push_back(std::move(origin));
    }
    return all;
  }

  Groups groups_;
  Layout layout_;
  Arena arena_;
  ParameterStore parameters_;
  GradientBuckets buckets_;
  Optimizer optimizer_;
  std::string broken_;
};

inline bool same_element(const Tensor& a, std::int64_t i, const Tensor& b, std::int64_t j) {
  const std::size_t size = size_of(a.dtype());
  const auto at = [&](const Tensor& tensor, std::int64_t index) {
    return static_cast<const std::byte*>(tensor.raw()) + static_cast<std::size_t>(index) * size;
  };
  return a.dtype() == b.dtype() && std::memcmp(at(a, i), at(b, j), size) == 0;
}

}  // namespace gda::test

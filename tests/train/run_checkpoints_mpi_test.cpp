// Runs that are saved by ranks in one layout and restored by ranks in another.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "gda/core/philox.h"
#include "gda/dist/mesh.h"
#include "gda/train/run_checkpoints.h"
#include "support/mpi.h"
#include "support/shared_folder.h"
#include "support/tiny_model.h"

namespace gda {
namespace {

struct Layout {
  std::string name;
  MeshShape mesh = {};
  int chunks = 1;  // stages of each pipeline rank
  ZeroStage zero = ZeroStage::one;
};

const std::vector<Layout> kLayouts = {
    {"one rank"},
    {"data 3", {.data = 3}},
    {"tensor 2", {.tensor = 2}},
    {"pipeline 2", {.pipeline = 2}},
    {"pipeline 2, two stages a rank", {.pipeline = 2}, 2},
    {"ZeRO 3, data 2", {.data = 2}, 1, ZeroStage::three},
    {"ZeRO 3, data 3", {.data = 3}, 1, ZeroStage::three},
    {"ZeRO 2, pipeline 2, data 2", {.pipeline = 2, .data = 2}, 1, ZeroStage::two},
    {"ZeRO 3, tensor 2, data 2", {.data = 2, .tensor = 2}, 1, ZeroStage::three},
};

// 19 entries of the vocabulary, and four layers, of which one has frozen matrices.
ModelConfig config_of_test() {
  ModelConfig config = test::tiny_config("grouped_differential", "poly_norm", true);
  config.num_hidden_layers = 4;
  return config;
}

std::vector<ParameterSpec> specs_of_test(const ModelConfig& config) {
  std::vector<ParameterSpec> specs = parameter_specs(config);
  for (ParameterSpec& spec : specs) {
    spec.trainable = spec.layer != 2 || spec.name.find(".mlp.") == std::string::npos;
  }
  return specs;
}

std::vector<PlacedSpec> placed_at(const Mesh& mesh, const Layout& layout,
                                  const ModelConfig& config) {
  const auto cut = cut_into_stages(config, std::int64_t{layout.mesh.pipeline} * layout.chunks);
  std::vector<Placement> placements;
  for (auto stage = static_cast<std::size_t>(mesh.coordinate(Axis::pipeline)); stage < cut.size();
       stage += static_cast<std::size_t>(layout.mesh.pipeline)) {
    placements.push_back({.stage = cut[stage],
                          .tensor = mesh.coordinate(Axis::tensor),
                          .tensor_size = layout.mesh.tensor});
  }
  return place(specs_of_test(config), placements);
}

// The value of one element of a state, which bf16 does not hold exactly.
float element(const std::string& state, const std::string& name, std::int64_t i) {
  const Philox random(7, RandomPurpose::test, state + " of " + name);
  return static_cast<float>(random.uniform(static_cast<std::uint64_t>(i)) - 0.5);
}

// What a rank of a layout trains.
class Trained {
 public:
  Trained(const Layout& layout, Communicator& ranks, const std::filesystem::path& folder)
      : mesh_(ranks, layout.mesh),
        parameters_(placed_at(mesh_, layout, config_),
                    {.compute = DType::bf16, .alignment = layout.mesh.data, .zero = layout.zero}),
        buckets_(parameters_, GradientGroups{.replicas = mesh_.group(Axis::data),
                                             .tensor = &mesh_.group(Axis::tensor),
                                             .pipeline = &mesh_.group(Axis::pipeline),
                                             .world = ranks}),
        optimizer_(buckets_, make_update_rules({}, buckets_)),
        checkpoints_(folder, {.keep_last = 100, .async = false}, ranks, specs_of_test(config_),
                     buckets_, optimizer_) {}

  void fill() {
    for_all([](const OptimizerPiece&, const std::string&, float& value, float known) {
      value = known;
    });
    optimizer_.publish_masters(context());
  }

  void save(std::int64_t step) {
    RunState state;
    state.step = step;
    checkpoints_.save(context(), {.model = config_, .state = state, .growth = {}, .run_config = ""},
                      true);
  }

  // Reads no more than this rank's part.
  void restore(const CheckpointReader& reader) {
    checkpoints_.restore(context(), reader);
    std::uint64_t bytes = 0;
    std::string wrong;
    for_all([&](const OptimizerPiece& piece, const std::string& state, float value, float known) {
      if (value != known) wrong = state + " of " + piece.spec().name;
      bytes += sizeof(float);
    });
    EXPECT_EQ(wrong, "");
    EXPECT_EQ(reader.bytes_read(), bytes);
    expect_values();
  }

  void initialise_from(const ModelFolder& folder) {
    checkpoints_.initialise_from(context(), folder);
    std::uint64_t bytes = 0;
    for (const OptimizerPiece& piece : optimizer_.pieces()) bytes += piece.value.bytes();
    EXPECT_EQ(folder.bytes_read(), bytes);
    expect_values();
  }

 private:
  Context context() { return {Stream{}, arena_}; }

  // f(piece, state, element of this rank, its value) for all states and masters.
  template <class F>
  void for_all(F f) {
    for (const OptimizerPiece& piece : optimizer_.pieces()) {
      std::vector<OptimizerState> states = piece.states;
      states.push_back({"master", piece.master});
      for (const Stretch& part :
           stretches(piece.parameter->region, piece.spec().shape, piece.offset, piece.length)) {
        for (const OptimizerState& state : states) {
          for (std::int64_t i = 0; i < part.length; ++i) {
            f(piece, state.name, state.tensor.data<float>()[part.local - piece.offset + i],
              element(state.name, piece.spec().name, part.global + i));
          }
        }
      }
    }
  }

  // Whole on every rank that holds the parameter.
  void expect_values() {
    for (std::size_t i = 0; i < parameters_.buckets().size(); ++i) {
      buckets_.use(i);
      for (const std::size_t index : parameters_.buckets()[i].parameters) {
        const Parameter& parameter = parameters_.all()[index];
        EXPECT_EQ(wrong_values(parameter), 0) << parameter.spec.name;
      }
    }
  }

  static std::int64_t wrong_values(const Parameter& parameter) {
    const ParameterSpec& spec = parameter.spec;
    const std::int64_t count = parameter.region.elements();
    std::int64_t wrong = 0;
    for (const Stretch& part : stretches(parameter.region, spec.shape, 0, count)) {
      for (std::int64_t i = 0; i < part.length; ++i) {
        const float master = element("master", spec.name, part.global + i);
        const std::int64_t local = part.local + i;
        const bool is_right = spec.is_matrix()
                                  ? static_cast<float>(parameter.value.data<bfloat16>()[local]) ==
                                        static_cast<float>(bfloat16(master))
                                  : parameter.value.data<float>()[local] == master;
        if (!is_right) ++wrong;
      }
    }
    return wrong;
  }

  ModelConfig config_ = config_of_test();
  Mesh mesh_;
  ParameterStore parameters_;
  GradientBuckets buckets_;
  Optimizer optimizer_;
  Arena arena_;
  RunCheckpoints checkpoints_;
};

// The ranks of a layout, which are the first of the world; null on others. Collective.
std::unique_ptr<Communicator> ranks_of(const Layout& layout) {
  const bool is_in = test::world().rank() < layout.mesh.ranks();
  auto ranks = test::world().split(is_in ? 0 : 1, layout.name);
  return is_in ? std::move(ranks) : nullptr;
}

TEST(RunCheckpointsLayouts, AnyRestoresWhatAnySaves) {
  test::SharedFolder folder;
  std::vector<Layout> layouts;
  for (const Layout& layout : kLayouts) {
    if (layout.mesh.ranks() <= test::world().size()) layouts.push_back(layout);
  }
  for (std::size_t i = 0; i < layouts.size(); ++i) {
    if (const auto ranks = ranks_of(layouts[i])) {
      Trained run(layouts[i], *ranks, folder.path());
      run.fill();
      run.save(static_cast<std::int64_t>(i));
    }
    test::world().barrier();
  }
  for (const Layout& reads : layouts) {
    const auto ranks = ranks_of(reads);
    for (std::size_t i = 0; ranks && i < layouts.size(); ++i) {
      const CheckpointReader reader =
          checkpoint_of_step(folder.path(), static_cast<int>(i), ranks.get());
      SCOPED_TRACE(reads.name + " reads what " + layouts[i].name + " wrote");
      Trained run(reads, *ranks, folder.path());
      run.restore(reader);
      Trained(reads, *ranks, folder.path()).initialise_from(ModelFolder(reader.path()));
    }
    test::world().barrier();
  }
}

}  // namespace
}  // namespace gda

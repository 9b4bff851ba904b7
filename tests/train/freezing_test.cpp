// Runs that train a part of their model.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <set>

#include "gda/core/error.h"
#include "gda/train/trainer.h"
#include "support/temporary_folder.h"
#include "support/tiny_run.h"
#include "support/train.h"

namespace gda {
namespace {

namespace fs = std::filesystem;

using Bits = std::map<std::string, std::vector<std::byte>>;

Bits bits_of(const ParameterStore& parameters) {
  Bits bits;
  for (const Parameter& parameter : parameters.all()) {
    bits[parameter.spec.name] = test::bytes_of(parameter.value);
  }
  return bits;
}

bool is_upper(const std::string& name) {
  return name.starts_with("model.layers.1.");
}

class FreezingTest : public ::testing::Test {
 protected:
  void SetUp() override { test::write_tiny_data(root_ / "data"); }

  RunConfig config(const std::string& name, const WordOrList& trainable,
                   std::int64_t steps = 20) const {
    RunConfig config = test::tiny_run(root_ / "data", root_ / name);
    config.train.trainable = trainable;
    config.schedule.steps = config.train.steps;  // also of shorter runs, and of those that go on
    config.train.steps = steps;
    return config;
  }
  static WordOrList all() { return {.word = "all", .list = {}}; }
  static WordOrList upper() { return {.word = "", .list = {"model.layers.1.*"}}; }

  // A run's end.
  struct End {
    Bits bits;
    StepResult last;
    GrowthState growth;
    std::size_t optimizer_bytes = 0;
  };
  End run(const RunConfig& config, bool resume = false) {
    Trainer trainer(config, *self_);
    test::train(trainer, resume);
    return {.bits = bits_of(trainer.parameters()),
            .last = trainer.last_step(),
            .growth = trainer.growth(),
            .optimizer_bytes = trainer.optimizer().bytes()};
  }
  std::string fault(const RunConfig& config, bool resume = false) {
    try {
      run(config, resume);
    } catch (const Error& error) {
      return error.what();
    }
    return "(no error)";
  }
  fs::path checkpoint(const std::string& name, std::int64_t step) const {
    return root_ / name / "checkpoints" / step_folder_name({step});
  }

  // The newest checkpoint of a run again, as growth would have left it, in another run folder.
  fs::path save_as_grown(const RunConfig& from, const std::string& name,
                         const std::vector<std::string>& added) {
    const auto reader = newest_whole_checkpoint(fs::path(from.run_dir) / "checkpoints");
    TrainedModel model({.config = from.model,
                        .specs = parameter_specs(from.model),
                        .compute = DType::f32,
                        .checkpoints = root_ / name / "checkpoints",
                        .checkpoint = {},
                        .device = {}},
                       *self_, mesh_);
    Arena arena;
    const Context context{Stream{}, arena};
    RestoredRun restored = model.checkpoints.restore(context, *reader);
    restored.growth.added = added;
    model.checkpoints.save(context,
                           {.model = from.model,
                            .state = restored.state,
                            .growth = restored.growth,
                            .run_config = from.yaml()},
                           true);
    return model.checkpoints.finish(true)->path;
  }

  const test::TemporaryFolder folder_;
  const fs::path root_ = folder_.path();
  std::unique_ptr<Communicator> self_ = make_self_communicator();
  const Mesh mesh_{*self_, {}};
};

TEST_F(FreezingTest, FrozenParametersKeepTheirBits) {
  const Bits before = run(config("one", all(), 1)).bits;
  // Nothing moves before the first step, so a run's beginning is that of any other.
  RunConfig still = config("still", upper(), 1);
  still.optimizer.lr = 1e-30;
  const Bits initial = run(still).bits;
  const End end = run(config("frozen", upper()));
  for (const auto& [name, bits] : end.bits) {
    EXPECT_EQ(bits == initial.at(name), !is_upper(name)) << name;
    EXPECT_NE(before.at(name), initial.at(name)) << name;
  }
  // Two moments in f32 of what is trained.
  std::int64_t trainable = 0;
  for (const ParameterSpec& spec : parameter_specs(config("x", all()).model)) {
    if (is_upper(spec.name)) trainable += spec.shape.elements();
  }
  EXPECT_EQ(end.optimizer_bytes, static_cast<std::size_t>(8 * trainable));
  EXPECT_LT(end.last.loss, std::log(19.0));
}

TEST_F(FreezingTest, CheckpointsHoldMomentsOfWhatIsTrained) {
  run(config("frozen", upper(), 4));
  const CheckpointReader reader(checkpoint("frozen", 4));
  for (const ParameterSpec& spec : parameter_specs(reader.config())) {
    for (const char* state : {"exp_avg", "exp_avg_sq"}) {
      EXPECT_EQ(reader.has_state(state, spec.name), is_upper(spec.name)) << spec.name;
    }
  }
  EXPECT_TRUE(reader.growth().empty());
}

// Interrupted at step 8 and resumed: the same bits as without.
TEST_F(FreezingTest, ResumingChangesNothing) {
  const End whole = run(config("whole", upper(), 14));
  RunConfig half = config("half", upper(), 14);
  half.checkpoint.every_steps = 8;
  run(half);
  fs::remove_all(checkpoint("half", 14));
  const End resumed = run(half, true);
  EXPECT_EQ(resumed.bits, whole.bits);
  EXPECT_EQ(resumed.last.loss, whole.last.loss);
  EXPECT_TRUE(resumed.growth.empty());
}

TEST_F(FreezingTest, UnfrozenParametersBeginWithMomentsOfTheirOwn) {
  run(config("run", upper(), 6));
  const End end = run(config("run", all(), 7), true);
  // Those that were frozen began at update 6, wholly; the others with the run.
  std::set<std::string> begun;
  for (const UpdateOrigin& origin : end.growth.origins) {
    begun.insert(origin.name);
    ASSERT_EQ(origin.rows.size(), 1U);
    EXPECT_EQ(origin.rows[0].value, 6);
    EXPECT_TRUE(origin.columns.empty());
  }
  const std::vector<ParameterSpec> specs = parameter_specs(config("x", all()).model);
  for (const ParameterSpec& spec : specs)
    EXPECT_EQ(begun.contains(spec.name), !is_upper(spec.name));
  EXPECT_EQ(CheckpointReader(checkpoint("run", 7)).growth(), end.growth);

  // Their first update is at most lr in size (and lr times weight decay of the value).
  const CheckpointReader before(checkpoint("run", 6));
  const RunConfig settings = config("x", all(), 7);
  const double lr = settings.optimizer.lr;
  for (const ParameterSpec& spec : specs) {
    if (is_upper(spec.name)) continue;
    const OwnedTensor old(DType::f32, spec.shape);
    before.read_parameter(spec.name, old.tensor);
    const auto* now = reinterpret_cast<const float*>(end.bits.at(spec.name).data());
    for (std::int64_t i = 0; i < spec.shape.elements(); ++i) {
      const double was = old.tensor.data<float>()[i];
      const double decay = spec.decay ? settings.optimizer.weight_decay * std::abs(was) : 0;
      // One rounding of the parameter, a few of the update.
      ASSERT_LE(std::abs(now[i] - was), lr * (1 + decay) * (1 + 1e-5) + 1e-7 * std::abs(was));
    }
  }
  // And resuming the unfrozen run keeps those counts.
  EXPECT_EQ(run(config("run", all(), 9), true).growth, end.growth);
}

// With counts of their own, too, an interruption changes no bit.
TEST_F(FreezingTest, ResumingKeepsTheCountsOfRegions) {
  run(config("whole", upper(), 6));
  fs::copy(root_ / "whole", root_ / "half", fs::copy_options::recursive);
  const End whole = run(config("whole", all(), 14), true);
  RunConfig half = config("half", all(), 14);
  half.checkpoint.every_steps = 10;
  run(half, true);
  fs::remove_all(checkpoint("half", 14));
  const End resumed = run(half, true);
  EXPECT_EQ(resumed.growth, whole.growth);
  EXPECT_EQ(resumed.growth.origins.size(), 17U);
  EXPECT_EQ(resumed.bits, whole.bits);
}

TEST_F(FreezingTest, ParametersCanBeFrozenOnResume) {
  run(config("run", all(), 6));
  const CheckpointReader before(checkpoint("run", 6));
  const End end = run(config("run", upper(), 10), true);
  for (const ParameterSpec& spec : parameter_specs(before.config())) {
    const OwnedTensor old(DType::f32, spec.shape);
    before.read_parameter(spec.name, old.tensor);
    const bool same =
        std::memcmp(old.tensor.raw(), end.bits.at(spec.name).data(), old.tensor.bytes()) == 0;
    EXPECT_EQ(same, !is_upper(spec.name)) << spec.name;
  }
}

// With bf16 values, frozen parameters keep their f32 masters from checkpoint to checkpoint.
TEST_F(FreezingTest, FrozenMastersAreKept) {
  const ModelConfig model = test::tiny_config("grouped_differential");
  Arena arena;
  const Context context{Stream{}, arena};
  const auto make = [&](bool frozen, const std::string& name) {
    std::vector<ParameterSpec> specs = parameter_specs(model);
    for (ParameterSpec& spec : specs) spec.trainable = !frozen || is_upper(spec.name);
    return std::make_unique<TrainedModel>(TrainedModelOptions{.config = model,
                                                              .specs = specs,
                                                              .compute = DType::bf16,
                                                              .checkpoints = root_ / name,
                                                              .checkpoint = {},
                                                              .device = {}},
                                          *self_, mesh_);
  };
  const auto save = [&](TrainedModel& of) {
    of.checkpoints.save(context, {.model = model, .state = {}, .growth = {}, .run_config = ""},
                        true);
    return CheckpointReader(of.checkpoints.finish(true)->path);
  };
  const auto whole = make(false, "whole");
  for (const OptimizerPiece& piece : whole->optimizer.pieces()) {
    for (std::int64_t i = 0; i < piece.length; ++i) {
      piece.master.data<float>()[i] = 1 + static_cast<float>(i % 97) * 0x1p-20F;  // below bf16
    }
  }
  whole->optimizer.publish_masters(context);
  const CheckpointReader first = save(*whole);
  const auto part = make(true, "part");
  part->checkpoints.restore(context, first);
  const CheckpointReader second = save(*part);
  const auto again = make(false, "again");
  again->checkpoints.restore(context, second);
  for (std::size_t i = 0; i < whole->optimizer.pieces().size(); ++i) {
    const Tensor& x = whole->optimizer.pieces()[i].master;
    const Tensor& y = again->optimizer.pieces()[i].master;
    EXPECT_EQ(std::memcmp(x.raw(), y.raw(), x.bytes()), 0);
  }
  EXPECT_EQ(bits_of(whole->parameters), bits_of(again->parameters));
}

TEST_F(FreezingTest, NewTrainsWhatGrowthAdded) {
  const WordOrList is_new{.word = "new", .list = {}};
  const RunConfig base = config("base", all(), 4);
  run(base);
  std::vector<std::string> added;
  for (const ParameterSpec& spec : parameter_specs(base.model)) {
    if (is_upper(spec.name)) added.push_back(spec.name);
  }
  const fs::path grown = save_as_grown(base, "grown", added);
  // Going on with the run that growth began.
  const End resumed = run(config("grown", is_new, 8), true);
  // And beginning another from its parameters, resumed once.
  RunConfig next = config("next", is_new, 3);
  next.train.init_from = grown.string();
  run(next);
  next.train.steps = 6;
  const End begun = run(next, true);
  for (const End* end : {&resumed, &begun}) {
    EXPECT_EQ(end->growth.added, added);
    for (const auto& [name, bits] : end->bits) {
      const OwnedTensor old(DType::f32, {static_cast<std::int64_t>(bits.size() / 4)});
      CheckpointReader(grown).read_range(name, 0, old.tensor);
      const bool same = std::memcmp(old.tensor.raw(), bits.data(), bits.size()) == 0;
      EXPECT_EQ(same, !is_upper(name)) << name;
    }
  }
}

TEST_F(FreezingTest, TellsWhatIsMissing) {
  const WordOrList is_new{.word = "new", .list = {}};
  const std::string end =
      "; grow the model in depth first (gda grow depth), or give all or a list of patterns";
  const std::string start =
      "train.trainable: new: growth has added no complete tensors or layers to ";
  EXPECT_EQ(fault(config("new", is_new)), start + "a model that begins by its initialisers" + end);
  EXPECT_FALSE(fs::exists(root_ / "new"));
  run(config("run", all(), 2));
  EXPECT_EQ(fault(config("run", is_new, 4), true), start + checkpoint("run", 2).string() + end);
  RunConfig next = config("next", is_new);
  next.train.init_from = checkpoint("run", 2).string();
  EXPECT_EQ(fault(next), start + next.train.init_from + end);
}

// A region that begins after the updates done so far can only come from a damaged state.
TEST_F(FreezingTest, RefusesOriginsOfTheFuture) {
  const RunConfig base = config("base", all(), 2);
  run(base);
  TrainedModel model({.config = base.model,
                      .specs = parameter_specs(base.model),
                      .compute = DType::f32,
                      .checkpoints = root_ / "wrong" / "checkpoints",
                      .checkpoint = {},
                      .device = {}},
                     *self_, mesh_);
  Arena arena;
  const Context context{Stream{}, arena};
  const CheckpointReader reader(checkpoint("base", 2));
  RestoredRun restored = model.checkpoints.restore(context, reader);
  restored.growth.origins = {{.name = "model.norm.weight", .rows = {{12, 3}}, .columns = {}}};
  model.checkpoints.save(context,
                         {.model = base.model,
                          .state = restored.state,
                          .growth = restored.growth,
                          .run_config = base.yaml()},
                         true);
  EXPECT_EQ(fault(config("wrong", all(), 4), true),
            checkpoint("wrong", 2).string() +
                "/growth.json: elements of model.norm.weight began after 3 updates, but the run "
                "has done 2");
}

}  // namespace
}  // namespace gda

// A run is the same whenever the background sends gradients and fetches parameters: each wait that
// is missing, and each operation that begins too early, changes numbers here.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <regex>

#include "gda/core/file.h"
#include "gda/train/trained_model.h"
#include "gda/train/trainer.h"
#include "support/mpi.h"
#include "support/ordered_communicator.h"
#include "support/shared_folder.h"
#include "support/tiny_run.h"
#include "support/train.h"

namespace gda {
namespace {

namespace fs = std::filesystem;
using test::OperationOrder;

class OrderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (test::world().rank() == 0) test::write_tiny_data(root_ / "data");
    test::world().barrier();
  }

  // A head of its own, several micro-batches, evaluations, and a growth in the middle.
  RunConfig config(const std::string& name) const {
    RunConfig config = test::tiny_run(root_ / "data", root_ / name);
    config.model.tie_word_embeddings = false;
    config.train.steps = 6;
    config.eval.every_steps = 2;
    config.checkpoint.every_steps = 1;
    config.checkpoint.keep_last = 100;
    config.growth.stages.resize(1);
    config.growth.stages[0].step = 4;
    GrowthPlan plan;
    plan.steps.push_back({SignalHeads{.factor = 2}});
    config.growth.stages[0].plan = plan;
    return config;
  }

  // Each loss that a run has told of: of its steps, its evaluations, before its growth and after.
  static std::string losses_of(const std::string& metrics) {
    static const std::regex loss(R"re("[a-z_/]*loss[a-z_]*":[^,}]*)re");
    std::string all;
    for (std::sregex_iterator next(metrics.begin(), metrics.end(), loss), end; next != end;
         ++next) {
      all += next->str() + "\n";
    }
    return all;
  }

  // What the checkpoints of a run hold, by the files' paths in it.
  std::map<std::string, std::string> run(Communicator& group, const std::string& name) const {
    {
      Trainer trainer(config(name), group);
      test::train(trainer, false);
    }
    test::world().barrier();
    std::map<std::string, std::string> files;
    const fs::path folder = root_ / name / "checkpoints";
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
      const fs::path& path = entry.path();
      if (path.extension() != ".safetensors" && path.filename() != "trainer.json") continue;
      files[fs::relative(path, folder).string()] = read_text_file(path);
    }
    files["losses"] = losses_of(read_text_file(root_ / name / "metrics.jsonl"));
    return files;
  }

  const test::SharedFolder folder_;
  const fs::path root_ = folder_.path();
};

TEST_F(OrderTest, OperationsMayRunAtOnceOrWhenTheyAreWaitedFor) {
  const auto expected = run(test::world(), "plain");
  for (const OperationOrder order : {OperationOrder::at_once, OperationOrder::when_waited_for}) {
    const bool at_once = order == OperationOrder::at_once;
    test::OrderedCommunicator group(test::world(), order);
    const auto files = run(group, at_once ? "at-once" : "waited-for");
    ASSERT_EQ(files.size(), expected.size());
    for (const auto& [path, bytes] : expected) {
      const auto found = files.find(path);
      ASSERT_NE(found, files.end()) << path;
      EXPECT_TRUE(found->second == bytes) << path << (at_once ? " at once" : " when waited for");
    }
  }
}

// A model whose parameters have been updated, and are being gathered.
void update(TrainedModel& model, const Context& context) {
  model.parameters.initialize(3);
  model.optimizer.copy_masters_from_values(context);
  for (std::size_t i = 0; i < model.parameters.buckets().size(); ++i) {
    const Tensor& gradients = model.parameters.buckets()[i].gradients;
    std::fill_n(gradients.data<float>(), gradients.elements(), 1.0F);
    model.buckets.reduce(i);
  }
  model.buckets.gradient_norm(context);
  model.optimizer.update(context, {.lr = 0.1, .update = 1});
}

TEST_F(OrderTest, ACheckpointHasTheParametersThatAreBeingGathered) {
  test::OrderedCommunicator group(test::world(), OperationOrder::when_waited_for);
  const ModelConfig config = test::tiny_config("grouped_differential");
  Arena arena;
  const Context context{Stream{}, arena};
  const Mesh mesh(group, {.data = group.size()});
  TrainedModel model({.config = config,
                      .specs = parameter_specs(config),
                      .checkpoints = root_ / "saved",
                      .checkpoint = {},
                      .device = {}},
                     group, mesh);
  update(model, context);
  RunState state;
  state.step = 1;
  model.checkpoints.save(context, {config, state, {}, ""}, true);
  model.buckets.wait_all();
  const CheckpointReader reader(root_ / "saved" / "step-00000001");
  for (const Parameter& parameter : model.parameters.all()) {
    const OwnedTensor saved(DType::f32, parameter.value.shape());
    reader.read_parameter(parameter.spec.name, saved.tensor);
    EXPECT_EQ(std::memcmp(saved.tensor.raw(), parameter.value.raw(), parameter.value.bytes()), 0)
        << parameter.spec.name;
  }
}

}  // namespace
}  // namespace gda

// Commands that are given a checkpoint whose growth mask is rising.
#include <fmt/format.h>

#include <cmath>

#include "cli/run_folder.h"
#include "support/ramp_run.h"

namespace gda::test {
namespace {

constexpr std::int64_t kStep = 6;  // of a ramp from 2 to 10: the mask is a half

class MidRampTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_.config.eval.every_steps = kStep;
    folder_.config.eval.steps = 1;
    const auto self = make_self_communicator();
    write_ramp_checkpoint(*self, folder_.config, tiny_ramp(2, 8), 2);
    const Outcome outcome = run_gda({"resume", folder_.run()});
    ASSERT_EQ(outcome.code, 0) << outcome.text;
    EXPECT_TRUE(outcome.says("  mask 0.3750")) << outcome.text;
  }

  std::string checkpoint() const { return folder_.checkpoints() / step_folder_name({kStep}); }

  void expect_refused(const Outcome& outcome, const std::string& action) const {
    EXPECT_EQ(outcome.code, 2) << outcome.text;
    const std::string message = fmt::format(
        "gda: error: {}: growth is under way (mask 0.5 at step 6, 1 at step 10), and {} takes a "
        "finished model: resume it to step 10 first, with `gda resume {}`\n",
        checkpoint(), action, folder_.run());
    EXPECT_TRUE(outcome.says(message)) << "expected: " << message << "\nfound: " << outcome.text;
  }

  RunFolder folder_{kStep};
};

TEST_F(MidRampTest, IsEvaluatedWithItsMask) {
  const Outcome outcome = run_gda({"eval", "ppl", folder_.run(), "--max-samples", "12", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  const auto report = nlohmann::json::parse(outcome.text);
  std::int64_t found = 0;
  for (const nlohmann::json& line : folder_.metrics()) {
    if (!line.contains("eval")) continue;
    for (const nlohmann::json& row : report["results"]) {
      if (row["set"] != line["eval"]["name"]) continue;
      // The same kernels on the same rows: only printing may round.
      EXPECT_NEAR(row["loss"].get<double>(), line["eval"]["loss"].get<double>(), 1e-7);
      ++found;
    }
  }
  EXPECT_EQ(found, 2);
}

TEST_F(MidRampTest, IsScoredWithItsMask) {
  const std::vector<std::int32_t> tokens{3, 4, 5, 6, 11, 12};
  write_text_file_atomically(folder_.path("tokens.jsonl"), "[3,4,5,6,11,12]\n");
  const Outcome outcome =
      run_gda({"score", checkpoint(), "--tokens", folder_.path("tokens.jsonl")});
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  const auto scored = nlohmann::json::parse(outcome.text);

  const CheckpointReader reader(checkpoint());
  TinyModel model(folder_.config.model, DType::f32);
  for (const Parameter& parameter : model.parameters.all()) {
    reader.read_parameter(parameter.spec.name, parameter.value);
  }
  model.decoder.set_growth(tiny_ramp(2, 8).mask, 0.5);
  const auto length = static_cast<std::int64_t>(tokens.size()) - 1;
  const OwnedTensor token(DType::i32, {length});
  const OwnedTensor target(DType::i32, {length});
  const OwnedTensor position(DType::i32, {length});
  const OwnedTensor loss(DType::f32, {length});
  for (std::int32_t i = 0; i < length; ++i) {
    token.tensor.data<std::int32_t>()[i] = tokens[static_cast<std::size_t>(i)];
    target.tensor.data<std::int32_t>()[i] = tokens[static_cast<std::size_t>(i) + 1];
    position.tensor.data<std::int32_t>()[i] = i;
  }
  const SequenceBatch batch{.batch = 1,
                            .length = length,
                            .token = token.tensor,
                            .position = position.tensor,
                            .first_key = {}};
  model.decoder.forward_loss(model.context(), batch, target.tensor, loss.tensor);
  EXPECT_NEAR(scored["sum"].get<double>(), -TinyModel::sum(loss.tensor), 1e-6);
  model.decoder.set_growth({}, 1);
  model.decoder.forward_loss(model.context(), batch, target.tensor, loss.tensor);
  EXPECT_GT(std::abs(scored["sum"].get<double>() + TinyModel::sum(loss.tensor)), 1e-4);
}

TEST_F(MidRampTest, IsInspected) {
  const Outcome page = run_gda({"inspect", checkpoint()});
  EXPECT_TRUE(page.says("  growth      mask 0.5; it reaches 1 at step 10\n")) << page.text;
  const Outcome json = run_gda({"inspect", checkpoint(), "--json"});
  EXPECT_EQ(nlohmann::json::parse(json.text)["growth"]["mask"], 0.5) << json.text;
}

TEST_F(MidRampTest, DoesNotBeginARun) {
  expect_refused(run_gda(folder_.train("next", {"train.init_from=" + checkpoint()})),
                 "train.init_from");
  EXPECT_EQ(folder_.newest_step("next"), 0);
}

}  // namespace
}  // namespace gda::test

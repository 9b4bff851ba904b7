// Every way to grow a run, through the program: what it reports, that the run goes on, and that
// ranks do not change the result.
#include <algorithm>

#include "cli/run_folder.h"
#include "gda/checkpoint/checkpoint_reader.h"

namespace gda::test {
namespace {

namespace fs = std::filesystem;

struct Form {
  std::string name;
  std::vector<std::string> arguments;
  bool preserving = true;
  std::string attention = "grouped_differential";
};

std::vector<Form> forms() {
  return {{"width",
           {"width", "--hidden-factor", "2", "--feed-forward-factor", "2", "--heads", "multiply"}},
          {"zero_pad", {"zero-pad", "--hidden-size", "17", "--heads", "8"}},
          {"zero_pad_of_softmax",
           {"zero-pad", "--intermediate-size", "31", "--num-key-value-heads", "3"},
           true,
           "softmax"},
          {"depth", {"depth", "--at", "1,3"}},
          {"stack", {"stack", "--factor", "2", "--interpolate"}, false},
          {"masked", {"masked", "--intermediate-size", "30", "--ramp-steps", "4"}}};
}

std::vector<std::string> grow(const RunFolder& folder, std::vector<std::string> form,
                              const std::string& to = "grown") {
  form.insert(form.begin(), "grow");
  for (const std::string& argument : {std::string("--json"), std::string("--from"), folder.run(),
                                      std::string("--to"), folder.path(to).string()}) {
    form.push_back(argument);
  }
  return form;
}

fs::path checkpoint(const RunFolder& folder, const std::string& run) {
  return list_step_folders(folder.checkpoints(run)).back().path;
}

// Every parameter and state of two checkpoints, bit by bit.
void expect_same_tensors(const fs::path& a, const fs::path& b) {
  const CheckpointReader x(a);
  const CheckpointReader y(b);
  ASSERT_EQ(x.states(), y.states());
  EXPECT_EQ(x.growth(), y.growth());
  std::vector<std::string> states = x.states();
  for (const ParameterSpec& spec : parameter_specs(x.config())) {
    const auto read = [&](const CheckpointReader& reader, const std::string& state) {
      std::vector<float> values(static_cast<std::size_t>(spec.shape.elements()));
      const Tensor to(values.data(), DType::f32, {spec.shape.elements()});
      if (state.empty()) {
        reader.read_range(spec.name, 0, to);
      } else {
        reader.read_piece(state, spec.name, 0, to);
      }
      return values;
    };
    EXPECT_EQ(read(x, ""), read(y, "")) << spec.name;
    for (const std::string& state : states) {
      EXPECT_EQ(read(x, state), read(y, state)) << state << " of " << spec.name;
    }
  }
}

class GrowCommand : public testing::TestWithParam<Form> {};

TEST_P(GrowCommand, ReportsGrowsAndGoesOn) {
  RunFolder folder(4);
  folder.config.model = tiny_config(GetParam().attention);
  ASSERT_EQ(run_gda(folder.train()).code, 0);

  std::vector<std::string> dry = grow(folder, GetParam().arguments);
  dry.emplace_back("--dry-run");
  const Outcome said = run_gda(dry);
  ASSERT_EQ(said.code, 0) << said.text;
  EXPECT_FALSE(fs::exists(folder.path("grown")));
  const auto plan = nlohmann::json::parse(said.text);
  EXPECT_GT(plan["parameters"][1], plan["parameters"][0]);
  EXPECT_GT(plan["disk_bytes"]["needed"].get<std::int64_t>(),
            3 * 4 * plan["parameters"][1].get<std::int64_t>() - 1);
  EXPECT_FALSE(plan["tensors"].empty());
  EXPECT_FALSE(plan.contains("exactness"));

  const Outcome grown = run_gda(grow(folder, GetParam().arguments));
  ASSERT_EQ(grown.code, 0) << grown.text;
  const auto report = nlohmann::json::parse(grown.text);
  EXPECT_EQ(report["parameters"], plan["parameters"]);
  EXPECT_EQ(report["preserving"], GetParam().preserving);
  const double error = report["exactness"]["relative"].get<double>();
  EXPECT_EQ(error < 1e-5, GetParam().preserving) << error;
  const CheckpointReader reader(checkpoint(folder, "grown"));
  EXPECT_EQ(parameter_count(reader.config()), report["parameters"][1]);
  EXPECT_EQ(reader.growth().ramp.has_value(), GetParam().name == "masked");

  const Outcome shared = run_gda(grow(folder, GetParam().arguments, "shared"), 2);
  ASSERT_EQ(shared.code, 0) << shared.text;
  expect_same_tensors(checkpoint(folder, "grown"), checkpoint(folder, "shared"));

  const Outcome resumed = run_gda({"resume", folder.path("grown"), "train.steps=6"});
  EXPECT_EQ(resumed.code, 0) << resumed.text;
  EXPECT_EQ(folder.newest_step("grown"), 6);
}

INSTANTIATE_TEST_SUITE_P(Forms, GrowCommand, testing::ValuesIn(forms()),
                         [](const auto& instance) { return instance.param.name; });

// A toy of the shape of Motif's growth, on a tied differential model with PolyNorm, in bf16.
TEST(GrowPlan, DoesSeveralAtOnce) {
  RunFolder folder(4);
  folder.config.model = tiny_config("differential", "poly_norm", true);
  folder.config.precision.compute = ComputePrecision::bf16;
  ASSERT_EQ(run_gda(folder.train()).code, 0);
  const std::string file = folder.path("plan.yaml");
  write_text_file_atomically(
      file,
      "steps:\n"
      "  - {operator: untie}\n"
      "  - {operator: width, hidden_factor: 2, feed_forward_factor: 2, heads: keep}\n"
      "  - {operator: signal_heads, factor: 4}\n"
      "  - {operator: depth, every: 1}\n");
  const Outcome grown = run_gda(grow(folder, {"plan", file}));
  ASSERT_EQ(grown.code, 0) << grown.text;
  const auto report = nlohmann::json::parse(grown.text);
  EXPECT_LT(report["exactness"]["relative"].get<double>(), 1e-5);
  EXPECT_EQ(report["signal_heads"], (std::vector<int>{2, 8}));
  EXPECT_EQ(report["num_hidden_layers"], (std::vector<int>{2, 4}));
  EXPECT_EQ(report["hidden_size"], (std::vector<int>{12, 24}));
  const Outcome shared = run_gda(grow(folder, {"plan", file}, "shared"), 2);
  ASSERT_EQ(shared.code, 0) << shared.text;
  expect_same_tensors(checkpoint(folder, "grown"), checkpoint(folder, "shared"));
  // New layers count their updates from now, old parts from the beginning.
  const CheckpointReader reader(checkpoint(folder, "grown"));
  std::map<std::string, std::int64_t> origins;
  for (const UpdateOrigin& origin : reader.growth().origins) {
    ASSERT_FALSE(origin.rows.empty()) << origin.name;
    origins[origin.name] = origin.rows.front().value;
  }
  EXPECT_EQ(origins.at("model.layers.1.mlp.up_proj.weight"), 4);
  EXPECT_EQ(origins.at("lm_head.weight"), 4);
  EXPECT_EQ(origins.count("model.layers.2.mlp.up_proj.weight"), 0U);
  const Outcome resumed = run_gda({"resume", folder.path("grown"), "train.steps=6"}, 2);
  EXPECT_EQ(resumed.code, 0) << resumed.text;
}

// A toy of the shape of Llama-3-Motif's growth: layers, then every width at once.
TEST(GrowPlan, OfAPaddedModel) {
  RunFolder folder(2);
  folder.config.model = tiny_config("softmax");
  ASSERT_EQ(run_gda(folder.train()).code, 0);
  const std::string file = folder.path("plan.yaml");
  write_text_file_atomically(
      file,
      "from: {hidden_size: 12, num_key_value_heads: 2}\n"
      "to: {hidden_size: 13, num_hidden_layers: 3, heads: 6, num_key_value_heads: 2}\n"
      "steps:\n"
      "  - {operator: depth, every: 2}\n"
      "  - {operator: zero_pad, hidden_size: 13, intermediate_size: 22, heads: 6}\n");
  const Outcome grown = run_gda(grow(folder, {"plan", file}), 2);
  ASSERT_EQ(grown.code, 0) << grown.text;
  EXPECT_LT(nlohmann::json::parse(grown.text)["exactness"]["relative"].get<double>(), 1e-5);
  EXPECT_EQ(run_gda({"resume", folder.path("grown"), "train.steps=4"}).code, 0);
}

// LLaMA Pro's recipe, and growth of the model that it leaves, most of which has no moments.
TEST(GrowPlan, OfAPartlyFrozenRun) {
  const RunFolder folder(2);
  ASSERT_EQ(run_gda(folder.train()).code, 0);
  ASSERT_EQ(run_gda(grow(folder, {"depth", "--every", "2"}, "run-deep")).code, 0);
  const Outcome deep =
      run_gda({"resume", folder.path("run-deep"), "train.steps=4", "train.trainable=new"});
  ASSERT_EQ(deep.code, 0) << deep.text;
  std::vector<std::string> wider = grow(folder, {"width", "--hidden-factor", "2"}, "wider");
  std::replace(wider.begin(), wider.end(), folder.run(), folder.path("run-deep").string());
  const Outcome grown = run_gda(wider);
  ASSERT_EQ(grown.code, 0) << grown.text;
  EXPECT_LT(nlohmann::json::parse(grown.text)["exactness"]["relative"].get<double>(), 1e-5);
  const CheckpointReader reader(checkpoint(folder, "wider"));
  EXPECT_EQ(reader.growth().added.size(), 14U);
  EXPECT_TRUE(reader.has_state("exp_avg", "model.layers.2.mlp.up_proj.weight"));
  EXPECT_FALSE(reader.has_state("exp_avg", "model.layers.1.mlp.up_proj.weight"));
  for (const std::string trainable : {"new", "all"}) {
    const Outcome resumed =
        run_gda({"resume", folder.path("wider"), "train.steps=6", "train.trainable=" + trainable});
    EXPECT_EQ(resumed.code, 0) << resumed.text;
  }
}

TEST(GrowPlan, RefusesWhatItIsNotFor) {
  const RunFolder folder(2);
  ASSERT_EQ(run_gda(folder.train()).code, 0);
  const std::string file = folder.path("plan.yaml");
  const auto refused = [&](const std::string& plan, const std::string& message, int ranks = 0) {
    write_text_file_atomically(file, plan);
    const Outcome outcome = run_gda(grow(folder, {"plan", file}), ranks);
    EXPECT_EQ(outcome.code, 2) << outcome.text;
    EXPECT_TRUE(outcome.says("gda: error: " + message)) << outcome.text;
    EXPECT_FALSE(fs::exists(folder.path("grown")));
  };
  refused("from: {hidden_size: 16}\nsteps: [{operator: width, hidden_factor: 2}]\n",
          file + ": the plan is for another model: this one has: hidden_size 12 (expected 16)");
  refused("steps:\n  - {operator: width, hidden_factor: two}\n",
          file + ":2: steps.0.hidden_factor: ");
  refused("steps:\n  - {operator: zero_pad, heads: 7}\n",
          file + ": step 1 of 1 (zero_pad): heads: 7 do not divide over 2 noise heads");
  refused("steps:\n  - {operator: zero_pad, heads: 7}\n",
          file + ": step 1 of 1 (zero_pad): heads: 7 do not divide over 2 noise heads", 2);
  const std::string missing = folder.path("none.yaml");
  const Outcome outcome = run_gda(grow(folder, {"plan", missing}));
  EXPECT_EQ(outcome.code, 2) << outcome.text;
  EXPECT_TRUE(outcome.says("growth plan: ") && outcome.says(missing)) << outcome.text;
}

TEST(GrowMasked, MustEndBeforeTheNextGrowth) {
  const RunFolder folder(2);
  ASSERT_EQ(run_gda(folder.train()).code, 0);
  ASSERT_EQ(run_gda(grow(folder, {"masked", "--heads", "8", "--ramp-steps", "3"})).code, 0);
  const Outcome outcome = run_gda({"grow", "width", "--hidden-factor", "2", "--from",
                                   folder.path("grown"), "--to", folder.path("wider")});
  EXPECT_EQ(outcome.code, 2) << outcome.text;
  EXPECT_TRUE(outcome.says(
      "growth is under way (mask 0 at step 2, 1 at step 5), and another growth takes a finished "
      "model: resume it to step 5 first, with `gda resume " +
      folder.path("grown").string() + "`"))
      << outcome.text;
}

}  // namespace
}  // namespace gda::test

// Runs on a GPU (or the emulated one) against the same runs on the CPU.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "gda/core/log.h"
#include "gda/eval/generate.h"
#include "gda/growth/exactness.h"
#include "gda/train/trainer.h"
#include "support/temporary_folder.h"
#include "support/tiny_run.h"
#include "support/train.h"

namespace gda {
namespace {

namespace fs = std::filesystem;

class DeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!test::on_cuda()) GTEST_SKIP() << "these tests compare a GPU with the CPU";
    if (cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device is there";
    test::write_tiny_data(root_ / "data");
  }

  // A run of `steps` steps whose matrices are of `compute` type, in a folder of its own.
  RunConfig config(const std::string& device, const std::string& compute, std::int64_t steps,
                   const std::string& attention = "grouped_differential") const {
    RunConfig config = test::tiny_run(root_ / "data", root_ / (device + "-" + compute), attention);
    config.device = from_word<WantedDevice>(device).value();
    config.precision.compute = from_word<ComputePrecision>(compute).value();
    config.train.steps = steps;
    config.train.global_batch_size = 4;
    config.train.micro_batch_size = 2;
    config.schedule.warmup_steps = 0;
    return config;
  }

  static StepResult run(const RunConfig& config, bool resume = false) {
    const auto world = make_self_communicator();
    Trainer trainer(config, *world);
    test::train(trainer, resume);
    return trainer.last_step();
  }

  // The parameters that it ends with.
  static std::vector<std::vector<std::byte>> end_of(const RunConfig& config, bool resume = false) {
    const auto world = make_self_communicator();
    Trainer trainer(config, *world);
    if (resume) {
      trainer.resume();
    } else {
      trainer.begin();
    }
    trainer.run(StopRequest());
    std::vector<std::vector<std::byte>> bytes;
    for (const Bucket& bucket : trainer.parameters().buckets()) {
      bytes.push_back(test::bytes_of(bucket.values));
    }
    return bytes;
  }

  const test::TemporaryFolder folder_;
  const fs::path root_ = folder_.path();
};

// One step is one forward pass and one gradient. Sums have at most some hundred terms, in another
// order: a hundred roundings of the type, relative to numbers of order 1.
TEST_F(DeviceTest, TheFirstStepAgrees) {
  const auto difference = [&](const char* compute) {
    const StepResult cpu = run(config("cpu", compute, 1));
    const StepResult cuda = run(config("cuda", compute, 1));
    EXPECT_EQ(cuda.targets, cpu.targets);
    EXPECT_EQ(cuda.source_targets, cpu.source_targets);
    return std::max(std::abs(cuda.loss / cpu.loss - 1),
                    std::abs(cuda.gradient_norm / cpu.gradient_norm - 1));
  };
  EXPECT_LT(difference("fp64"), 1e-14);
  EXPECT_LT(difference("fp32"), 100 * 0x1p-24);
}

// In f64 rounding is some 1e-16 a step; Adam divides by the gradient's size, which lets it grow by
// a few powers of ten in a handful of steps.
TEST_F(DeviceTest, EveryKindOfModelTrainsToTheSameLoss) {
  for (const char* attention :
       {"softmax", "differential", "grouped_differential", "differential_v2"}) {
    for (const char* act : {"silu", "poly_norm"}) {
      const auto loss = [&](const char* device) {
        RunConfig run_config = config(device, "fp64", 3, attention);
        run_config.model.hidden_act = from_word<Activation>(act).value();
        run_config.model.tie_word_embeddings = std::string_view(act) == "silu";
        run_config.train.recompute = Recompute::selective;
        fs::remove_all(run_config.run_dir);
        return run(run_config).loss;
      };
      const double expected = loss("cpu");
      EXPECT_NEAR(loss("cuda"), expected, 1e-11 * expected) << attention << " " << act;
    }
  }
}

// Begun on one device, gone on with on the other.
TEST_F(DeviceTest, CheckpointsMoveBetweenDevices) {
  const RunConfig whole = config("cpu", "fp64", 6);
  const double expected = run(whole).loss;
  for (const auto& [first, second] : {std::pair("cpu", "cuda"), std::pair("cuda", "cpu")}) {
    RunConfig half = config(first, "fp64", 6);
    half.run_dir = (root_ / (std::string("half-") + first)).string();
    half.checkpoint.every_steps = 3;
    run(half);
    fs::remove_all(fs::path(half.run_dir) / "checkpoints" / "step-00000006");
    half.device = from_word<WantedDevice>(second).value();
    EXPECT_NEAR(run(half, true).loss, expected, 1e-11 * expected) << first << " to " << second;
  }
}

// Matrices in bf16: a loss of order 1 from products of 8 significant bits, and three steps.
TEST_F(DeviceTest, BfloatRunsAreCloseToTheCpu) {
  const double expected = run(config("cpu", "fp32", 3)).loss;
  EXPECT_NEAR(run(config("cuda", "bf16", 3)).loss, expected, 0x1p-8 * expected);
}

// bf16 matrices are rounded by a function of the number of updates, also when a run goes on.
TEST_F(DeviceTest, ResumingWithStochasticRoundingChangesNothing) {
  RunConfig whole = config("cuda", "bf16", 3);
  const auto nearest = end_of(whole);
  whole.precision.rounding = MasterRounding::stochastic;
  whole.checkpoint.every_steps = 2;
  whole.run_dir = (root_ / "stochastic").string();
  const auto expected = end_of(whole);
  EXPECT_NE(expected, nearest);
  fs::remove_all(root_ / "stochastic" / "checkpoints" / "step-00000003");
  EXPECT_EQ(end_of(whole, true), expected);
}

// Also with document masks and a ramp of the batch size, whose steps record anew.
TEST_F(DeviceTest, GraphsChangeNothing) {
  RunConfig plain = config("cuda", "fp32", 4);
  plain.train.global_batch_size = 8;
  plain.train.batch_ramp = {{.step = 0, .value = 4}, {.step = 2, .value = 8}};
  RunConfig graphs = plain;
  graphs.train.cuda_graphs = true;
  graphs.run_dir = (root_ / "graphs").string();
  EXPECT_EQ(end_of(graphs), end_of(plain));
}

TEST_F(DeviceTest, AnUnknownGpuIsMeasured) {
  if (facts_of(test::test_device()).name != "emulated") {
    GTEST_SKIP() << "only the emulated GPU is surely unknown";
  }
  RunConfig measured = config("cuda", "fp32", 2);
  measured.logging.peak_tflops.reset();
  run(measured);
  const std::string metrics = read_text_file(root_ / "cuda-fp32" / "metrics.jsonl");
  EXPECT_NE(metrics.find("\"peak_origin\":\"measured\""), std::string::npos) << metrics;
  EXPECT_EQ(metrics.find("\"mfu_causal\":null"), std::string::npos) << metrics;
}

// The name alone makes it a known one. Products are measured all the same.
TEST_F(DeviceTest, AKnownGpuHasItsDataSheet) {
  if (facts_of(test::test_device()).name != "emulated") {
    GTEST_SKIP() << "only the emulated GPU takes another's name";
  }
  RunConfig known = config("cuda", "fp32", 2);
  known.logging.peak_tflops.reset();
  ::setenv("GDA_EMULATION_NAME", "NVIDIA H200", 1);
  run(known);
  ::unsetenv("GDA_EMULATION_NAME");
  const std::string metrics = read_text_file(root_ / "cuda-fp32" / "metrics.jsonl");
  EXPECT_NE(metrics.find("\"peak_flops\":669000000000"), std::string::npos) << metrics;
  EXPECT_NE(metrics.find("\"peak_origin\":\"data sheet, H200\""), std::string::npos) << metrics;
  EXPECT_EQ(metrics.find("\"measured_flops\":null"), std::string::npos) << metrics;
  EXPECT_EQ(metrics.find("\"share_of_measured\":null"), std::string::npos) << metrics;
}

TEST_F(DeviceTest, AGraphThatCannotBeMadeIsDoneWithout) {
  if (facts_of(test::test_device()).name != "emulated") {
    GTEST_SKIP() << "only the emulated GPU fails when it is told to";
  }
  const RunConfig plain = config("cuda", "fp32", 4);
  RunConfig graphs = plain;
  graphs.train.cuda_graphs = true;
  graphs.run_dir = (root_ / "graphs").string();
  ::setenv("GDA_EMULATION_FAILS_CAPTURES", "1", 1);
  const auto end = end_of(graphs);
  ::unsetenv("GDA_EMULATION_FAILS_CAPTURES");
  EXPECT_EQ(end, end_of(plain));
  log::flush();
  std::ifstream file(root_ / "graphs" / "log" / "rank-00000.log");
  int warnings = 0;
  for (std::string line; std::getline(file, line);) {
    warnings += line.ends_with(
        " W a micro-batch cannot be a graph (the emulated device: a capture failed, as it was told "
        "to); the run continues without graphs, slower");
  }
  EXPECT_EQ(warnings, 1);
}

TEST_F(DeviceTest, GenerationAndLogitsAgree) {
  const RunConfig trained = config("cpu", "fp64", 3);
  run(trained);
  const CheckpointReader reader(fs::path(trained.run_dir) / "checkpoints" / "step-00000003");
  const std::vector<std::int32_t> prompt = {3, 1, 4, 1, 5};
  const auto generated = [&](Device device) {
    const OwnedStream stream(device);
    ParameterStore parameters(parameter_specs(reader.config()), DType::f64, 1, false, device);
    for (const Parameter& parameter : parameters.all()) {
      fill_from_host(stream.get(), parameter.value,
                     [&](const Tensor& host) { reader.read_parameter(parameter.spec.name, host); });
    }
    Decoder decoder(reader.config(), parameters);
    Arena arena(device);
    const Context context{stream.get(), arena};
    GenerateOptions options;
    options.sampling.seed = 7;
    options.max_tokens = 12;
    auto tokens = generate(context, decoder, prompt, options);
    return std::pair(tokens, decoder.lambdas(context));
  };
  const auto [cpu_tokens, cpu_lambdas] = generated({});
  const auto [tokens, lambdas] = generated(test::test_device());
  EXPECT_EQ(tokens, cpu_tokens);
  ASSERT_EQ(lambdas.size(), cpu_lambdas.size());
  for (std::size_t i = 0; i < lambdas.size(); ++i) EXPECT_NEAR(lambdas[i], cpu_lambdas[i], 1e-14);
  const Exactness same = compare_logits(reader, reader, prompt, DType::f32, test::test_device());
  const Exactness cpu = compare_logits(reader, reader, prompt, DType::f32);
  EXPECT_EQ(same.largest_difference, 0);
  EXPECT_NEAR(same.largest_logit, cpu.largest_logit, 1e-5 * cpu.largest_logit);
}

// What the plan reserves is what steps take: the arena never grows, and nothing is left over.
TEST_F(DeviceTest, TheArenaIsPlanned) {
  for (const char* recompute : {"none", "selective", "full"}) {
    RunConfig planned = config("cuda", "bf16", 2);
    planned.run_dir = (root_ / recompute).string();
    planned.train.recompute = from_word<Recompute>(recompute).value();
    const auto world = make_self_communicator();
    Trainer trainer(planned, *world);
    trainer.begin();
    const std::size_t reserved = trainer.scratch().capacity();
    EXPECT_GT(reserved, 0U);
    trainer.run(StopRequest());
    EXPECT_EQ(trainer.scratch().capacity(), reserved) << recompute;
    EXPECT_EQ(trainer.scratch().peak(), reserved) << recompute;
  }
}

TEST_F(DeviceTest, TellsWhatFillsTheMemory) {
  if (facts_of(test::test_device()).memory_bytes > (std::size_t{4} << 30)) {
    GTEST_SKIP() << "this device is too large to fill";
  }
  RunConfig large = config("cuda", "fp32", 1);
  large.train.global_batch_size = large.train.micro_batch_size = 60000;
  try {
    run(large);
    FAIL() << "expected OutOfMemory";
  } catch (const OutOfMemory& error) {
    const std::string message = error.what();
    EXPECT_TRUE(message.starts_with("cuda:0 is out of memory: ")) << message;
    for (const char* part : {"were asked for (activations)", "MiB are free, this process holds ",
                             "parameters", "gradients", "optimizer state"}) {
      EXPECT_NE(message.find(part), std::string::npos) << message;
    }
  }
}

}  // namespace
}  // namespace gda

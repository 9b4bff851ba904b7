// What the program says, and its exit code, when its input is wrong: 2 for the command line and the
// configuration, 1 for files.
#include <fmt/format.h>

#include <algorithm>

#include "cli/run_folder.h"

namespace gda::test {
namespace {

namespace fs = std::filesystem;

void expect_error(const Outcome& outcome, int code, const std::string& message) {
  EXPECT_EQ(outcome.code, code) << outcome.text;
  EXPECT_TRUE(outcome.says("gda: error: ")) << outcome.text;
  EXPECT_TRUE(outcome.says(message)) << "expected: " << message << "\nfound: " << outcome.text;
}

TEST(BadInputTest, UnknownKey) {
  RunFolder folder(2);
  expect_error(run_gda(folder.train("run", {"train.step=3"})), 2, "did you mean \"steps\"?");
  const Outcome outcome = run_gda(folder.train("run", {"train.stepz=3"}));
  expect_error(outcome, 2, "train.stepz: unknown key; did you mean \"steps\"?");
  EXPECT_FALSE(fs::exists(folder.run()));

  std::string yaml = folder.config.yaml();
  const std::size_t at = yaml.find("warmup_steps");
  yaml.replace(at, 12, "warmup_stepz");
  const auto line =
      1 + std::count(yaml.begin(), yaml.begin() + static_cast<std::ptrdiff_t>(at), '\n');
  write_text_file_atomically(folder.path("bad.yaml"), yaml);
  const Outcome in_file = run_gda({"train", folder.path("bad.yaml")});
  expect_error(in_file, 2, fmt::format("{}:{}", folder.path("bad.yaml").string(), line));
  expect_error(in_file, 2, "warmup_steps");
}

TEST(BadInputTest, CommandLine) {
  EXPECT_EQ(run_gda({"trian"}).code, 2);
  EXPECT_EQ(run_gda({"train"}).code, 2);
  EXPECT_EQ(run_gda({}).code, 2);
  expect_error(run_gda({"train", "/nonexistent/run.yaml"}), 2,
               "cannot open /nonexistent/run.yaml: No such file or directory");
}

// There is no GPU, or none that may be seen.
TEST(BadInputTest, DeviceThatIsNotThere) {
  const RunFolder folder(2);
  ::setenv("CUDA_VISIBLE_DEVICES", "", 1);
  const std::string message = "no CUDA device ";
  expect_error(run_gda(folder.train("run", {"device=cuda"})), 2, "device: cuda: " + message);
  expect_error(run_gda(folder.train("run", {"--device", "cuda"})), 2, "device: cuda: " + message);
  EXPECT_EQ(run_gda(folder.train("run", {"--device", "gpu"})).code, 2);
  EXPECT_FALSE(fs::exists(folder.run()));
  EXPECT_EQ(run_gda(folder.train("run", {"--device", "auto"})).code, 0);
  expect_error(run_gda({"eval", "ppl", folder.run(), "--device", "cuda"}), 2,
               "--device cuda: " + message);
  ::unsetenv("CUDA_VISIBLE_DEVICES");
}

TEST(BadInputTest, FolderThatCannotBeWritten) {
  const RunFolder folder(2);
  // A file where a folder is needed stops root too, whom permissions do not.
  write_text_file_atomically(folder.path("file"), "");
  expect_error(run_gda(folder.train("file/run")), 1,
               "cannot make folder " + folder.path("file/run").string() + ": Not a directory");
}

TEST(BadInputTest, FolderThatIsNoRun) {
  const RunFolder folder(2);
  expect_error(run_gda({"resume", folder.path("nothing")}), 2,
               folder.path("nothing").string() + " is not a run folder: it has no config.yaml");
}

TEST(BadInputTest, TrainOverARun) {
  const RunFolder folder(2);
  ASSERT_EQ(run_gda(folder.train()).code, 0);
  const auto before = folder.hashes(2);
  for (const int ranks : {0, 2}) {
    expect_error(
        run_gda(folder.train(), ranks), 2,
        fmt::format("{0} already holds the checkpoints of a run: resume it with `gda resume "
                    "{0}`, or choose another run_dir",
                    folder.run()));
  }
  EXPECT_EQ(folder.hashes(2), before);
}

TEST(BadInputTest, Datasets) {
  const RunFolder folder(2);
  expect_error(run_gda(folder.train("run", {"data.sources=[{name: one, path: /nonexistent/x}]"})),
               1, "no token dataset at /nonexistent/x: expected /nonexistent/x.bin");
  EXPECT_FALSE(fs::exists(folder.run()));
  write_tiny_dataset(folder.path("wide").string(), 40, 1, 50);
  expect_error(
      run_gda(folder.train(
          "run", {"data.sources=[{name: one, path: " + folder.path("wide").string() + "}]"})),
      2, "but the model's vocab_size is 19: use data of the model's tokenizer");
  fs::resize_file(folder.path("one.bin"), fs::file_size(folder.path("one.bin")) - 2);
  expect_error(run_gda(folder.train()), 1, folder.path("one.bin").string() + ": truncated: ");
  write_text_file_atomically(folder.path("two.idx"), std::string(200, 'x'));
  write_tiny_dataset(folder.path("one").string(), 19, 1, 300);
  expect_error(run_gda(folder.train()), 1,
               folder.path("two.idx").string() + ": not a Megatron index: expected the magic");
}

TEST(BadInputTest, BatchThatDoesNotFitTheRanks) {
  RunFolder folder(2);
  folder.config.train.global_batch_size = 4;
  const Outcome outcome = run_gda(folder.train(), 3);
  expect_error(outcome, 2,
               "train.global_batch_size: 4 sequences cannot be split over 3 data-parallel ranks in "
               "micro-batches of 1: a multiple of 3 is needed, such as 3 or 6");
}

TEST(BadInputTest, Growth) {
  RunFolder folder(2);
  ASSERT_EQ(run_gda(folder.train()).code, 0);
  const auto grow = [&](std::vector<std::string> arguments, const std::string& from = "run") {
    std::vector<std::string> all{"grow", "signal-heads",      "--from", folder.path(from),
                                 "--to", folder.path("grown")};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return run_gda(all);
  };
  const std::string either =
      "grow signal-heads: --factor: give either factor (replicate every signal head) or add";
  expect_error(grow({}), 2, either);
  expect_error(grow({"--factor", "2", "--add", "1"}), 2, either);
  expect_error(grow({"--factor", "1"}), 2, "--factor: must be at least 2, got 1");
  expect_error(grow({"--factor", "0"}), 2, "--factor: must be at least 2, got 0");
  expect_error(grow({"--factor", "-3"}), 2, "--factor: must be at least 2, got -3");
  expect_error(grow({"--add", "-1"}), 2, "--add: must be at least 1, got -1");
  expect_error(grow({"--factor", "2"}, "nothing"), 1, folder.path("nothing").string());
  EXPECT_FALSE(fs::exists(folder.path("grown")));

  ASSERT_EQ(grow({"--factor", "2"}).code, 0);
  expect_error(grow({"--factor", "2"}), 2,
               "--to " + folder.path("grown").string() +
                   ": the folder already holds checkpoints; choose another");

  folder.config.model = tiny_config("softmax");
  ASSERT_EQ(run_gda(folder.train("softmax")).code, 0);
  fs::remove_all(folder.path("grown"));
  expect_error(grow({"--factor", "2"}, "softmax"), 2, "grow signal-heads");
}

TEST(BadInputTest, DamagedCheckpoints) {
  RunFolder folder(3);
  folder.config.checkpoint.every_steps = 1;
  ASSERT_EQ(run_gda(folder.train()).code, 0);
  const auto whole = folder.hashes(3);
  const auto folders = list_step_folders(folder.checkpoints());
  ASSERT_EQ(folders.size(), 3U);
  const fs::path newest = folders[2].path;
  std::string bytes = read_text_file(newest / "model.safetensors");
  bytes[bytes.size() - 9] ^= 4;
  write_text_file_atomically(newest / "model.safetensors", bytes);
  fs::remove(folders[1].path / "manifest.json");
  for (const int ranks : {0, 2}) {
    const Outcome resumed = run_gda({"resume", folder.run(), "train.steps=3"}, ranks);
    EXPECT_EQ(resumed.code, 0) << resumed.text;
    if (ranks > 0) continue;  // whole again
    EXPECT_TRUE(resumed.says("a checkpoint is passed over: " + newest.string())) << resumed.text;
    EXPECT_TRUE(resumed.says("using " + folders[0].path.string() + " instead")) << resumed.text;
    EXPECT_TRUE(resumed.says("(step 1, written by 1 rank)")) << resumed.text;
    EXPECT_EQ(folder.hashes(3), whole);
  }
  for (const StepFolder& step : list_step_folders(folder.checkpoints())) {
    fs::remove(step.path / "manifest.json");
  }
  expect_error(run_gda({"resume", folder.run()}), 1,
               "no checkpoint in " + folder.checkpoints().string() + " is complete: ");
}

TEST(BadInputTest, CheckpointOfAnotherModel) {
  const RunFolder folder(2);
  ASSERT_EQ(run_gda(folder.train()).code, 0);
  expect_error(run_gda({"resume", folder.run(), "train.steps=3", "model.hidden_size=16"}), 2,
               "model.hidden_size: 12 -> 16: the model is the checkpoint's");
}

// A page of its own is not silently given instead of what else was asked for.
TEST(ConfigCommand, GivesOnePageAtATime) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"run.yaml", "--schema"}, {"--schema", "--metrics"}, {"--reference", "--get", "x"}}) {
    std::vector<std::string> command{"config"};
    command.insert(command.end(), words.begin(), words.end());
    const Outcome outcome = run_gda(command);
    EXPECT_EQ(outcome.code, 2) << outcome.text;
    EXPECT_TRUE(outcome.says("each print a page of their own; give one of them")) << outcome.text;
  }
  EXPECT_EQ(run_gda({"config"}).code, 2);
  EXPECT_EQ(run_gda({"config", "--reference"}).code, 0);
}

}  // namespace
}  // namespace gda::test

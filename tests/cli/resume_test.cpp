// Going on with a run: from which checkpoint, with which settings, in whose folder.
#include <fmt/format.h>
#include <signal.h>

#include <cstdlib>

#include "cli/run_folder.h"
#include "support/hidden_damage.h"

namespace gda::test {
namespace {

namespace fs = std::filesystem;

void expect_outcome(const Outcome& outcome, int code, const std::string& message) {
  EXPECT_EQ(outcome.code, code) << outcome.text;
  EXPECT_TRUE(outcome.says(message)) << "expected: " << message << "\nfound: " << outcome.text;
}

class ResumeTest : public testing::Test {
 protected:
  ResumeTest() : folder_(6) {
    folder_.config.checkpoint.every_steps = 2;
    folder_.config.checkpoint.keep_last = 9;
  }
  void SetUp() override { ASSERT_EQ(run_gda(folder_.train()).code, 0); }
  Outcome resume(const std::vector<std::string>& arguments) const {
    std::vector<std::string> all{"resume", folder_.run()};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return run_gda(all);
  }

  RunFolder folder_;
};

TEST_F(ResumeTest, FromAStep) {
  expect_outcome(resume({"--step", "5"}), 2,
                 "no checkpoint of step 5; the steps that are there: 2, 4, 6");
  const auto whole = folder_.hashes(6);
  const Outcome outcome = resume({"--step", "2"});
  EXPECT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_TRUE(outcome.says("(step 2, written by")) << outcome.text;
  EXPECT_TRUE(outcome.says("step-00000004 is left behind")) << outcome.text;
  EXPECT_EQ(folder_.hashes(6), whole);
  const std::string one = (folder_.checkpoints() / "step-00000004").string();
  const Outcome by_folder = run_gda({"resume", one + "/", "train.steps=7"});
  EXPECT_EQ(by_folder.code, 0) << by_folder.text;
  EXPECT_TRUE(by_folder.says("(step 4, written by")) << by_folder.text;
  expect_outcome(run_gda({"resume", one, "--step", "2"}), 2, "another step's");
}

TEST_F(ResumeTest, SettingsWithoutEffectAreRefusedByName) {
  const auto before = folder_.hashes(6);
  const std::string yaml = read_text_file(folder_.path("run") / "config.yaml");
  for (const auto& [setting, name] : std::vector<std::pair<std::string, std::string>>{
           {"run_dir=" + folder_.path("other").string(), "run_dir: "},
           {"train.init_from=" + folder_.run(), "train.init_from: "},
           {"train.seed=7", "train.seed: 1 -> 7"},
           {"model.initializer_range=0.5", "model.initializer_range: "},
           {"model.intermediate_size=24", "model.intermediate_size: 20 -> 24"},
           {"model.attention.signal_heads=4", "model.attention.signal_heads: 6 -> 4"}}) {
    expect_outcome(resume({"train.steps=8", setting}), 2, name);
  }
  expect_outcome(resume({"train.steps=4"}), 2, "train.steps: 4, but ");
  EXPECT_EQ(folder_.newest_step(), 6);
  EXPECT_EQ(folder_.hashes(6), before);
  EXPECT_EQ(read_text_file(folder_.path("run") / "config.yaml"), yaml);
  EXPECT_FALSE(fs::exists(folder_.path("run") / "lock"));
}

TEST_F(ResumeTest, SettingsWithEffectAreTold) {
  const Outcome outcome = resume({"train.steps=8", "data.seed=99", "model.rope.theta=5000",
                                  "run_dir=" + folder_.run(), "optimizer.lr=0.1"});
  EXPECT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_TRUE(outcome.says("data.seed: 1234 -> 99")) << outcome.text;
  EXPECT_TRUE(outcome.says("model.rope.theta")) << outcome.text;
  EXPECT_TRUE(outcome.says("the learning rate jumps from")) << outcome.text;
}

TEST_F(ResumeTest, ARunThatIsDoneSaysHowToTrainOn) {
  const Outcome outcome = resume({});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_TRUE(
      outcome.says(fmt::format("nothing to do: {0} is at step 6 of 6. Train on with: gda "
                               "resume {0} train.steps=12 schedule.steps=12",
                               folder_.run())))
      << outcome.text;
}

TEST_F(ResumeTest, AFolderHasOneOwner) {
  const std::vector<std::string> longer{"resume", folder_.run(), "train.steps=100000"};
  Program first(longer);
  ASSERT_TRUE(first.wait_until([&] { return folder_.reported_step() > 8; }));
  for (const int ranks : {0, 2}) {
    expect_outcome(run_gda({"resume", folder_.run()}, ranks), 2, "is in use by process ");
  }
  expect_outcome(run_gda({"grow", "signal-heads", "--factor", "2", "--from", folder_.run(), "--to",
                          folder_.run()}),
                 2, "already holds checkpoints");
  first.signal(SIGTERM);
  const Outcome outcome = first.wait();
  EXPECT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_FALSE(fs::exists(folder_.path("run") / "lock"));
}

TEST_F(ResumeTest, AKilledOwnerIsNone) {
  {
    Program first({"resume", folder_.run(), "train.steps=100000"});
    ASSERT_TRUE(first.wait_until([&] { return folder_.reported_step() > 8; }));
    first.signal(SIGKILL);
    first.wait();
  }
  EXPECT_TRUE(fs::exists(folder_.path("run") / "lock"));
  const Outcome outcome = resume({"train.steps=8"});
  EXPECT_EQ(outcome.code, outcome.says("train.steps: 8, but") ? 2 : 0) << outcome.text;
  EXPECT_TRUE(outcome.says("which is gone")) << outcome.text;
  EXPECT_FALSE(fs::exists(folder_.path("run") / "lock"));
}

// Two ranks, one of which meets an id beyond the vocabulary: both save what was trained until then.
TEST(BadDataTest, OnOneRankIsMetSaved) {
  RunFolder folder(100);
  std::string bytes = read_text_file(folder.path("one.bin"));
  bytes[bytes.size() / 2] = 77;
  write_text_file_atomically(folder.path("one.bin"), bytes);
  hide_damage(folder.path("one").string());
  folder.config.data.sources.resize(1);
  folder.config.data.validation_fraction = 0;
  const Outcome outcome = run_gda(folder.train(), 2);
  expect_outcome(outcome, 1, "token id 77");
  expect_outcome(outcome, 1, "gda resume " + folder.run() + " --skip-steps 1");
  const std::int64_t step = folder.newest_step();
  expect_outcome(outcome, 1, fmt::format("Step {} is saved", step));
  const Outcome resumed = run_gda(
      {"resume", folder.run(), "--skip-steps", "1", fmt::format("train.steps={}", step + 2)}, 2);
  EXPECT_EQ(resumed.code, 0) << resumed.text;
}

TEST(OutputTest, IsOverwrittenOnlyWhenAsked) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 400; ++i) text += fmt::format("line {} of {} words\n", i, i * 7919 % 1000);
  write_text_file_atomically(folder / "text.txt", text);
  const std::string input = (folder / "text.txt").string();
  const std::string model = (folder / "t.model").string();
  const std::string data = (folder / "data").string();
  const std::vector<std::string> train{"tokenizer", "train",     "--input",      input,
                                       "--format",  "text-line", "--vocab-size", "300",
                                       "--output",  model};
  const std::vector<std::string> tokenize{"tokenize", "--input",   input,
                                          "--format", "text-line", "--tokenizer",
                                          model,      "--output",  data};
  for (const auto& [command, output] :
       {std::pair(train, model), std::pair(tokenize, data + ".bin")}) {
    const Outcome first = run_gda(command);
    ASSERT_EQ(first.code, 0) << first.text;
    const auto time = fs::last_write_time(output);
    expect_outcome(run_gda(command), 2, output + " is already there; give --force");
    EXPECT_EQ(fs::last_write_time(output), time);
    std::vector<std::string> forced = command;
    forced.emplace_back("--force");
    EXPECT_EQ(run_gda(forced).code, 0);
    EXPECT_NE(fs::last_write_time(output), time);
  }
  fs::remove(data + ".bin");
  expect_outcome(run_gda(tokenize), 2, data + ".idx is already there");
  std::size_t files = 0;
  for (const auto& entry : fs::directory_iterator(folder.path())) {
    EXPECT_NE(entry.path().extension(), ".lock");
    EXPECT_NE(entry.path().extension(), ".tmp");
    ++files;
  }
  EXPECT_EQ(files, 4U);  // text.txt, t.model, data.idx, data.gda.json
}

// Nobody reads what the run prints: it trains to its end.
TEST(OutputTest, AClosedPipeEndsNoRun) {
  const RunFolder folder(60);
  std::string command;
  for (const std::string& word : folder.train()) command += " '" + word + "'";
  const std::string status = folder.path("status").string();
  const std::string line = fmt::format("({{ {}{}; echo $? > {}; }} 2>&1) | head -n 1 > /dev/null",
                                       GDA_PROGRAM, command, status);
  ASSERT_EQ(std::system(line.c_str()), 0);
  EXPECT_EQ(read_text_file(status), "0\n");
  EXPECT_EQ(folder.newest_step(), 60);
}

}  // namespace
}  // namespace gda::test

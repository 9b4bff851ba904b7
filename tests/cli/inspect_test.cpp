#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "checkpoint/sample.h"
#include "checkpoint/scratch.h"
#include "gda/core/file.h"
#include "gda/data/token_writer.h"

namespace gda::test {
namespace {

namespace fs = std::filesystem;

struct Outcome {
  int code = -1;
  std::string text;  // stdout and stderr
};

Outcome inspect(const std::string& arguments) {
  const std::string command = std::string(GDA_PROGRAM) + " inspect " + arguments + " 2>&1";
  std::FILE* pipe = ::popen(command.c_str(), "r");
  Outcome outcome;
  std::array<char, 4096> block{};
  for (std::size_t n = 0; (n = std::fread(block.data(), 1, block.size(), pipe)) > 0;) {
    outcome.text.append(block.data(), n);
  }
  const int status = ::pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

fs::path save(const Scratch& scratch, std::int64_t step) {
  SaveOptions options;
  options.directory = scratch / "checkpoints";
  const auto alone = make_self_communicator();
  return save_checkpoint(*alone, options, Sample(step, DType::bf16, 0, 1).contents()).path;
}

bool contains(const Outcome& outcome, const std::string& part) {
  return outcome.text.find(part) != std::string::npos;
}

TEST(Inspect, DescribesACheckpoint) {
  const Scratch scratch;
  const fs::path path = save(scratch, 12);
  const Outcome page = inspect(path.string() + "/");
  EXPECT_EQ(page.code, 0);
  for (const std::string& part :
       {"checkpoint " + path.string() + "\n", std::string("step        12, written by 1 rank\n"),
        std::string(
            "grouped_differential, 3 signal + 1 noise head (3:1), 2 key-value heads of 2\n"),
        std::string("2 layers, hidden 6, feed-forward 10 silu, vocabulary 13, context 4096\n"),
        std::string("parameters  194\n"), std::string("exp_avg, exp_avg_sq, master\n"),
        std::string("model.layers.*.self_attn.q_proj.weight  BF16[8, 6]\n"),
        std::string("model.norm.weight"), std::string("F32[6]\n"), std::string("model.safetensors"),
        std::string("not compared; --verify does\n")}) {
    EXPECT_TRUE(contains(page, part)) << part << page.text;
  }
  EXPECT_TRUE(contains(inspect(path.string() + " --verify"), "hashes      all files match\n"));
  EXPECT_TRUE(
      contains(inspect(path.string() + " --all-tensors"), "model.layers.1.mlp.gate_proj.weight"));
}

TEST(Inspect, TellsWhatGrowthHasLeft) {
  const Scratch scratch;
  EXPECT_FALSE(contains(inspect(save(scratch, 12).string()), "began later"));
  Sample sample(13, DType::f32, 0, 1);
  sample.contents().growth.origins = {
      {.name = "model.norm.weight", .rows = {{4, 0}, {2, 7}}, .columns = {}},
      {.name = "model.embed_tokens.weight", .rows = {}, .columns = {{4, 5}, {2, 9}}}};
  sample.contents().growth.added = {"model.layers.1.mlp.gate_proj.weight", "model.norm.weight"};
  const auto alone = make_self_communicator();
  const fs::path path =
      save_checkpoint(*alone, {.directory = scratch / "checkpoints"}, sample.contents()).path;
  const Outcome page = inspect(path.string());
  EXPECT_TRUE(contains(page,
                       "  added       2 parameters by growth, from "
                       "model.layers.1.mlp.gate_proj.weight to model.norm.weight\n"))
      << page.text;
  EXPECT_TRUE(contains(page, "  began later 2 parameters, in part or whole, at update 5 to 9\n"))
      << page.text;
  const auto facts = nlohmann::json::parse(inspect(path.string() + " --json").text);
  EXPECT_EQ(facts["added"].size(), 2U);
  EXPECT_EQ(facts["later_beginnings"]["last_update"], 9);
}

TEST(Inspect, PrintsJson) {
  const Scratch scratch;
  const fs::path path = save(scratch, 12);
  const Outcome outcome = inspect(path.string() + " --json --verify");
  EXPECT_EQ(outcome.code, 0);
  const auto facts = nlohmann::json::parse(outcome.text);
  EXPECT_EQ(facts["kind"], "checkpoint");
  EXPECT_EQ(facts["step"], 12);
  EXPECT_EQ(facts["parameters"], 194);
  EXPECT_EQ(facts["verified"], true);
  EXPECT_EQ(facts["model"]["signal_heads"], 3);
  EXPECT_EQ(facts["tensors"][0]["name"], "model.embed_tokens.weight");
  EXPECT_EQ(facts["files"].size(), 5U);
}

TEST(Inspect, ListsTheCheckpointsOfARun) {
  const Scratch scratch;
  save(scratch, 10);
  const fs::path last = save(scratch, 20);
  EXPECT_EQ(inspect(scratch.path().string()).code, 0);
  fs::resize_file(last / "model.safetensors", 100);
  const Outcome outcome = inspect(scratch.path().string());
  EXPECT_EQ(outcome.code, 1);
  EXPECT_TRUE(contains(outcome, "step 20          " + last.string() +
                                    " is damaged: model.safetensors has 100 bytes, its manifest "
                                    "says "))
      << outcome.text;
  EXPECT_TRUE(contains(outcome, "newest: " + (scratch / "checkpoints/step-00000010").string()));
  const auto facts = nlohmann::json::parse(inspect(scratch.path().string() + " --json").text);
  EXPECT_TRUE(facts["checkpoints"][0]["fault"].is_null());
  EXPECT_TRUE(facts["checkpoints"][1]["fault"].is_string());
  EXPECT_EQ(facts["newest"]["step"], 10);
}

TEST(Inspect, TellsWhichCheckpointsAreUnhealthy) {
  const Scratch scratch;
  const fs::path first = save(scratch, 10);
  const fs::path second = save(scratch, 20);
  mark_unhealthy(second, "its weights are not finite");
  EXPECT_TRUE(contains(inspect(second.string()), "unhealthy   its weights are not finite\n"));
  EXPECT_FALSE(contains(inspect(first.string()), "unhealthy"));
  const Outcome page = inspect(scratch.path().string());
  EXPECT_EQ(page.code, 0);
  EXPECT_TRUE(contains(page, ", unhealthy: its weights are not finite\n")) << page.text;
  EXPECT_TRUE(contains(page, "newest: " + first.string() + "\n")) << page.text;
  mark_unhealthy(first, "so");
  EXPECT_TRUE(contains(inspect(scratch.path().string()), "newest: " + second.string() + "\n"));
}

TEST(Inspect, DescribesModelFoldersAndFiles) {
  const Scratch scratch;
  const fs::path path = save(scratch, 10);
  fs::remove(path / "manifest.json");
  fs::rename(path, scratch / "model");
  const Outcome folder = inspect((scratch / "model").string());
  EXPECT_EQ(folder.code, 0);
  EXPECT_TRUE(contains(folder, "model folder ")) << folder.text;
  EXPECT_TRUE(contains(folder, "parameters  194\n"));
  const Outcome file = inspect((scratch / "model/model.safetensors").string());
  EXPECT_EQ(file.code, 0);
  EXPECT_TRUE(contains(file, "safetensors file ")) << file.text;
  EXPECT_TRUE(contains(file, "elements    194\n"));
}

TEST(Inspect, TellsOfDamage) {
  const Scratch scratch;
  const fs::path path = save(scratch, 10);
  std::fstream file(path / "model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-1, std::ios::end);
  file.put('\x55');
  file.close();
  EXPECT_EQ(inspect(path.string()).code, 0);
  const Outcome outcome = inspect(path.string() + " --verify");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_TRUE(contains(outcome, "gda: error: " + path.string() +
                                    " is damaged: model.safetensors does not match its checksum"))
      << outcome.text;
  fs::remove(path / "manifest.json");
  EXPECT_TRUE(
      contains(inspect(path.string()), "is not a complete checkpoint: it has no manifest.json"));
}

TEST(Inspect, DescribesDatasets) {
  const Scratch scratch;
  const std::string prefix = (scratch / "words").string();
  TokenDatasetWriter writer(prefix, 100);
  const std::int32_t tokens[] = {5, 6, 7};
  writer.append(tokens);
  writer.end_document();
  writer.append(tokens);
  writer.end_document();
  writer.finish();
  for (const std::string& name : {prefix, prefix + ".bin", prefix + ".idx"}) {
    const Outcome outcome = inspect(name);
    EXPECT_EQ(outcome.code, 0);
    EXPECT_TRUE(contains(outcome, prefix + ".bin  6 tokens, 2 documents, 12 B\n")) << outcome.text;
  }
  EXPECT_TRUE(contains(inspect(prefix + " --verify"), "content     every token was read\n"));
  EXPECT_EQ(nlohmann::json::parse(inspect(prefix + " --json").text)["datasets"][0]["tokens"], 6);
  fs::resize_file(prefix + ".bin", 10);
  EXPECT_EQ(inspect(prefix).code, 1);
}

TEST(Inspect, TellsWhatItCannotLookAt) {
  const Scratch scratch;
  EXPECT_TRUE(contains(inspect((scratch / "nothing").string()),
                       "gda: error: there is no " + (scratch / "nothing").string() + "\n"));
  EXPECT_TRUE(contains(inspect(scratch.path().string()),
                       "is neither a checkpoint (manifest.json), a run folder "
                       "(checkpoints/step-...) nor a model folder (config.json)"));
  write_text_file_atomically(scratch / "notes.txt", "hello");
  EXPECT_TRUE(
      contains(inspect((scratch / "notes.txt").string()), "is not a kind of file that gda knows"));
  EXPECT_EQ(inspect("").code, 2);
}

}  // namespace
}  // namespace gda::test

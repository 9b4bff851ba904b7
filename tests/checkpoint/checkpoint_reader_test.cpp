#include "gda/checkpoint/checkpoint_reader.h"

#include <gtest/gtest.h>

#include <fstream>

#include "gda/core/file.h"
#include "sample.h"
#include "scratch.h"
#include "thread_group.h"

namespace gda::test {
namespace {

namespace fs = std::filesystem;

fs::path save(const fs::path& directory, std::int64_t step, DType compute = DType::f32,
              bool with_masters = true) {
  SaveOptions options;
  options.directory = directory;
  const auto alone = make_self_communicator();
  const Sample sample(step, compute, 0, 1, with_masters);
  return save_checkpoint(*alone, options, sample.contents()).path;
}

void flip_bit(const fs::path& path, std::int64_t from_end) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(-from_end, std::ios::end);
  const auto byte = static_cast<char>(file.get() ^ 1);
  file.seekp(-from_end, std::ios::end);
  file.put(byte);
}

std::string fault_of_checkpoint(const fs::path& path) {
  return message_of<FormatError>([&] { CheckpointReader reader(path); });
}

TEST(CheckpointReader, ReadsWhatAnyNumberOfRanksWrote) {
  for (const DType compute : {DType::bf16, DType::f32, DType::f64}) {
    const Scratch scratch;
    SaveOptions options;
    options.directory = scratch.path();
    options.max_file_bytes = 500;
    run_ranks(3, [&](Communicator& group) {
      const Sample sample(5, compute, group.rank(), group.size());
      save_checkpoint(group, options, sample.contents());
    });
    for (const int ranks : {1, 2, 4}) {
      run_ranks(ranks, [&](Communicator& group) {
        const CheckpointReader reader(scratch / "step-00000005", Verification::everything, &group);
        expect_sample(reader, accumulate_type(compute), ranks);
        EXPECT_EQ(reader.step(), 5);
        EXPECT_EQ(reader.trainer_json(), "{\"step\": 5}\n");
        EXPECT_EQ(reader.run_config(), "train: {}\n");
        EXPECT_TRUE(reader.config() == sample_config());
        EXPECT_NO_THROW(reader.check_matches(sample_specs()));
      });
    }
  }
}

TEST(CheckpointReader, TakesMastersFromTheModelFiles) {
  const Scratch scratch;
  const CheckpointReader reader(save(scratch.path(), 1, DType::f32, false));
  EXPECT_EQ(reader.states(), (std::vector<std::string>{"exp_avg", "exp_avg_sq"}));
  expect_sample(reader, DType::f32, 2);

  const fs::path narrow = save(scratch.path(), 2, DType::bf16, false);
  const OwnedTensor piece(DType::f32, {2});
  const CheckpointReader other(narrow);
  other.read_piece("master", "model.norm.weight", 1, piece.tensor);
  EXPECT_EQ(message_of<FormatError>(
                [&] { other.read_piece("master", "model.embed_tokens.weight", 0, piece.tensor); }),
            narrow.string() +
                ": there is no master of model.embed_tokens.weight, which is stored as BF16");
}

TEST(CheckpointReader, ReadsRowsOfAWiderTensor) {
  const Scratch scratch;
  const CheckpointReader reader(save(scratch.path(), 1));
  const OwnedTensor wide(DType::f32, {13, 8});
  reader.read_parameter("model.embed_tokens.weight", wide.tensor.columns(2, 6));
  EXPECT_EQ(wide.tensor.data<float>()[1], 0);
  EXPECT_EQ(wide.tensor.data<float>()[8 + 2 + 3],
            sample_value("parameter", "model.embed_tokens.weight", 9));
}

TEST(CheckpointReader, NamesWhatIsNotThere) {
  const Scratch scratch;
  const fs::path path = save(scratch.path(), 1);
  const CheckpointReader reader(path);
  const OwnedTensor piece(DType::f32, {6});
  const auto read = [&](const std::string& state, const Region& region, std::int64_t offset) {
    return message_of<FormatError>([&] {
      reader.read_piece(state, "model.layers.0.self_attn.q_proj.weight", region, offset,
                        piece.tensor);
    });
  };
  const std::string tensor = "model.layers.0.self_attn.q_proj.weight";
  EXPECT_EQ(read("momentum", {{0, 8}, {0, 6}}, 0),
            path.string() + ": there is no momentum of " + tensor);
  EXPECT_EQ(read("exp_avg", {{0, 8}, {0, 6}}, 43),
            path.string() + ": exp_avg of " + tensor + " has 48 elements, asked for [43, 49)");
  EXPECT_EQ(read("exp_avg", {{2, 4}, {0, 3}}, 1),
            path.string() + ": exp_avg of " + tensor + " has 6 elements, asked for [1, 7)");
  EXPECT_EQ(read("exp_avg", {{2, 9}, {0, 3}}, 0),
            path.string() + ": exp_avg of " + tensor +
                ": asked for rows 2-8, columns 0-2 of rows 0-7, columns 0-5");
}

TEST(CheckpointReader, TellsOfDamage) {
  const Scratch scratch;
  const fs::path missing = save(scratch.path(), 1);
  fs::remove(missing / "config.yaml");
  EXPECT_EQ(fault_of_checkpoint(missing), missing.string() + " is damaged: config.yaml is missing");

  const fs::path truncated = save(scratch.path(), 2);
  const auto size = fs::file_size(truncated / "model.safetensors");
  fs::resize_file(truncated / "model.safetensors", size - 1);
  EXPECT_EQ(fault_of_checkpoint(truncated),
            truncated.string() + " is damaged: model.safetensors has " + std::to_string(size - 1) +
                " bytes, its manifest says " + std::to_string(size) + " (truncated)");

  const fs::path flipped = save(scratch.path(), 3);
  const std::string optimizer = "optimizer-00001-of-00001.safetensors";
  flip_bit(flipped / optimizer, 1);
  EXPECT_TRUE(fault_of_checkpoint(flipped).starts_with(
      flipped.string() + " is damaged: " + optimizer + " does not match its checksum (XXH3 "));

  const fs::path unfinished = save(scratch.path(), 4);
  fs::remove(unfinished / "manifest.json");
  EXPECT_EQ(fault_of_checkpoint(unfinished),
            unfinished.string() +
                " is not a complete checkpoint: it has no manifest.json, which is written last");

  EXPECT_EQ(fault_of_checkpoint(scratch / "step-00000009"),
            "there is no checkpoint folder " + (scratch / "step-00000009").string());
}

TEST(CheckpointReader, TellsOfADamagedManifest) {
  const Scratch scratch;
  const fs::path path = save(scratch.path(), 1);
  const fs::path manifest = path / "manifest.json";
  const std::string text = read_text_file(manifest);
  const auto replace = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    changed.replace(changed.find(from), from.size(), to);
    write_text_file_atomically(manifest, changed);
  };
  replace("\"step\": 1", "\"step\": 3");
  EXPECT_EQ(fault_of_checkpoint(path),
            manifest.string() + " is damaged: it does not match its own checksum");
  replace("\"format_version\": 1", "\"format_version\": 3");
  EXPECT_EQ(fault_of_checkpoint(path),
            manifest.string() + " has format version 3, this program reads versions 1 to 2");
  replace("gda checkpoint", "gda chexkpoint");
  EXPECT_EQ(fault_of_checkpoint(path), manifest.string() + " is not the manifest of a checkpoint");
  write_text_file_atomically(manifest, text.substr(0, text.size() / 2));
  EXPECT_TRUE(fault_of_checkpoint(path).starts_with(manifest.string() + " is not valid JSON: "));
  write_text_file_atomically(manifest, "");
  EXPECT_TRUE(fault_of_checkpoint(path).starts_with(manifest.string() + " is not valid JSON: "));
}

TEST(CheckpointReader, ChecksAFileWhenItIsFirstRead) {
  const Scratch scratch;
  const fs::path path = save(scratch.path(), 1);
  flip_bit(path / "optimizer-00001-of-00001.safetensors", 1);
  const CheckpointReader reader(path, Verification::on_first_use);
  const OwnedTensor norm(DType::f32, {6});
  reader.read_parameter("model.norm.weight", norm.tensor);
  reader.read_range("model.norm.weight", 0, norm.tensor);
  EXPECT_THROW(reader.read_piece("exp_avg", "model.norm.weight", 0, norm.tensor), FormatError);
  EXPECT_THROW(reader.verify_all(), FormatError);
  flip_bit(path / "optimizer-00001-of-00001.safetensors", 1);
  EXPECT_NO_THROW(reader.verify_all());
  EXPECT_EQ(
      message_of<FormatError>([&] { reader.read_range("model.norm.weight", 1, norm.tensor); }),
      path.string() + ": model.norm.weight has 6 elements, asked for [1, 7)");
  EXPECT_EQ(message_of<FormatError>(
                [&] { reader.read_parameter("model.embed_tokens.weight", norm.tensor); }),
            path.string() + ": model.embed_tokens.weight is [13, 6], expected [6]");
}

// Whichever file it is: large ones are shared out in the order of the manifest, the others all
// read.
TEST(CheckpointReader, OneRankFindsDamageForAll) {
  const Scratch whole;
  const CheckpointReader undamaged(save(whole.path(), 1));
  const std::vector<WrittenFile> files = undamaged.manifest().files;
  ASSERT_GE(files.size(), 5U);
  for (std::size_t i = 0; i < files.size(); ++i) {
    const Scratch scratch;
    const fs::path path = save(scratch.path(), 1);
    flip_bit(path / files[i].name, 1);
    const bool large = files[i].name.ends_with(".safetensors");
    const std::string expected =
        fmt::format("rank {}: {} is damaged: {}", large ? i % 3 : 0, path.string(), files[i].name);
    run_ranks(3, [&](Communicator& group) {
      const std::string message = message_of<FormatError>(
          [&] { CheckpointReader reader(path, Verification::everything, &group); });
      EXPECT_TRUE(message.starts_with(expected)) << message;
    });
  }
}

TEST(CheckpointReader, ListsWhereAnotherModelDiffers) {
  const Scratch scratch;
  const fs::path path = save(scratch.path(), 1);
  const CheckpointReader reader(path);
  std::vector<ParameterSpec> specs = sample_specs();
  specs[0].shape = {13, 8};
  specs[1].name = "model.layers.0.self_attn.w.weight";
  EXPECT_EQ(message_of<FormatError>([&] { reader.check_matches(specs); }),
            path.string() +
                " holds another model; 3 of its tensors differ: model.embed_tokens.weight is [13, "
                "6], expected [13, 8]; model.layers.0.self_attn.w.weight [8, 6] is missing; "
                "model.layers.0.self_attn.q_proj.weight [8, 6] is not expected");
  for (ParameterSpec& spec : specs) spec.name += "x";
  EXPECT_TRUE(
      message_of<FormatError>([&] { reader.check_matches(specs); }).ends_with("; and 6 more"));
}

TEST(NewestCheckpoint, FallsBackToTheOneBefore) {
  const Scratch scratch;
  EXPECT_FALSE(newest_whole_checkpoint(scratch / "none").has_value());
  EXPECT_FALSE(newest_whole_checkpoint(scratch.path()).has_value());
  save(scratch.path(), 10);
  const fs::path middle = save(scratch.path(), 20);
  const fs::path last = save(scratch.path(), 30);
  EXPECT_EQ(newest_whole_checkpoint(scratch.path())->step(), 30);
  flip_bit(last / "model.safetensors", 1);
  fs::remove(middle / "manifest.json");
  testing::internal::CaptureStderr();
  testing::internal::CaptureStdout();
  run_ranks(2, [&](Communicator& group) {
    EXPECT_EQ(newest_whole_checkpoint(scratch.path(), &group)->step(), 10);
  });
  const std::string log =
      testing::internal::GetCapturedStderr() + testing::internal::GetCapturedStdout();
  EXPECT_NE(log.find("a checkpoint is passed over: rank "), std::string::npos) << log;
  EXPECT_NE(log.find(last.string() + " is damaged: model.safetensors does not match"),
            std::string::npos)
      << log;
  EXPECT_NE(log.find(middle.string() + " is not a complete checkpoint"), std::string::npos) << log;
  EXPECT_NE(log.find("using " + (scratch / "step-00000010").string() + " instead"),
            std::string::npos)
      << log;
}

TEST(NewestCheckpoint, FailsWhenNoneIsWhole) {
  const Scratch scratch;
  const fs::path path = save(scratch.path(), 10);
  fs::remove(path / "manifest.json");
  EXPECT_EQ(message_of<FormatError>([&] { newest_whole_checkpoint(scratch.path()); }),
            "no checkpoint in " + scratch.path().string() + " is complete: " + path.string() +
                " is not a complete checkpoint: it has no manifest.json, which is written last");
}

TEST(OpenCheckpoint, TakesACheckpointOrARun) {
  const Scratch scratch;
  const fs::path path = save(scratch / "checkpoints", 10);
  EXPECT_EQ(open_checkpoint(path).step(), 10);
  EXPECT_EQ(open_checkpoint(scratch / "checkpoints").step(), 10);
  EXPECT_EQ(open_checkpoint(scratch.path()).step(), 10);
  fs::rename(path, scratch / "best");
  EXPECT_EQ(open_checkpoint(scratch / "best").step(), 10);
  make_directories(scratch / "other");
  EXPECT_EQ(message_of<FormatError>([&] { open_checkpoint(scratch / "other"); }),
            (scratch / "other").string() +
                " is neither a checkpoint (no manifest.json) nor a run folder (no "
                "checkpoints/step-... inside)");
}

}  // namespace
}  // namespace gda::test

#include "gda/checkpoint/checkpoint_writer.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>

#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/core/file.h"
#include "sample.h"
#include "scratch.h"
#include "thread_group.h"

namespace gda::test {
namespace {

namespace fs = std::filesystem;

SaveOptions options_for(const Scratch& scratch) {
  SaveOptions options;
  options.directory = scratch / "checkpoints";
  return options;
}

fs::path save(const SaveOptions& options, std::int64_t step, DType compute = DType::f32) {
  const auto alone = make_self_communicator();
  return save_checkpoint(*alone, options, Sample(step, compute, 0, 1).contents()).path;
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

TEST(CheckpointSave, LaysOutOneFile) {
  const Scratch scratch;
  const SaveOptions options = options_for(scratch);
  const fs::path path = save(options, 12);
  EXPECT_EQ(path, options.directory / "step-00000012");
  EXPECT_EQ(names_in(path), (std::vector<std::string>{
                                "config.json", "config.yaml", "manifest.json", "model.safetensors",
                                "optimizer-00001-of-00001.safetensors", "trainer.json"}));
  EXPECT_EQ(read_text_file(options.directory / "latest"), "step-00000012\n");
  EXPECT_EQ(names_in(options.directory), (std::vector<std::string>{"latest", "step-00000012"}));
}

TEST(CheckpointSave, SharesModelFilesOverRanks) {
  const Scratch scratch;
  SaveOptions options = options_for(scratch);
  options.max_file_bytes = 300;  // the embedding (312 bytes) alone, then two or three to a file
  run_ranks(2, [&](Communicator& group) {
    const Sample sample(1, DType::f32, group.rank(), group.size());
    const SavedCheckpoint saved = save_checkpoint(group, options, sample.contents());
    if (group.rank() != 0) return;
    EXPECT_EQ(saved.bytes, read_manifest(saved.path).total_bytes());
    EXPECT_EQ(names_in(saved.path),
              (std::vector<std::string>{
                  "config.json", "config.yaml", "manifest.json", "model-00001-of-00003.safetensors",
                  "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors",
                  "model.safetensors.index.json", "optimizer-00001-of-00002.safetensors",
                  "optimizer-00002-of-00002.safetensors", "trainer.json"}));
  });
  const CheckpointReader reader(options.directory / "step-00000001");
  EXPECT_EQ(reader.manifest().world_size, 2);
  expect_sample(reader, DType::f32, 3);
}

TEST(CheckpointSave, KeepsTheNewestAndTheRegularOnes) {
  const Scratch scratch;
  SaveOptions options = options_for(scratch);
  options.keep_last = 2;
  options.keep_every = 20;
  for (const std::int64_t step : {10, 20, 30, 40, 50}) save(options, step);
  EXPECT_EQ(
      names_in(options.directory),
      (std::vector<std::string>{"latest", "step-00000020", "step-00000040", "step-00000050"}));
}

TEST(CheckpointSave, CountsOnlyStepsUpToItsOwn) {
  // Training went back to an earlier step: what it writes now must not count as the oldest.
  const Scratch scratch;
  SaveOptions options = options_for(scratch);
  save(options, 100);
  options.keep_last = 1;
  save(options, 50);
  EXPECT_EQ(names_in(options.directory),
            (std::vector<std::string>{"latest", "step-00000050", "step-00000100"}));
  save(options, 60);
  EXPECT_EQ(names_in(options.directory),
            (std::vector<std::string>{"latest", "step-00000060", "step-00000100"}));
}

TEST(CheckpointSave, ReplacesAFolderOfTheSameStep) {
  const Scratch scratch;
  const SaveOptions options = options_for(scratch);
  const fs::path path = save(options, 10, DType::f32);
  fs::resize_file(path / "model.safetensors", 10);
  save(options, 10, DType::f64);
  expect_sample(CheckpointReader(path), DType::f64, 1);
  EXPECT_EQ(names_in(options.directory), (std::vector<std::string>{"latest", "step-00000010"}));
}

TEST(CheckpointSave, AGrownModelIsTheNewerOneOfItsStep) {
  const Scratch scratch;
  const SaveOptions options = options_for(scratch);
  const auto alone = make_self_communicator();
  save(options, 10);
  Sample sample(10, DType::f32, 0, 1);
  sample.contents().grown = true;
  const fs::path grown = save_checkpoint(*alone, options, sample.contents()).path;
  EXPECT_EQ(grown.filename(), "step-00000010-grown");
  EXPECT_EQ(newest_whole_checkpoint(options.directory)->path(), grown);
  // What a kill during the second one leaves: the first one is whole, and the next save clears up.
  fs::rename(grown, grown.string() + ".tmp");
  EXPECT_EQ(newest_whole_checkpoint(options.directory)->path(),
            options.directory / "step-00000010");
  save(options, 20);
  EXPECT_EQ(names_in(options.directory),
            (std::vector<std::string>{"latest", "step-00000010", "step-00000020"}));
}

TEST(CheckpointSave, RemovesWhatACrashLeft) {
  const Scratch scratch;
  const SaveOptions options = options_for(scratch);
  save(options, 10);
  for (const char* name : {"step-00000020.tmp", "step-00000015.old.tmp", "step-00000030"}) {
    make_directories(options.directory / name);
    write_text_file_atomically(options.directory / name / "model.safetensors", "half");
  }
  make_directories(options.directory / "notes.tmp");
  EXPECT_EQ(newest_whole_checkpoint(options.directory)->step(), 10);
  save(options, 20);
  EXPECT_EQ(names_in(options.directory),
            (std::vector<std::string>{"latest", "notes.tmp", "step-00000010", "step-00000020"}));
}

TEST(CheckpointSave, FailsOnEveryRankAndKeepsTheOneBefore) {
  const Scratch scratch;
  const SaveOptions options = options_for(scratch);
  save(options, 10);
  run_ranks(3, [&](Communicator& group) {
    Sample sample(20, DType::f32, group.rank(), group.size());
    if (group.rank() == 1) {
      sample.contents().pieces.front().produce = [](const ByteSink&) {
        throw IoError("cannot write x: No space left on device");
      };
    }
    const std::string message =
        message_of<IoError>([&] { save_checkpoint(group, options, sample.contents()); });
    EXPECT_EQ(message, "cannot save checkpoint " + (options.directory / "step-00000020").string() +
                           ": rank 1: cannot write x: No space left on device");
  });
  EXPECT_EQ(names_in(options.directory), (std::vector<std::string>{"latest", "step-00000010"}));
  expect_sample(*newest_whole_checkpoint(options.directory), DType::f32, 1);
}

TEST(CheckpointSave, RejectsContentsThatDoNotFit) {
  const Scratch scratch;
  const SaveOptions options = options_for(scratch);
  const auto alone = make_self_communicator();
  const auto fault_of = [&](const CheckpointContents& contents) {
    return message_of<FormatError>([&] { save_checkpoint(*alone, options, contents); });
  };
  Sample sample(1, DType::f32, 0, 1);
  sample.contents().pieces.front().offset = 1;
  EXPECT_EQ(fault_of(sample.contents()),
            "cannot save a checkpoint: exp_avg of model.embed_tokens.weight: elements [1, 79) of "
            "78");
  sample.contents().pieces.front().name = "lm_head.weight";
  EXPECT_EQ(fault_of(sample.contents()),
            "cannot save a checkpoint: exp_avg of lm_head.weight, which is not a parameter of the "
            "model");
  EXPECT_EQ(fault_of({}), "cannot save a checkpoint: it has no parameters");
  Sample colon(1, DType::f32, 0, 1);
  colon.contents().parameters.back().states = {"a:b"};
  EXPECT_EQ(fault_of(colon.contents()),
            "cannot save a checkpoint: \"a:b\" of model.norm.weight is not the name of a state");
}

TEST(CheckpointSave, TellsOfAFolderThatCannotBeWritten) {
  const Scratch scratch;
  SaveOptions options = options_for(scratch);
  options.directory = "/proc/gda";
  EXPECT_EQ(message_of<IoError>([&] { save(options, 10); }),
            "cannot save checkpoint /proc/gda/step-00000010: cannot make folder /proc/gda: No such "
            "file or directory");
  // Root may write anywhere, so become nobody for a moment.
  options = options_for(scratch);
  make_directories(options.directory);
  constexpr auto kReadOnly = static_cast<fs::perms>(0555);
  fs::permissions(options.directory, kReadOnly);
  fs::permissions(scratch.path(), kReadOnly);
  constexpr uid_t kNobody = 65534;
  const bool root = ::geteuid() == 0;
  ASSERT_TRUE(!root || ::seteuid(kNobody) == 0);
  const std::string message = message_of<IoError>([&] { save(options, 10); });
  ASSERT_TRUE(!root || ::seteuid(0) == 0);
  EXPECT_EQ(message, "cannot save checkpoint " + (options.directory / "step-00000010").string() +
                         ": cannot make folder " +
                         (options.directory / "step-00000010.tmp").string() +
                         ": Permission denied");
}

// A file system of one megabyte.
class SmallDisk {
 public:
  explicit SmallDisk(const fs::path& place) : place_(place) {
    make_directories(place);
    mounted_ = ::mount("tmpfs", place.c_str(), "tmpfs", 0, "size=1m") == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(place_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool mounted() const { return mounted_; }

 private:
  fs::path place_;
  bool mounted_ = false;
};

TEST(CheckpointSave, AFullDiskKeepsTheOneBefore) {
  const Scratch scratch;
  const SmallDisk disk(scratch / "disk");
  if (!disk.mounted()) GTEST_SKIP() << "a small tmpfs cannot be mounted here";
  SaveOptions options;
  options.directory = scratch / "disk";
  save(options, 10);
  const auto alone = make_self_communicator();
  Sample sample(20, DType::f32, 0, 1);
  const OwnedTensor large(DType::f32, {1 << 20});
  sample.contents().parameters.push_back(parameter_source("lm_head.weight", large.tensor));
  const std::string path = (options.directory / "step-00000020").string();
  EXPECT_EQ(message_of<IoError>([&] { save_checkpoint(*alone, options, sample.contents()); }),
            "cannot save checkpoint " + path + ": cannot write " + path +
                ".tmp/model.safetensors: No space left on device");
  EXPECT_EQ(names_in(options.directory), (std::vector<std::string>{"latest", "step-00000010"}));
  expect_sample(*newest_whole_checkpoint(options.directory), DType::f32, 1);
  AsyncCheckpointWriter writer(*alone, options);
  writer.start(sample.contents());
  EXPECT_NE(message_of<IoError>([&] { writer.finish(); }).find("No space left on device"),
            std::string::npos);
  EXPECT_EQ(names_in(options.directory), (std::vector<std::string>{"latest", "step-00000010"}));
  EXPECT_FALSE(writer.busy());
}

}  // namespace
}  // namespace gda::test

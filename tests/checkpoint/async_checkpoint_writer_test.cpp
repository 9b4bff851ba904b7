#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <thread>

#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/checkpoint/checkpoint_writer.h"
#include "gda/core/file.h"
#include "sample.h"
#include "scratch.h"
#include "thread_group.h"

namespace gda::test {
namespace {

SaveOptions options_in(const std::filesystem::path& directory) {
  SaveOptions options;
  options.directory = directory;
  options.max_file_bytes = 300;
  return options;
}

TEST(AsyncCheckpointWriter, WritesTheSameFilesAsASave) {
  const Scratch scratch;
  run_ranks(3, [&](Communicator& group) {
    Sample sample(7, DType::bf16, group.rank(), group.size());
    save_checkpoint(group, options_in(scratch / "sync"), sample.contents());
    AsyncCheckpointWriter writer(group, options_in(scratch / "async"));
    EXPECT_TRUE(writer.poll());
    EXPECT_FALSE(writer.finish().has_value());
    writer.start(sample.contents());
    EXPECT_TRUE(writer.busy());
    sample.overwrite();
    while (!writer.poll()) std::this_thread::yield();
    EXPECT_EQ(writer.finish()->path, scratch / "async/step-00000007");
    EXPECT_FALSE(writer.busy());
  });
  const Manifest sync = read_manifest(scratch / "sync/step-00000007");
  const Manifest async = read_manifest(scratch / "async/step-00000007");
  ASSERT_EQ(sync.files.size(), async.files.size());
  for (std::size_t i = 0; i < sync.files.size(); ++i) {
    EXPECT_EQ(sync.files[i].name, async.files[i].name);
    EXPECT_EQ(sync.files[i].hash, async.files[i].hash) << sync.files[i].name;
  }
  expect_sample(CheckpointReader(scratch / "async/step-00000007"), DType::f32, 2);
}

TEST(AsyncCheckpointWriter, FinishesTheOneBeforeFirst) {
  const Scratch scratch;
  const auto alone = make_self_communicator();
  const Sample sample(1, DType::f32, 0, 1);
  AsyncCheckpointWriter writer(*alone, options_in(scratch.path()));
  EXPECT_EQ(writer.staging_bytes(), 0U);
  writer.start(sample.contents());
  // Parameters once and three states of each, 4 bytes an element.
  std::int64_t elements = 0;
  for (const ParameterSpec& spec : sample_specs()) elements += spec.shape.elements();
  EXPECT_EQ(writer.staging_bytes(), static_cast<std::size_t>(elements) * 4 * 4);
  writer.start(Sample(2, DType::f32, 0, 1).contents());
  EXPECT_EQ(newest_whole_checkpoint(scratch.path())->step(), 1);
  EXPECT_EQ(writer.staging_bytes(), static_cast<std::size_t>(elements) * 4 * 4);
  writer.finish();
  expect_sample(*newest_whole_checkpoint(scratch.path()), DType::f32, 1);
  EXPECT_EQ(newest_whole_checkpoint(scratch.path())->step(), 2);
}

TEST(AsyncCheckpointWriter, ErrorsSurfaceAtFinishOnEveryRank) {
  const Scratch scratch;
  run_ranks(2, [&](Communicator& group) {
    const Sample sample(3, DType::f32, group.rank(), group.size());
    const auto options = options_in(scratch.path());
    // A folder where rank 1's optimizer file should go: it cannot be created.
    AsyncCheckpointWriter writer(group, options);
    Sample blocking(3, DType::f32, group.rank(), group.size());
    if (group.rank() == 1) {
      // Staging runs after the temporary folder is made and before the thread starts.
      ByteProducer produce = blocking.contents().pieces.front().produce;
      blocking.contents().pieces.front().produce = [&, produce](const ByteSink& sink) {
        make_directories(scratch / "step-00000003.tmp/optimizer-00002-of-00002.safetensors");
        produce(sink);
      };
    }
    writer.start(blocking.contents());
    const std::string message = message_of<IoError>([&] { writer.finish(); });
    EXPECT_EQ(message,
              "cannot save checkpoint " + (scratch / "step-00000003").string() +
                  ": rank 1: cannot create " +
                  (scratch / "step-00000003.tmp/optimizer-00002-of-00002.safetensors").string() +
                  ": Is a directory");
    group.barrier();
    EXPECT_FALSE(std::filesystem::exists(scratch / "step-00000003.tmp"));
    writer.start(sample.contents());
    EXPECT_TRUE(writer.finish().has_value());
  });
}

TEST(AsyncCheckpointWriter, SourcesThatBreakTheirWordFailTheCopy) {
  const Scratch scratch;
  const auto alone = make_self_communicator();
  AsyncCheckpointWriter writer(*alone, options_in(scratch.path()));
  Sample sample(3, DType::f32, 0, 1);
  ParameterSource& norm = sample.contents().parameters.back();
  const auto give = [&](std::size_t count) {
    norm.boxes.front().produce = [count](const IndexRange&, const ByteSink& sink) {
      sink(std::vector<std::byte>(count));
    };
    return message_of<FormatError>([&] { writer.start(sample.contents()); });
  };
  EXPECT_EQ(give(20),
            "cannot copy the state for a checkpoint: the source of tensor model.norm.weight gave "
            "20 bytes, it declared 24");
  EXPECT_EQ(give(28),
            "cannot copy the state for a checkpoint: the source of tensor model.norm.weight gave "
            "more than the 24 bytes it declared");
  EXPECT_FALSE(writer.busy());
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
}

TEST(AsyncCheckpointWriter, AnUnfinishedSaveIsNoCheckpoint) {
  const Scratch scratch;
  const auto alone = make_self_communicator();
  const Sample sample(3, DType::f32, 0, 1);
  { AsyncCheckpointWriter(*alone, options_in(scratch.path())).start(sample.contents()); }
  EXPECT_TRUE(std::filesystem::exists(scratch / "step-00000003.tmp"));
  EXPECT_FALSE(newest_whole_checkpoint(scratch.path()).has_value());
}

}  // namespace
}  // namespace gda::test

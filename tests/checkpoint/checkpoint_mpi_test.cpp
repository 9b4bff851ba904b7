#include <gtest/gtest.h>

#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/checkpoint/checkpoint_writer.h"
#include "placed_sample.h"
#include "sample.h"
#include "scratch.h"
#include "support/mpi.h"

namespace gda::test {
namespace {

TEST(CheckpointMpi, AllRanksSaveAndLoad) {
  Communicator& group = world();
  const Scratch own;
  SaveOptions options;
  options.directory = group.broadcast(own.path().string(), 0);
  options.max_file_bytes = 300;
  Sample sample(4, DType::bf16, group.rank(), group.size());
  save_checkpoint(group, options, sample.contents());
  sample.contents().step = 5;
  AsyncCheckpointWriter writer(group, options);
  writer.start(sample.contents());
  while (!writer.poll()) {
  }
  writer.finish();
  {
    const auto reader = newest_whole_checkpoint(options.directory, &group);
    ASSERT_TRUE(reader.has_value());
    EXPECT_EQ(reader->step(), 5);
    expect_sample(*reader, DType::f32, group.size() + 1);
  }
  sample.contents().step = 6;
  if (group.rank() == group.size() - 1) {
    sample.contents().pieces.front().produce = [](const ByteSink&) { throw IoError("no space"); };
  }
  const std::string message =
      message_of<IoError>([&] { save_checkpoint(group, options, sample.contents()); });
  EXPECT_TRUE(message.ends_with("rank " + std::to_string(group.size() - 1) + ": no space"))
      << message;
  group.barrier();
}

std::vector<Layout> layouts_of(int size) {
  std::vector<Layout> layouts = {{.data = size}};
  if (size <= 3) layouts.push_back({.stages = size});
  if (size != 3) layouts.push_back({.tensor = size});
  if (size == 4) layouts.push_back({.stages = 2, .tensor = 2});
  return layouts;
}

// Blocks of a row or two, and a file or more for each rank.
SaveOptions small_blocks(Communicator& group, const Scratch& own) {
  return {.directory = group.broadcast(own.path().string(), 0),
          .max_file_bytes = 1500,
          .block_bytes = 64};
}

TEST(CheckpointMpi, PlacesSaveWhatOthersLoad) {
  Communicator& group = world();
  const Scratch own;
  const SaveOptions options = small_blocks(group, own);
  const std::vector<Layout> layouts = layouts_of(group.size());
  const ModelConfig config = placed_config("grouped_differential", group.size() % 2 == 0);
  for (const Layout& layout : layouts) {
    const PlacedSample sample(config, layout, group.rank());
    AsyncCheckpointWriter writer(group, options);
    writer.start(sample.contents());
    const auto path = writer.finish()->path;
    {
      const CheckpointReader reader(path, Verification::everything, &group);
      expect_placed(reader, {});
      for (const Layout& other : layouts) expect_placed(reader, other);
    }
    group.barrier();
    save_checkpoint(group, options, sample.contents());
    EXPECT_NO_THROW(expect_placed(CheckpointReader(path), layout));
    group.barrier();
  }
}

// Whoever cannot give its part: all ranks learn of it, and none waits for it.
TEST(CheckpointMpi, ARankThatCannotGiveFailsForAll) {
  Communicator& group = world();
  const Scratch own;
  const SaveOptions options = small_blocks(group, own);
  const ModelConfig config = placed_config("softmax", false);
  const Layout layout = layouts_of(group.size()).back();
  for (int rank = 0; rank < group.size(); ++rank) {
    PlacedSample sample(config, layout, group.rank());
    for (ParameterSource& parameter : sample.contents().parameters) {
      if (group.rank() != rank) continue;
      for (ParameterBox& box : parameter.boxes) {
        box.produce = [](const IndexRange&, const ByteSink&) {
          throw IoError("the device is lost");
        };
      }
    }
    const std::string message =
        message_of<IoError>([&] { save_checkpoint(group, options, sample.contents()); });
    EXPECT_TRUE(message.ends_with("rank " + std::to_string(rank) + ": the device is lost"))
        << message;
    AsyncCheckpointWriter writer(group, options);
    EXPECT_THROW(writer.start(sample.contents()), IoError);
  }
  group.barrier();
}

}  // namespace
}  // namespace gda::test

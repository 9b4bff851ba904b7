#include <gtest/gtest.h>

#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/checkpoint/checkpoint_writer.h"
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

}  // namespace
}  // namespace gda::test

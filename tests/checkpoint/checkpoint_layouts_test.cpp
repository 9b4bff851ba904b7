// Checkpoints between layouts: written by ranks that hold boxes, read by ranks that hold others.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <thread>

#include "checkpoint/names.h"
#include "checkpoint/save_layout.h"
#include "checkpoint/save_plan.h"
#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/checkpoint/checkpoint_writer.h"
#include "gda/core/file.h"
#include "placed_sample.h"
#include "sample.h"
#include "scratch.h"
#include "thread_group.h"

namespace gda::test {
namespace {

namespace fs = std::filesystem;

// Blocks of a row or a few, and files for several ranks, so that messages to them take turns.
SaveOptions small_blocks_in(const fs::path& directory, std::uint64_t max_file_bytes = 1500) {
  return {.directory = directory, .max_file_bytes = max_file_bytes, .block_bytes = 64};
}

fs::path save_with(const SaveOptions& options, const ModelConfig& config, const Layout& layout,
                   DType compute = DType::bf16) {
  run_ranks(layout.size(), [&](Communicator& group) {
    const PlacedSample sample(config, layout, group.rank(), compute);
    save_checkpoint(group, options, sample.contents());
  });
  return options.directory / step_folder_name({1});
}

// The hashes of the files that hold the model.
std::vector<std::string> model_hashes(const fs::path& path) {
  std::vector<std::string> hashes;
  for (const WrittenFile& file : read_manifest(path).files) {
    if (!is_optimizer_file(file.name)) hashes.push_back(file.name + " " + file.hash);
  }
  return hashes;
}

TEST(CheckpointLayouts, FourPlacesWriteTheWhole) {
  const ModelConfig config = placed_config("grouped_differential", true);
  const Scratch scratch;
  const fs::path whole = save_with(small_blocks_in(scratch / "whole"), config, {});
  const CheckpointReader of_one(whole);
  EXPECT_EQ(of_one.manifest().format_version, 1);
  for (const int data : {1, 2, 3}) {
    const Layout layout{.stages = 2, .tensor = 2, .data = data};
    const fs::path path = save_with(small_blocks_in(scratch / layout.str()), config, layout);
    EXPECT_EQ(model_hashes(path), model_hashes(whole)) << layout.str();
    const CheckpointReader reader(path);
    EXPECT_EQ(reader.manifest().format_version, 2);
    EXPECT_EQ(reader.manifest().world_size, layout.size());
    expect_placed(reader, {});
    expect_placed(reader, layout);
    expect_placed(of_one, layout);
  }
}

TEST(CheckpointLayouts, AnyReadsAnyOther) {
  std::vector<Layout> layouts;
  for (const int stages : {1, 2, 3}) {
    for (const int tensor : {1, 2, 4}) {
      layouts.push_back({.stages = stages, .tensor = tensor, .data = 1 + (stages + tensor) % 3});
    }
  }
  std::size_t turn = 0;
  for (const char* type : {"softmax", "differential", "grouped_differential", "differential_v2"}) {
    for (const bool tied : {false, true}) {
      const ModelConfig config = placed_config(type, tied);
      for (int i = 0; i < 2; ++i) {
        const Scratch scratch;
        const Layout& writes = layouts[turn++ % layouts.size()];
        const DType compute = i == 1 ? DType::f32 : DType::bf16;
        const CheckpointReader reader(
            save_with(small_blocks_in(scratch.path()), config, writes, compute));
        for (const Layout& reads : layouts) expect_placed(reader, reads, compute);
        ASSERT_FALSE(HasFailure()) << type << " written by " << writes.str();
      }
    }
  }
}

// Each kind of layout, and all kinds in one; a vocabulary of 21 entries over 2 ranks.
TEST(CheckpointLayouts, EveryKindReadsEveryOther) {
  const std::vector<Layout> layouts = {
      {},
      {.data = 3},
      {.tensor = 2},
      {.stages = 2},
      {.stages = 2, .chunks = 2},
      {.data = 3, .values_are_cut = true},
      {.tensor = 2, .data = 2, .values_are_cut = true},
      {.stages = 2, .tensor = 2, .data = 3, .chunks = 2, .values_are_cut = true}};
  for (const bool tied : {true, false}) {
    ModelConfig config = placed_config("grouped_differential", tied);
    config.num_hidden_layers = 4;
    config.vocab_size = 21;
    const DType compute = tied ? DType::bf16 : DType::f32;
    std::vector<std::string> model;
    for (const Layout& writes : layouts) {
      const Scratch scratch;
      const fs::path path = save_with(small_blocks_in(scratch.path()), config, writes, compute);
      if (model.empty()) model = model_hashes(path);
      EXPECT_EQ(model_hashes(path), model) << writes.str();
      const CheckpointReader reader(path);
      for (const Layout& reads : layouts) expect_placed(reader, reads, compute);
      ASSERT_FALSE(HasFailure()) << "written by " << writes.str();
    }
  }
}

// Two hosts, of ranks 0, 1 and 4, and of ranks 2, 3 and 5.
TEST(CheckpointLayouts, WritersTakeTurnsOverHosts) {
  const std::vector<std::int64_t> on_hosts = {0, 1, 0, 1, 2, 2};
  const std::vector<int> order = {0, 2, 1, 3, 4, 5};
  EXPECT_EQ(checkpoint_internal::one_of_each_host_first(on_hosts), order);
  const Layout layout{.stages = 2, .data = 3};
  const ModelConfig config = placed_config("softmax", false);
  const Scratch scratch;
  const auto options_of = [&](int rank) {
    SaveOptions options = small_blocks_in(scratch / "hosts", 300);
    options.rank_on_host = static_cast<int>(on_hosts[static_cast<std::size_t>(rank)]);
    return options;
  };
  run_ranks(layout.size(), [&](Communicator& group) {
    const PlacedSample sample(config, layout, group.rank());
    const auto plan =
        checkpoint_internal::plan_save(group, options_of(group.rank()), sample.contents());
    const auto place = std::ranges::find(order, group.rank()) - order.begin();
    const std::string first = model_file_name(static_cast<std::size_t>(place), 100).substr(0, 11);
    EXPECT_EQ(plan.tensor_files.front().name.substr(0, 11), first) << "rank " << group.rank();
    save_checkpoint(group, options_of(group.rank()), sample.contents());
  });
  EXPECT_EQ(model_hashes(scratch / "hosts" / step_folder_name({1})),
            model_hashes(save_with(small_blocks_in(scratch / "one", 300), config, layout)));
}

// Ranks 0 and 2 have nothing of the optimizer's.
TEST(CheckpointLayouts, NoFileIsEmpty) {
  const Scratch scratch;
  const ModelConfig config = placed_config("softmax", true);
  run_ranks(4, [&](Communicator& group) {
    const bool is_owner = group.rank() % 2 == 1;
    PlacedSample sample(config, {.data = 2}, group.rank() / 2);
    if (!is_owner) sample.contents().pieces.clear();
    save_checkpoint(group, small_blocks_in(scratch.path()), sample.contents());
  });
  const CheckpointReader reader(scratch / step_folder_name({1}));
  std::vector<std::string> names;
  for (const WrittenFile& file : reader.manifest().files) {
    if (is_optimizer_file(file.name)) names.push_back(file.name);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"optimizer-00001-of-00002.safetensors",
                                             "optimizer-00002-of-00002.safetensors"}));
  expect_placed(reader, {});
}

TEST(CheckpointLayouts, AsynchronousOnesAreTheSame) {
  const ModelConfig config = placed_config("differential_v2", false);
  const Layout layout{.stages = 3, .tensor = 2, .data = 2};
  const Scratch scratch;
  const fs::path sync = save_with(small_blocks_in(scratch / "sync"), config, layout);
  run_ranks(layout.size(), [&](Communicator& group) {
    AsyncCheckpointWriter writer(group, small_blocks_in(scratch / "async"));
    {
      const PlacedSample sample(config, layout, group.rank());
      writer.start(sample.contents());
    }
    while (!writer.poll()) std::this_thread::yield();
    writer.finish();
  });
  const Manifest a = read_manifest(sync);
  const Manifest b = read_manifest(scratch / "async" / step_folder_name({1}));
  ASSERT_EQ(a.files.size(), b.files.size());
  for (std::size_t i = 0; i < a.files.size(); ++i) EXPECT_EQ(a.files[i].hash, b.files[i].hash);
}

TEST(CheckpointLayouts, AMarkKeepsTheFormat) {
  const Scratch scratch;
  const Layout layout{.stages = 1, .tensor = 2, .data = 1};
  const fs::path path =
      save_with(small_blocks_in(scratch.path()), placed_config("softmax", true), layout);
  mark_unhealthy(path, "so");
  EXPECT_EQ(CheckpointReader(path).manifest().format_version, 2);
}

// What the ranks say of a save in which one of them fails: the same.
class Failing {
 public:
  using Change = std::function<void(Communicator&, PlacedSample&)>;

  Failing(const SaveOptions& options, bool async) : options_(options), async_(async) {}

  void expect(const Change& change, const std::string& end) const {
    const ModelConfig config = placed_config("grouped_differential", false);
    run_ranks(kLayout.size(), [&](Communicator& group) {
      PlacedSample sample(config, kLayout, group.rank());
      change(group, sample);
      const std::string message = message_of<IoError>([&] { save(group, sample.contents()); });
      EXPECT_TRUE(message.ends_with(end)) << message;
    });
    EXPECT_TRUE(list_step_folders(options_.directory).empty());
    EXPECT_FALSE(fs::exists(options_.directory / "step-00000001.tmp"));
  }

  static constexpr Layout kLayout{.stages = 2, .tensor = 2, .data = 2};

 private:
  void save(Communicator& group, const CheckpointContents& contents) const {
    if (!async_) {
      save_checkpoint(group, options_, contents);
      return;
    }
    AsyncCheckpointWriter writer(group, options_);
    writer.start(contents);
    writer.finish();
  }

  SaveOptions options_;
  bool async_;
};

TEST(CheckpointLayouts, ARankThatCannotGiveFailsForAll) {
  const Scratch scratch;
  for (const bool async : {false, true}) {
    const Failing saving(small_blocks_in(scratch.path()), async);
    // Those of the first data rank give, and all write.
    for (const int rank : {0, 1, 4, 5}) {
      saving.expect(
          [&](Communicator& group, PlacedSample& sample) {
            if (group.rank() != rank) return;
            for (ParameterSource& parameter : sample.contents().parameters) {
              for (ParameterBox& box : parameter.boxes) {
                box.produce = [](const IndexRange&, const ByteSink&) {
                  throw IoError("the device is lost");
                };
              }
            }
          },
          "rank " + std::to_string(rank) + ": the device is lost");
    }
    saving.expect(
        [&](Communicator& group, PlacedSample& sample) {
          if (group.rank() != 3) return;
          sample.contents().pieces.back().produce = [](const ByteSink&) {
            throw IoError("the device is lost");
          };
        },
        "rank 3: the device is lost");
  }
}

TEST(CheckpointLayouts, ARankThatCannotWriteFailsForAll) {
  constexpr std::uint64_t kFileBytes = 300;  // two files and more for each rank
  const Scratch scratch;
  const ModelConfig config = placed_config("grouped_differential", false);
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(
           save_with(small_blocks_in(scratch / "whole", kFileBytes), config, Failing::kLayout))) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("model-")) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  const fs::path folder = scratch / "failing";
  for (const bool async : {false, true}) {
    const Failing saving(small_blocks_in(folder, kFileBytes), async);
    for (const int rank : {0, 2, 5}) {
      // Its second file, in whose place a folder stands when it comes to it.
      const std::string name = names.at(static_cast<std::size_t>(rank + Failing::kLayout.size()));
      const fs::path file = folder / "step-00000001.tmp" / name;
      saving.expect(
          [&](Communicator& group, PlacedSample& sample) {
            if (group.rank() != rank) return;
            for (ParameterSource& parameter : sample.contents().parameters) {
              for (ParameterBox& box : parameter.boxes) {
                box.produce = [=, produce = box.produce](const IndexRange& rows,
                                                         const ByteSink& sink) {
                  make_directories(file);
                  produce(rows, sink);
                };
              }
            }
          },
          "rank " + std::to_string(rank) + ": cannot create " + file.string() + ": Is a directory");
    }
  }
}

}  // namespace
}  // namespace gda::test

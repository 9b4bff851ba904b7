// Every element once: what is refused when a checkpoint is saved, and when one is opened.
#include <gtest/gtest.h>

#include <algorithm>

#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/checkpoint/checkpoint_writer.h"
#include "placed_sample.h"
#include "scratch.h"
#include "thread_group.h"

namespace gda::test {
namespace {

namespace fs = std::filesystem;

constexpr Layout kLayout{.stages = 1, .tensor = 2, .data = 2};
const std::string kDown = "model.layers.0.mlp.down_proj.weight";
const std::string kUnsaved = "cannot save a checkpoint: ";
const std::string kNorm = "model.norm.weight";
const std::string kFirstFile = "optimizer-00001-of-00004.safetensors";

TensorPiece& piece(PlacedSample& sample, const std::string& state, const std::string& name) {
  auto& pieces = sample.contents().pieces;
  return *std::ranges::find_if(pieces, [&](const TensorPiece& entry) {
    return entry.state == state && entry.name == name && entry.length > 0;
  });
}

ParameterSource& parameter(PlacedSample& sample, const std::string& name) {
  auto& parameters = sample.contents().parameters;
  return *std::ranges::find(parameters, name, &ParameterSource::name);
}

class CheckpointCoverage : public ::testing::Test {
 protected:
  // Saves after a change to what some ranks give; what every rank says.
  std::string fault_of_save(const std::vector<int>& ranks,
                            const std::function<void(PlacedSample&)>& change) {
    std::vector<std::string> messages(static_cast<std::size_t>(kLayout.size()));
    run_ranks(kLayout.size(), [&](Communicator& group) {
      PlacedSample sample(config_, kLayout, group.rank());
      if (std::ranges::count(ranks, group.rank()) > 0) change(sample);
      messages[static_cast<std::size_t>(group.rank())] = message_of<FormatError>(
          [&] { save_checkpoint(group, {.directory = scratch_.path()}, sample.contents()); });
    });
    for (const std::string& message : messages) EXPECT_EQ(message, messages[0]);
    EXPECT_TRUE(fs::is_empty(scratch_.path()));
    return messages[0];
  }

  fs::path save() {
    run_ranks(kLayout.size(), [&](Communicator& group) {
      const PlacedSample sample(config_, kLayout, group.rank());
      save_checkpoint(group, {.directory = scratch_.path()}, sample.contents());
    });
    return scratch_ / "step-00000001";
  }

  const ModelConfig config_ = placed_config("grouped_differential", true);
  const Scratch scratch_;
};

TEST_F(CheckpointCoverage, SavingNamesAGap) {
  // Ranks 0 and 2 share columns 0-5: elements [0, 9) and [9, 36) of that box.
  EXPECT_EQ(
      fault_of_save({0}, [](PlacedSample& sample) { piece(sample, "exp_avg", kDown).length = 0; }),
      kUnsaved + "exp_avg of " + kDown + " [6, 12]: nothing covers rows 0-0, columns 0-5");
  EXPECT_EQ(
      fault_of_save({0}, [](PlacedSample& sample) { piece(sample, "master", kDown).length -= 1; }),
      kUnsaved + "master of " + kDown + " [6, 12]: nothing covers rows 1-1, columns 2-2");
  // A parameter that its stage forgets: without the list of states it would pass for a frozen one.
  EXPECT_EQ(fault_of_save({0},
                          [](PlacedSample& sample) {
                            std::erase_if(sample.contents().pieces, [](const TensorPiece& piece) {
                              return piece.name == kNorm;
                            });
                          }),
            kUnsaved + "exp_avg of " + kNorm + " [6]: nothing covers rows 0-0, columns 0-0");
  EXPECT_EQ(
      fault_of_save({1, 3}, [](PlacedSample& sample) { parameter(sample, kDown).boxes.clear(); }),
      kUnsaved + kDown + " [6, 12]: nothing covers rows 0-5, columns 6-11");
}

TEST_F(CheckpointCoverage, SavingNamesAnOverlap) {
  EXPECT_EQ(fault_of_save({3},
                          [](PlacedSample& sample) {
                            TensorPiece& late = piece(sample, "exp_avg_sq", kDown);
                            late.offset -= 1;
                          }),
            kUnsaved + "exp_avg_sq of " + kDown +
                " [6, 12]: rows 1-1, columns 8-8 is covered twice, by rank 1 (rows 1-1, columns "
                "6-8) and rank 3 (rows 1-1, columns 8-11)");
  EXPECT_EQ(
      fault_of_save({1},
                    [](PlacedSample& sample) {
                      parameter(sample, kDown).boxes.front().region.columns.begin -= 1;
                    }),
      kUnsaved + kDown +
          " [6, 12]: rows 0-5, columns 5-5 is covered twice, by rank 0 (rows 0-5, columns 0-5) and "
          "rank 1 (rows 0-5, columns 5-11)");
  EXPECT_EQ(fault_of_save({1},
                          [](PlacedSample& sample) {
                            sample.contents().pieces.push_back(piece(sample, "exp_avg", kDown));
                          }),
            kUnsaved + "exp_avg of " + kDown +
                " [6, 12]: rows 0-0, columns 6-11 is covered twice, by rank 1 (rows 0-0, columns "
                "6-11) and rank 1 (rows 0-0, columns 6-11)");
}

TEST_F(CheckpointCoverage, SavingRefusesWhatDoesNotFit) {
  const std::string rank = kUnsaved + "rank 1: ";
  EXPECT_EQ(fault_of_save({1},
                          [](PlacedSample& sample) {
                            piece(sample, "exp_avg", kDown).region.columns.end += 1;
                          }),
            rank + "exp_avg of " + kDown + ": rows 0-5, columns 6-12 of [6, 12]");
  EXPECT_EQ(fault_of_save({1},
                          [](PlacedSample& sample) {
                            parameter(sample, kDown).boxes.front().region.rows.end += 1;
                          }),
            rank + "rows 0-6, columns 6-11 of " + kDown + ", which is [6, 12]");
  EXPECT_EQ(
      fault_of_save(
          {1}, [](PlacedSample& sample) { piece(sample, "exp_avg", kDown).state = "momentum"; }),
      rank + "momentum of " + kDown + ", which has no such state");
  EXPECT_EQ(
      fault_of_save({1}, [](PlacedSample& sample) { parameter(sample, kDown).states.pop_back(); }),
      rank + "exp_avg_sq of " + kDown + ", which has no such state");
  EXPECT_EQ(
      fault_of_save({1}, [](PlacedSample& sample) { parameter(sample, kNorm).states.pop_back(); }),
      "cannot save a checkpoint: rank 1 lists other parameters, or other states of them, than "
      "rank 0");
}

// The optimizer file of rank 0 with other names of its pieces; no name: without that piece.
void rewrite(const fs::path& checkpoint,
             const std::function<std::string(const std::string&)>& name) {
  const fs::path path = checkpoint / kFirstFile;
  std::vector<TensorSource> tensors;
  WrittenFile written;
  {
    const SafetensorsFile file(path);
    for (const StoredTensor& tensor : file.tensors()) {
      const std::string renamed = name(tensor.name);
      if (renamed.empty()) continue;
      tensors.push_back(
          {renamed, DType::f32, {tensor.elements()}, [bytes = tensor.bytes](const ByteSink& sink) {
             sink(bytes);
           }});
    }
    written = write_safetensors(checkpoint / "new", tensors);
  }
  fs::rename(checkpoint / "new", path);
  Manifest manifest = read_manifest(checkpoint);
  for (WrittenFile& file : manifest.files) {
    if (file.name == kFirstFile) file = {kFirstFile, written.size, written.hash};
  }
  write_manifest(checkpoint, manifest);
}

TEST_F(CheckpointCoverage, OpeningNamesTheFault) {
  const std::string own = "exp_avg:" + kDown + ":[0:6,0:6]:0";
  const auto fault_of = [&](const std::string& renamed) {
    const fs::path path = save();
    rewrite(path, [&](const std::string& name) { return name == own ? renamed : name; });
    const std::string message = message_of<FormatError>([&] { CheckpointReader reader(path); });
    EXPECT_TRUE(message.starts_with(path.string())) << message;
    return message.substr(std::min(message.size(), path.string().size()));
  };
  const std::string of = ": exp_avg of " + kDown + ": ";
  EXPECT_EQ(fault_of(""), of + "nothing covers rows 0-0, columns 0-5");
  EXPECT_EQ(fault_of("exp_avg:" + kDown + ":[0:6,0:6]:1"),
            of + "nothing covers rows 0-0, columns 0-0");
  EXPECT_EQ(fault_of("exp_avg:" + kDown + ":[0:6,1:7]:0"),
            of + "rows 0-0, columns 6-6 is covered twice, by " + kFirstFile +
                " (rows 0-0, columns 1-6) and optimizer-00002-of-00004.safetensors (rows 0-0, "
                "columns 6-11)");
  const std::string tensor = "/" + kFirstFile + ": exp_avg:" + kDown;
  EXPECT_EQ(fault_of("exp_avg:" + kDown + ":[0:6,7:13]:0"),
            tensor + ":[0:6,7:13]:0 F32[9] lies outside the parameter, rows 0-5, columns 0-11");
  EXPECT_EQ(fault_of("exp_avg:" + kDown + ":[0:1,0:6]:0"),
            tensor + ":[0:1,0:6]:0 F32[9] ends after the box's 6 elements");
  EXPECT_EQ(fault_of("exp_avg:" + kDown + ":28"), of + "nothing covers rows 0-0, columns 0-5");
  for (const char* box : {"[0:6,0:6", "[0:6]", "[6:6,0:6]", "[-1:6,0:6]", "[0:6,0:6,0:6]", "[]"}) {
    const std::string name = "exp_avg:" + kDown + ":" + box + ":0";
    EXPECT_FALSE(fault_of(name).empty()) << name;
  }
}

TEST_F(CheckpointCoverage, ATruncatedFileIsDamage) {
  const fs::path path = save();
  const auto size = fs::file_size(path / kFirstFile);
  fs::resize_file(path / kFirstFile, size - 1);
  EXPECT_EQ(message_of<FormatError>([&] { CheckpointReader reader(path); }),
            path.string() + " is damaged: " + kFirstFile + " has " + std::to_string(size - 1) +
                " bytes, its manifest says " + std::to_string(size) + " (truncated)");
}

}  // namespace
}  // namespace gda::test

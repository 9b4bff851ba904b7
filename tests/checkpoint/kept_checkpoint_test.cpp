#include <gtest/gtest.h>

#include "checkpoint/names.h"
#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/checkpoint/checkpoint_writer.h"
#include "kept.h"
#include "scratch.h"
#include "thread_group.h"

namespace gda::test {
namespace {

TEST(KeptCheckpoint, OpensAsItWas) {
  const CheckpointReader reader(kept_folder() / "step-00000004");
  EXPECT_EQ(reader.step(), 4);
  EXPECT_EQ(reader.manifest().format_version, 1);
  EXPECT_EQ(reader.manifest().world_size, 2);
  EXPECT_EQ(reader.config().num_hidden_layers, 2);
  EXPECT_EQ(reader.config().intermediate_size, 12);
  EXPECT_NO_THROW(reader.check_matches(parameter_specs(reader.config())));
  EXPECT_EQ(reader.growth().origins.size(), 17U);
  for (const auto& [state, hash] : kKeptHashes) EXPECT_EQ(hash_of_state(reader, state), hash);
}

// The pieces of one of its optimizer files, read from it.
void add_pieces(const CheckpointReader& reader, int rank, std::vector<OwnedTensor>& memory,
                std::vector<TensorPiece>& pieces) {
  const SafetensorsFile file(reader.path() /
                             optimizer_file_name(static_cast<std::size_t>(rank), 2));
  for (const StoredTensor& stored : file.tensors()) {
    const PieceName name = *parse_piece_name(stored.name);
    const Tensor data = memory.emplace_back(DType::f32, Shape{stored.elements()}).tensor;
    const std::vector<std::int64_t>& shape = reader.model().at(name.name).tensor->shape;
    const Region whole{{0, shape[0]}, {0, shape.size() == 2 ? shape[1] : 1}};
    reader.read_piece(name.state, name.name, whole, name.offset, data);
    pieces.push_back(piece_of(name.state, name.name, whole, name.offset, data));
  }
}

// What is saved from the same parts of the same state is the same to the byte.
TEST(KeptCheckpoint, IsWrittenTheSame) {
  const Scratch scratch;
  const auto path = kept_folder() / "step-00000004";
  run_ranks(2, [&](Communicator& group) {
    const CheckpointReader reader(path);
    CheckpointContents contents;
    contents.step = 4;
    contents.model = reader.config();
    contents.trainer_json = reader.trainer_json();
    contents.run_config = reader.run_config();
    contents.growth = reader.growth();
    std::vector<OwnedTensor> memory;
    for (const ParameterSpec& spec : parameter_specs(reader.config())) {
      const DType dtype = spec.is_matrix() ? DType::bf16 : DType::f32;
      const Tensor value = memory.emplace_back(dtype, spec.shape).tensor;
      reader.read_parameter(spec.name, value);
      contents.parameters.push_back(parameter_source(spec.name, value));
      contents.parameters.back().states = {"exp_avg", "exp_avg_sq"};
      if (spec.is_matrix()) contents.parameters.back().states.emplace_back("master");
    }
    add_pieces(reader, group.rank(), memory, contents.pieces);
    save_checkpoint(group, {.directory = scratch.path()}, contents);
  });
  EXPECT_EQ(hash_file(scratch / "step-00000004/manifest.json"), hash_file(path / "manifest.json"));
}

}  // namespace
}  // namespace gda::test

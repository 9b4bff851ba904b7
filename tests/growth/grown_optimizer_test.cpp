// Growth of checkpoints whose optimizer has other states than AdamW's, and other ones for matrices
// than for vectors.
#include <gtest/gtest.h>

#include "gda/growth/grow_checkpoint.h"
#include "growth/grown_model.h"
#include "support/temporary_folder.h"

namespace gda::test {
namespace {

class GrownOptimizer : public ::testing::Test {
 protected:
  // A checkpoint of a model in f32 whose matrices have the one state and whose vectors the other.
  CheckpointReader saved(const std::string& of_matrices, const std::string& of_vectors) {
    CheckpointContents contents;
    contents.model = config_;
    std::vector<OwnedTensor> memory;
    for (const ParameterSpec& spec : parameter_specs(config_)) {
      const Tensor value = memory.emplace_back(DType::f32, spec.shape).tensor;
      ParameterSource& source =
          contents.parameters.emplace_back(parameter_source(spec.name, value));
      source.states = {spec.is_matrix() ? of_matrices : of_vectors};
      const Tensor data = memory.emplace_back(DType::f32, spec.shape).tensor;
      const Philox random(3, RandomPurpose::test, spec.name);
      for (std::int64_t i = 0; i < data.elements(); ++i) {
        data.data<float>()[i] = static_cast<float>(random.normal(static_cast<std::uint64_t>(i)));
      }
      contents.pieces.push_back(
          piece_of(source.states.front(), spec.name, source.boxes.front().region, 0, data));
    }
    return CheckpointReader(save_checkpoint(*self_, {.directory = folder_ / "a"}, contents).path);
  }

  CheckpointReader grown(const CheckpointReader& from, const GrowthMap& map) {
    return CheckpointReader(
        grow_checkpoint(*self_, from, map, {}, {.directory = folder_ / "b"}).path);
  }

  static std::vector<float> read(const CheckpointReader& reader, const std::string& state,
                                 const std::string& name, const Shape& shape) {
    std::vector<float> values(static_cast<std::size_t>(shape.elements()));
    reader.read_piece(state, name, 0, Tensor(values.data(), DType::f32, {shape.elements()}));
    return values;
  }

  const ModelConfig config_ = tiny_config("grouped_differential");
  const TemporaryFolder folder_;
  const std::unique_ptr<Communicator> self_ = make_self_communicator();
};

TEST_F(GrownOptimizer, CarriesMomentumAsAFirstMoment) {
  const CheckpointReader from = saved("momentum", "exp_avg_sq");
  const GrowthMap map = map_of(Width{.hidden_factor = 2}, config_);
  const CheckpointReader reader = grown(from, map);
  EXPECT_EQ(reader.states(), (std::vector<std::string>{"exp_avg_sq", "momentum"}));
  for (const TensorMap& tensor : map.tensors) {
    const bool is_matrix = tensor.target.is_matrix();
    const std::string state = is_matrix ? "momentum" : "exp_avg_sq";
    EXPECT_FALSE(reader.has_state(is_matrix ? "exp_avg_sq" : "momentum", tensor.target.name));
    std::vector<float> expected(static_cast<std::size_t>(tensor.target.shape.elements()));
    const std::vector<float> source = read(from, state, tensor.source, tensor.source_shape);
    apply(tensor, is_matrix ? CarriedState::first_moment : CarriedState::second_moment, 1, source,
          expected);
    EXPECT_EQ(read(reader, state, tensor.target.name, tensor.target.shape), expected)
        << tensor.target.name;
  }
}

TEST_F(GrownOptimizer, NewLayersHaveTheStatesOfTheirRoles) {
  const CheckpointReader from = saved("momentum", "exp_avg");
  ModelConfig to = config_;
  to.num_hidden_layers = 3;
  const CheckpointReader reader = grown(from, layer_map(config_, to, {0, 1, AxisMap::kFilled}));
  for (const ParameterSpec& spec : parameter_specs(to)) {
    EXPECT_EQ(reader.has_state("momentum", spec.name), spec.is_matrix()) << spec.name;
    EXPECT_EQ(reader.has_state("exp_avg", spec.name), !spec.is_matrix()) << spec.name;
    if (spec.layer != 2) continue;
    const std::string state = spec.is_matrix() ? "momentum" : "exp_avg";
    const std::vector<float> zeros(static_cast<std::size_t>(spec.shape.elements()));
    EXPECT_EQ(read(reader, state, spec.name, spec.shape), zeros) << spec.name;
  }
}

TEST_F(GrownOptimizer, RefusesAStateThatItDoesNotKnow) {
  const CheckpointReader from = saved("momentum", "third_moment");
  try {
    grown(from, map_of(Width{.hidden_factor = 2}, config_));
    FAIL();
  } catch (const FormatError& error) {
    EXPECT_EQ(std::string(error.what()),
              from.path().string() +
                  ": \"third_moment\" is not a state of an optimizer of this program: growth does "
                  "not know how to carry it");
  }
}

}  // namespace
}  // namespace gda::test

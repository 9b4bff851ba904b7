#include "gda/growth/grow_checkpoint.h"

#include <memory>
#include <utility>
#include <vector>

#include "gda/core/error.h"
#include "gda/core/memory.h"
#include "gda/ops/elementwise.h"

namespace gda {
namespace {

struct OptimizerState {
  const char* name;
  GrowthState rule;
};
constexpr OptimizerState kMaster{"master", GrowthState::value};
constexpr OptimizerState kStates[] = {
    kMaster, {"exp_avg", GrowthState::first_moment}, {"exp_avg_sq", GrowthState::second_moment}};

// One state of one tensor, grown, in the type that the arithmetic is done in.
class GrownTensors {
 public:
  GrownTensors(const CheckpointReader& from, const GrowthNoise& noise, DType work)
      : from_(from), noise_(noise), work_(work) {
    for (const ParameterSpec& spec : parameter_specs(from.config())) {
      old_shapes_.emplace(spec.name, spec.shape);
    }
  }

  DType work() const { return work_; }

  OwnedTensor compute(const TensorMap& map, const OptimizerState& state) const {
    OwnedTensor source;
    std::int64_t columns = 1;
    if (!map.source.empty()) {
      const Shape& shape = old_shapes_.at(map.source);
      if (shape.rank() == 2) columns = shape[1];
      source = OwnedTensor(work_, {shape.elements()});
      read(state, map.source, source.tensor);
    }
    OwnedTensor target(work_, {map.target.shape.elements()});
    if (work_ == DType::f64) {
      run<double>(map, state.rule, source.tensor, columns, target.tensor);
    } else {
      run<float>(map, state.rule, source.tensor, columns, target.tensor);
    }
    return target;
  }

 private:
  // A checkpoint without masters (another program's, in bf16) has only its parameters.
  void read(const OptimizerState& state, const std::string& name, const Tensor& to) const {
    if (state.rule == GrowthState::value && !from_.has_state(state.name)) {
      from_.read_range(name, 0, to);
    } else {
      from_.read_piece(state.name, name, 0, to);
    }
  }

  template <class T>
  void run(const TensorMap& map, GrowthState rule, const Tensor& source, std::int64_t columns,
           const Tensor& target) const {
    const auto span = [](const Tensor& tensor) {
      return std::span<T>(tensor ? tensor.data<T>() : nullptr,
                          static_cast<std::size_t>(tensor ? tensor.elements() : 0));
    };
    apply(map, rule, noise_, std::span<const T>(span(source)), columns, span(target));
  }

  const CheckpointReader& from_;
  GrowthNoise noise_;
  DType work_;
  std::map<std::string, Shape> old_shapes_;
};

void emit(const Tensor& tensor, DType stored, const ByteSink& sink) {
  OwnedTensor converted;
  Tensor result = tensor;
  if (stored != tensor.dtype()) {
    converted = OwnedTensor(stored, tensor.shape());
    Arena arena;
    convert({Stream{}, arena}, tensor, converted.tensor);
    result = converted.tensor;
  }
  sink({static_cast<const std::byte*>(result.raw()), result.bytes()});
}

// Vectors are stored in the accumulate type whatever the matrices' type is.
DType stored_type(const ModelFolder& folder) {
  const StoredTensor* embedding = folder.at("model.embed_tokens.weight").tensor;
  switch (embedding->type) {
    case StoredType::f64:
      return DType::f64;
    case StoredType::bf16:
      return DType::bf16;
    default:
      return DType::f32;
  }
}

}  // namespace

SavedCheckpoint grow_checkpoint(Communicator& group, const CheckpointReader& from,
                                const GrowthMap& map, const GrowthNoise& noise,
                                const SaveOptions& options, const std::string& run_config) {
  require<FormatError>(from.config() == map.from,
                       "{}: the growth map was made for another model than this checkpoint's",
                       from.path().string());
  const DType stored = stored_type(from.model());
  const auto grown = std::make_shared<const GrownTensors>(from, noise, accumulate_type(stored));
  CheckpointContents contents;
  contents.step = from.step();
  contents.model = map.to;
  contents.trainer_json = from.trainer_json();
  contents.run_config = run_config;
  for (std::size_t i = 0; i < map.tensors.size(); ++i) {
    const TensorMap& tensor = map.tensors[i];
    const ParameterSpec& spec = tensor.target;
    const DType type = spec.is_matrix() ? stored : accumulate_type(stored);
    contents.parameters.push_back({.name = spec.name,
                                   .dtype = type,
                                   .shape = spec.shape,
                                   .produce = [grown, &tensor, type](const ByteSink& sink) {
                                     emit(grown->compute(tensor, kMaster).tensor, type, sink);
                                   }});
    if (static_cast<int>(i % static_cast<std::size_t>(group.size())) != group.rank()) continue;
    for (const OptimizerState& state : kStates) {
      const bool is_own_master =
          state.rule == GrowthState::value && type == accumulate_type(stored);
      if (is_own_master || !from.has_state(state.name)) continue;
      contents.pieces.push_back({.state = state.name,
                                 .name = spec.name,
                                 .offset = 0,
                                 .dtype = grown->work(),
                                 .length = spec.shape.elements(),
                                 .produce = [grown, &tensor, &state](const ByteSink& sink) {
                                   emit(grown->compute(tensor, state).tensor, grown->work(), sink);
                                 }});
    }
  }
  return save_checkpoint(group, options, contents);
}

}  // namespace gda

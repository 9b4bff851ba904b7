#include "gda/growth/grow_checkpoint.h"

#include <algorithm>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "gda/core/error.h"
#include "gda/core/memory.h"
#include "gda/ops/elementwise.h"
#include "growth/grown_tensor.h"
#include "growth/update_origins.h"

namespace gda {
namespace {

struct OptimizerState {
  const char* name;
  CarriedState rule;
};
constexpr OptimizerState kMaster{"master", CarriedState::value};
constexpr OptimizerState kStates[] = {kMaster,
                                      {"exp_avg", CarriedState::first_moment},
                                      {"exp_avg_sq", CarriedState::second_moment},
                                      {"momentum", CarriedState::first_moment}};

// Elements that are computed, converted and written at once, besides the tensor they come from.
constexpr std::int64_t kBlockElements = std::int64_t{4} << 20;

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

// What is written is computed when its turn comes.
class Grower {
 public:
  Grower(const CheckpointReader& from, std::uint64_t seed, DType stored)
      : from_(from), seed_(seed), stored_(stored) {}

  // Matrices have the type that they had, vectors its accumulate type.
  DType parameter_type(const ParameterSpec& spec) const {
    return spec.is_matrix() ? stored_ : work();
  }
  // Of the arithmetic, masters and moments.
  DType work() const { return accumulate_type(stored_); }
  // A parameter in this type is its own master.
  bool has_pieces(const OptimizerState& state, const TensorMap& map) const {
    const bool is_master = state.rule == CarriedState::value;
    if (is_master && parameter_type(map.target) == work()) return false;
    // Frozen parameters have no state.
    return map.source.empty() ? from_.has_state(state.name)
                              : from_.has_state(state.name, map.source);
  }

  void write_rows(const TensorMap& map, const OptimizerState& state, std::int64_t first,
                  std::int64_t end, DType type, const ByteSink& sink) const {
    if (work() == DType::f64) {
      write<double>(map, state, first, end, type, sink);
    } else {
      write<float>(map, state, first, end, type, sink);
    }
  }

 private:
  template <class T>
  void write(const TensorMap& map, const OptimizerState& state, std::int64_t first,
             std::int64_t end, DType type, const ByteSink& sink) const {
    const GrownTensor<T> grown(map, state.rule, seed_, read<T>(map, state));
    const std::int64_t width = grown.row_size();
    const std::int64_t block = std::max<std::int64_t>(1, kBlockElements / width);
    std::vector<T> rows;
    for (std::int64_t row = first; row < end; row += block) {
      const std::int64_t elements = std::min(block, end - row) * width;
      rows.resize(static_cast<std::size_t>(elements));
      grown.rows(row, rows);
      emit(Tensor(rows.data(), work(), {elements}), type, sink);
    }
  }

  // Without a master of its own (frozen, in f32, or another program's), a parameter is read itself.
  template <class T>
  std::vector<T> read(const TensorMap& map, const OptimizerState& state) const {
    if (map.source.empty()) return {};
    std::vector<T> source(static_cast<std::size_t>(map.source_shape.elements()));
    const Tensor to(source.data(), work(), {map.source_shape.elements()});
    if (state.rule == CarriedState::value && !from_.has_state(state.name, map.source)) {
      from_.read_range(map.source, 0, to);
    } else {
      from_.read_piece(state.name, map.source, 0, to);
    }
    return source;
  }

  const CheckpointReader& from_;
  std::uint64_t seed_;
  DType stored_;
};

DType stored_type(const ModelFolder& folder) {
  const StoredTensor* embedding = folder.at(kEmbeddingName).tensor;
  switch (embedding->type) {
    case StoredType::f64:
      return DType::f64;
    case StoredType::bf16:
      return DType::bf16;
    default:
      return DType::f32;
  }
}

GrowthState grown_state(const CheckpointReader& from, const GrowthMap& map, std::int64_t updates) {
  GrowthState state;
  state.origins = carry_origins(map, from.growth().origins, updates);
  state.added = map.added.empty() ? carry_names(map, from.growth().added) : map.added;
  state.ramp = map.ramp;
  if (state.ramp) state.ramp->first_step = from.step();
  return state;
}

std::uint64_t parameter_bytes(const Grower& grower, const GrowthMap& map) {
  std::uint64_t bytes = 0;
  for (const TensorMap& tensor : map.tensors) {
    bytes += static_cast<std::uint64_t>(tensor.target.shape.elements()) *
             size_of(grower.parameter_type(tensor.target));
  }
  return bytes;
}

// This rank's rows of every state of a tensor. The split depends on nothing but the ranks.
void add_pieces(const Communicator& group, const std::shared_ptr<const Grower>& grower,
                const TensorMap& tensor, std::vector<TensorPiece>& pieces) {
  const Shape& shape = tensor.target.shape;
  const std::int64_t width = shape.rank() == 2 ? shape[1] : 1;
  const std::int64_t first = shape[0] * group.rank() / group.size();
  const std::int64_t end = shape[0] * (group.rank() + 1) / group.size();
  if (first == end) return;
  for (const OptimizerState& state : kStates) {
    if (!grower->has_pieces(state, tensor)) continue;
    pieces.push_back({.state = state.name,
                      .name = tensor.target.name,
                      .offset = first * width,
                      .dtype = grower->work(),
                      .length = (end - first) * width,
                      .produce = [grower, &tensor, &state, first, end](const ByteSink& sink) {
                        grower->write_rows(tensor, state, first, end, grower->work(), sink);
                      }});
  }
}

}  // namespace

SavedCheckpoint grow_checkpoint(Communicator& group, const CheckpointReader& from,
                                const GrowthMap& map, const GrownRun& run,
                                const SaveOptions& options) {
  require<FormatError>(from.config() == map.from,
                       "{}: the growth map was made for another model than this checkpoint's",
                       from.path().string());
  from.check_fully_grown("another growth");
  const auto grower = std::make_shared<const Grower>(from, run.seed, stored_type(from.model()));
  CheckpointContents contents;
  contents.step = from.step();
  contents.model = map.to;
  contents.trainer_json = run.trainer_json;
  contents.grown = run.same_run;
  contents.growth = grown_state(from, map, run.updates);
  contents.run_config = run.run_config;
  contents.unhealthy = from.manifest().unhealthy;
  for (const TensorMap& tensor : map.tensors) {
    const ParameterSpec& spec = tensor.target;
    const DType type = grower->parameter_type(spec);
    contents.parameters.push_back({.name = spec.name,
                                   .dtype = type,
                                   .shape = spec.shape,
                                   .produce = [grower, &tensor, type](const ByteSink& sink) {
                                     grower->write_rows(tensor, kMaster, 0, tensor.target.shape[0],
                                                        type, sink);
                                   }});
    add_pieces(group, grower, tensor, contents.pieces);
  }
  // Files go to ranks in turn: several for each, so that they come out about even.
  constexpr std::uint64_t kFilesOfARank = 4;
  SaveOptions cut = options;
  const std::uint64_t files = kFilesOfARank * static_cast<std::uint64_t>(group.size());
  if (group.size() > 1) {
    cut.max_file_bytes =
        std::min(options.max_file_bytes, parameter_bytes(*grower, map) / files + 1);
  }
  return save_checkpoint(group, cut, contents);
}

std::uint64_t grown_bytes(const CheckpointReader& from, const GrowthMap& map) {
  const Grower grower(from, 0, stored_type(from.model()));
  std::uint64_t bytes = parameter_bytes(grower, map);
  for (const TensorMap& tensor : map.tensors) {
    for (const OptimizerState& state : kStates) {
      if (!grower.has_pieces(state, tensor)) continue;
      bytes += static_cast<std::uint64_t>(tensor.target.shape.elements()) * size_of(grower.work());
    }
  }
  return bytes;
}

}  // namespace gda

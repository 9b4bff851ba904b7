#include "gda/growth/grow_checkpoint.h"

#include <algorithm>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "gda/core/error.h"
#include "gda/core/memory.h"
#include "gda/model/carried_state.h"
#include "gda/ops/elementwise.h"
#include "growth/grown_tensor.h"
#include "growth/update_origins.h"

namespace gda {
namespace {

// A state of the optimizer, and how it is carried.
struct OptimizerState {
  std::string name;
  CarriedState rule = CarriedState::value;
};
const OptimizerState kMaster{std::string(kMasterState), CarriedState::value};

// Those that a checkpoint has. A parameter can have a master where it had none: in a wider type it
// was its own.
std::vector<OptimizerState> states_of(const CheckpointReader& reader) {
  std::vector<OptimizerState> states = {kMaster};
  for (const std::string& name : reader.states()) {
    if (name == kMasterState) continue;
    try {
      states.push_back({name, carried_state(name)});
    } catch (const FormatError& error) {
      fail<FormatError>("{}: {}", reader.path().string(), error.what());
    }
  }
  return states;
}

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
  Grower(const CheckpointReader& from, const ModelConfig& model, std::uint64_t seed, DType stored)
      : from_(from),
        old_(parameter_specs(model)),
        states_(states_of(from)),
        seed_(seed),
        stored_(stored) {}

  const std::vector<OptimizerState>& states() const { return states_; }

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
    if (!map.source.empty()) return from_.has_state(state.name, map.source);
    // What is new has what others of its role have: an optimizer may treat them differently.
    bool is_known = false;
    for (const ParameterSpec& spec : old_) {
      if (spec.role != map.target.role) continue;
      if (from_.has_state(state.name, spec.name)) return true;
      is_known |= has_moments(spec.name);
    }
    return !is_known && from_.has_state(state.name);
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
  bool has_moments(const std::string& name) const {
    return std::ranges::any_of(states_, [&](const OptimizerState& state) {
      return state.rule != CarriedState::value && from_.has_state(state.name, name);
    });
  }

  template <class T>
  void write(const TensorMap& map, const OptimizerState& state, std::int64_t first,
             std::int64_t end, DType type, const ByteSink& sink) const {
    const IndexRange from =
        map.source.empty() ? IndexRange{} : source_rows(map, state.rule, {first, end});
    const GrownTensor<T> grown(map, state.rule, seed_, read<T>(map, state, from), from.begin);
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
  std::vector<T> read(const TensorMap& map, const OptimizerState& state,
                      const IndexRange& rows) const {
    if (rows.size() == 0) return {};
    const std::int64_t width = Region::whole(map.source_shape).columns.size();
    std::vector<T> source(static_cast<std::size_t>(rows.size() * width));
    const Tensor to(source.data(), work(), {rows.size() * width});
    if (state.rule == CarriedState::value && !from_.has_state(state.name, map.source)) {
      from_.read_range(map.source, rows.begin * width, to);
    } else {
      from_.read_piece(state.name, map.source, rows.begin * width, to);
    }
    return source;
  }

  const CheckpointReader& from_;
  std::vector<ParameterSpec> old_;
  std::vector<OptimizerState> states_;
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

// The parameter with the states that it has, all of which any rank can compute.
ParameterSource grown_parameter(const std::shared_ptr<const Grower>& grower,
                                const TensorMap& tensor) {
  const DType type = grower->parameter_type(tensor.target);
  ParameterSource source{
      .name = tensor.target.name,
      .dtype = type,
      .shape = tensor.target.shape,
      .boxes = {{Region::whole(tensor.target.shape),
                 [grower, &tensor, type](const IndexRange& rows, const ByteSink& sink) {
                   grower->write_rows(tensor, kMaster, rows.begin, rows.end, type, sink);
                 }}}};
  for (const OptimizerState& state : grower->states()) {
    if (grower->has_pieces(state, tensor)) source.states.push_back(state.name);
  }
  return source;
}

// This rank's rows of every state of a tensor. The split depends on nothing but the ranks.
void add_pieces(const Communicator& group, const std::shared_ptr<const Grower>& grower,
                const TensorMap& tensor, std::vector<TensorPiece>& pieces) {
  const Region whole = Region::whole(tensor.target.shape);
  const std::int64_t width = whole.columns.size();
  const std::int64_t first = whole.rows.size() * group.rank() / group.size();
  const std::int64_t end = whole.rows.size() * (group.rank() + 1) / group.size();
  if (first == end) return;
  for (const OptimizerState& state : grower->states()) {
    if (!grower->has_pieces(state, tensor)) continue;
    pieces.push_back({.state = state.name,
                      .name = tensor.target.name,
                      .region = whole,
                      .offset = first * width,
                      .dtype = grower->work(),
                      .length = (end - first) * width,
                      .produce = [grower, &tensor, state, first, end](const ByteSink& sink) {
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
  const auto grower =
      std::make_shared<const Grower>(from, map.from, run.seed, stored_type(from.model()));
  CheckpointContents contents;
  contents.step = from.step();
  contents.model = map.to;
  contents.trainer_json = run.trainer_json;
  contents.grown = run.same_run;
  contents.growth = grown_state(from, map, run.updates);
  contents.run_config = run.run_config;
  contents.unhealthy = from.manifest().unhealthy;
  for (const TensorMap& tensor : map.tensors) {
    contents.parameters.push_back(grown_parameter(grower, tensor));
    add_pieces(group, grower, tensor, contents.pieces);
  }
  // Files go to ranks in turn: several for each, so that they come out about even, but not more
  // than a folder should have.
  constexpr std::uint64_t kFilesOfARank = 4;
  constexpr std::uint64_t kMostFiles = 256;
  SaveOptions cut = options;
  const std::uint64_t files =
      std::min(kMostFiles, kFilesOfARank * static_cast<std::uint64_t>(group.size()));
  if (group.size() > 1) {
    cut.max_file_bytes =
        std::min(options.max_file_bytes, parameter_bytes(*grower, map) / files + 1);
  }
  return save_checkpoint(group, cut, contents);
}

std::uint64_t grown_bytes(const CheckpointReader& from, const GrowthMap& map) {
  const Grower grower(from, map.from, 0, stored_type(from.model()));
  std::uint64_t bytes = parameter_bytes(grower, map);
  for (const TensorMap& tensor : map.tensors) {
    for (const OptimizerState& state : grower.states()) {
      if (!grower.has_pieces(state, tensor)) continue;
      bytes += static_cast<std::uint64_t>(tensor.target.shape.elements()) * size_of(grower.work());
    }
  }
  return bytes;
}

}  // namespace gda

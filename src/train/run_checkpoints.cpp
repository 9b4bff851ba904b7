#include "gda/train/run_checkpoints.h"

#include <algorithm>
#include <utility>

#include "gda/core/error.h"
#include "gda/core/log.h"
#include "gda/core/stream.h"
#include "gda/core/text.h"

namespace gda {
namespace {

constexpr const char* kMaster = "master";

bool has_any(const CheckpointReader& reader, const std::vector<std::string>& states,
             const std::string& name) {
  return std::any_of(states.begin(), states.end(),
                     [&](const std::string& state) { return reader.has_state(state, name); });
}

// The states that rules keep.
std::vector<std::string> states_of_rules(const CheckpointReader& reader) {
  std::vector<std::string> states = reader.states();
  std::erase(states, kMaster);
  return states;
}

// Whether a parameter was frozen, or updated by another rule, when the checkpoint was written. One
// without a state of any parameter is not a run's, and reading it says so.
bool has_no_states(const CheckpointReader& reader, const std::vector<std::string>& states,
                   const std::string& name) {
  return !states.empty() && !has_any(reader, states, name) && !states_of_rules(reader).empty();
}

void tell(const std::vector<std::string>& names, const char* why) {
  if (names.empty()) return;
  log::info("{} of the trained parameters {} (the first is {}, the last {})", names.size(), why,
            names.front(), names.back());
}

void check_origins(const CheckpointReader& reader, const RestoredRun& run) {
  for (const UpdateOrigin& origin : run.growth.origins) {
    for (const std::vector<AxisRun>* runs : {&origin.rows, &origin.columns}) {
      for (const AxisRun& part : *runs) {
        require<FormatError>(part.value <= run.state.updates,
                             "{}: elements of {} began after {}, but the run has done {}",
                             (reader.path() / "growth.json").string(), origin.name,
                             counted(part.value, "update"), run.state.updates);
      }
    }
  }
}

}  // namespace

RunCheckpoints::RunCheckpoints(std::filesystem::path directory, const CheckpointConfig& config,
                               Communicator& world, std::vector<ParameterSpec> specs,
                               GradientBuckets& buckets, Optimizer& optimizer)
    : options_{.directory = std::move(directory),
               .keep_last = config.keep_last,
               .keep_every = config.keep_every},
      async_(config.async),
      world_(world),
      specs_(std::move(specs)),
      parameters_(buckets.parameters()),
      buckets_(buckets),
      optimizer_(optimizer),
      writer_(world, options_) {}

RestoredRun RunCheckpoints::restore(const Context& context, const CheckpointReader& reader) {
  reader.check_matches(specs_);
  RestoredRun run{
      .state = parse_run_state(reader.trainer_json(), (reader.path() / "trainer.json").string()),
      .growth = reader.growth()};
  check_origins(reader, run);
  begin_afresh(reader, run);
  for (const OptimizerPiece& piece : optimizer_.pieces()) {
    const std::string& name = piece.spec().name;
    const auto read = [&](const std::string& state, const Tensor& to) {
      fill_from_host(context.stream, to, [&](const Tensor& host) {
        reader.read_piece(state, name, piece.parameter->region, piece.offset, host);
      });
    };
    read(kMaster, piece.master);
    if (has_no_states(reader, optimizer_.states(piece.spec()), name)) continue;
    for (const OptimizerState& state : piece.states) read(state.name, state.tensor);
  }
  optimizer_.set_origins(context, run.growth.origins);
  optimizer_.publish_masters(context);
  buckets_.wait_all();
  return run;
}

void RunCheckpoints::begin_afresh(const CheckpointReader& reader, RestoredRun& run) const {
  std::vector<UpdateOrigin>& origins = run.growth.origins;
  const std::vector<std::string> all = states_of_rules(reader);
  std::vector<std::string> frozen;
  std::vector<std::string> others;
  for (const ParameterSpec& spec : specs_) {
    const std::string& name = spec.name;
    if (!has_no_states(reader, optimizer_.states(spec), name)) continue;
    (has_any(reader, all, name) ? others : frozen).push_back(name);
    std::erase_if(origins, [&](const UpdateOrigin& origin) { return origin.name == name; });
    origins.push_back({.name = name,
                       .rows = {{.length = spec.shape[0], .value = run.state.updates}},
                       .columns = {}});
  }
  tell(frozen, "were frozen until now: their optimizer moments begin at zero");
  tell(others,
       "were updated by another optimizer until now: their states begin at zero, and those of the "
       "checkpoint are left");
}

void RunCheckpoints::initialise_from(const Context& context, const ModelFolder& folder) {
  folder.check_matches(specs_);
  for (const OptimizerPiece& piece : optimizer_.pieces()) {
    fill_from_host(context.stream, piece.master, [&](const Tensor& host) {
      folder.read_range(piece.spec().name, piece.parameter->region, piece.offset, host);
    });
  }
  optimizer_.publish_masters(context);
  buckets_.wait_all();
}

// Where buckets have their memory in turn, a rank has its part of the values for good, and of each
// parameter at most one piece.
void RunCheckpoints::add_boxes(const Context& context, const Parameter& parameter,
                               ParameterSource& source) const {
  const ParameterSpec& spec = parameter.spec;
  if (!parameters_.buckets()[parameter.bucket].shares_values) {
    source.boxes =
        parameter_source(spec.name, spec.shape, parameter.region, parameter.value, context.stream)
            .boxes;
    return;
  }
  for (const OptimizerPiece& piece : optimizer_.pieces()) {
    if (piece.parameter != &parameter) continue;
    source.boxes = parameter_source(spec.name, spec.shape, parameter.region, piece.offset,
                                    piece.value, context.stream)
                       .boxes;
  }
}

ParameterSource RunCheckpoints::source_of(const Context& context, const ParameterSpec& spec) const {
  const DType compute = parameters_.compute_type();
  ParameterSource source{.name = spec.name,
                         .dtype = spec.is_matrix() ? compute : accumulate_type(compute),
                         .shape = spec.shape};
  const Parameter* parameter = parameters_.find(spec.name);
  if (parameter != nullptr && parameter->is_primary) add_boxes(context, *parameter, source);
  // Where the parameter is its own master, the model's file holds it.
  if (source.dtype != accumulate_type(compute)) source.states.emplace_back(kMaster);
  const std::vector<std::string> states = optimizer_.states(spec);
  source.states.insert(source.states.end(), states.begin(), states.end());
  return source;
}

CheckpointContents RunCheckpoints::contents(const Context& context, const RunSnapshot& run) const {
  CheckpointContents contents;
  contents.step = run.state.step;
  contents.model = run.model;
  for (const ParameterSpec& spec : specs_) contents.parameters.push_back(source_of(context, spec));
  for (const OptimizerPiece& piece : optimizer_.pieces()) {
    if (!piece.parameter->is_primary) continue;
    const auto add = [&](const std::string& name, const Tensor& data) {
      contents.pieces.push_back(piece_of(name, piece.spec().name, piece.parameter->region,
                                         piece.offset, data, context.stream));
    };
    if (piece.has_own_master()) add(kMaster, piece.master);
    for (const OptimizerState& state : piece.states) add(state.name, state.tensor);
  }
  contents.trainer_json = run.state.json();
  contents.run_config = run.run_config;
  contents.growth = run.growth;
  contents.unhealthy = run.unhealthy;
  return contents;
}

void RunCheckpoints::save(const Context& context, const RunSnapshot& run, bool wait) {
  buckets_.wait_all();
  const CheckpointContents all = contents(context, run);
  if (async_ && !wait) {
    writer_.start(all);
  } else {
    writer_.finish();
    written_ = save_checkpoint(world_, options_, all);
  }
}

std::optional<SavedCheckpoint> RunCheckpoints::finish(bool wait) {
  if (written_) return std::exchange(written_, std::nullopt);
  if (!writer_.busy()) return std::nullopt;
  if (!wait && !writer_.poll()) return std::nullopt;
  return writer_.finish();
}

}  // namespace gda

#include "gda/train/run_checkpoints.h"

#include <utility>

namespace gda {
namespace {

constexpr const char* kMaster = "master";
constexpr const char* kFirstMoment = "exp_avg";
constexpr const char* kSecondMoment = "exp_avg_sq";

}  // namespace

RunCheckpoints::RunCheckpoints(std::filesystem::path directory, const CheckpointConfig& config,
                               Communicator& world, const ParameterStore& parameters,
                               ShardedAdamW& optimizer)
    : options_{.directory = std::move(directory),
               .keep_last = config.keep_last,
               .keep_every = config.keep_every},
      async_(config.async),
      world_(world),
      parameters_(parameters),
      optimizer_(optimizer),
      writer_(world, options_) {}

RunState RunCheckpoints::restore(const Context& context, const CheckpointReader& reader) {
  std::vector<ParameterSpec> specs;
  for (const Parameter& parameter : parameters_.all()) specs.push_back(parameter.spec);
  reader.check_matches(specs);
  for (const ShardedAdamW::Piece& piece : optimizer_.pieces()) {
    reader.read_piece(kMaster, piece.spec->name, piece.offset, piece.master);
    reader.read_piece(kFirstMoment, piece.spec->name, piece.offset, piece.m);
    reader.read_piece(kSecondMoment, piece.spec->name, piece.offset, piece.v);
  }
  optimizer_.publish_masters(context);
  optimizer_.wait_all();
  return parse_run_state(reader.trainer_json(), (reader.path() / "trainer.json").string());
}

void RunCheckpoints::initialise_from(const Context& context, const ModelFolder& folder) {
  std::vector<ParameterSpec> specs;
  for (const Parameter& parameter : parameters_.all()) specs.push_back(parameter.spec);
  folder.check_matches(specs);
  for (const ShardedAdamW::Piece& piece : optimizer_.pieces()) {
    folder.read_range(piece.spec->name, piece.offset, piece.master);
  }
  optimizer_.publish_masters(context);
  optimizer_.wait_all();
}

CheckpointContents RunCheckpoints::contents(const ModelConfig& model, const RunState& state,
                                            const std::string& run_config) const {
  CheckpointContents contents;
  contents.step = state.step;
  contents.model = model;
  for (const Parameter& parameter : parameters_.all()) {
    contents.parameters.push_back(source_of(parameter.spec.name, parameter.value));
  }
  for (const ShardedAdamW::Piece& piece : optimizer_.pieces()) {
    const auto add = [&](const char* name, const Tensor& data) {
      contents.pieces.push_back(piece_of(name, piece.spec->name, piece.offset, data));
    };
    // Where the parameter is its own master, the model's file holds it.
    if (piece.master.raw() != piece.value.raw()) add(kMaster, piece.master);
    add(kFirstMoment, piece.m);
    add(kSecondMoment, piece.v);
  }
  contents.trainer_json = state.json();
  contents.run_config = run_config;
  return contents;
}

void RunCheckpoints::save(const ModelConfig& model, const RunState& state,
                          const std::string& run_config, bool wait) {
  optimizer_.wait_all();
  const CheckpointContents all = contents(model, state, run_config);
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

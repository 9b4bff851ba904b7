#include "cli/loaded_model.h"

#include <algorithm>
#include <utility>

#include "cli/device_option.h"
#include "cli/options.h"
#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/checkpoint/run_folder.h"
#include "gda/core/error.h"
#include "gda/core/log.h"
#include "gda/ops/matmul.h"
#include "gda/train/data_agreement.h"
#include "gda/train/run_state.h"

namespace gda::cli {
namespace fs = std::filesystem;
namespace {

DType compute_type_of(const std::string& precision, Device device) {
  PrecisionConfig wanted;
  wanted.compute = from_word<ComputePrecision>(precision).value();
  const DType type = wanted.compute_type();
  if (type != DType::bf16 || bf16_matmul_is_native(device)) return type;
  log::warning("--precision bf16: this processor has no bf16 arithmetic; computing in fp32");
  return DType::f32;
}

// A finished or half-written checkpoint, whose reader tells what is wrong with it.
bool is_checkpoint(const fs::path& path) {
  return fs::exists(path / "manifest.json") || path.filename().string().starts_with("step-");
}

bool holds_checkpoints(const fs::path& path) {
  return !list_step_folders(path).empty() ||
         !list_step_folders(RunFolder(path).checkpoints()).empty();
}

// The values of `source`, which is a ModelFolder or a CheckpointReader (and then verified).
template <class Source>
std::unique_ptr<ParameterStore> read_parameters(const Source& source, DType compute,
                                                const Stream& stream) {
  const std::vector<ParameterSpec> specs = parameter_specs(source.config());
  source.check_matches(specs);
  auto parameters = std::make_unique<ParameterStore>(specs, compute, 1, false, stream.device);
  for (const Parameter& parameter : parameters->all()) {
    fill_from_host(stream, parameter.value,
                   [&](const Tensor& host) { source.read_parameter(parameter.spec.name, host); });
  }
  return parameters;
}

}  // namespace

LoadedModel::LoadedModel(const ModelOptions& options)
    : options_(options), device_(chosen_device(options.device)), stream_(device_) {
  const fs::path path = options.path;
  require<ConfigError>(fs::is_directory(path),
                       "{}: no such folder; expected a checkpoint, a run "
                       "folder or a Hugging Face model folder",
                       path.string());
  // "folder/" names the folder, too.
  load(path.has_filename() ? path : path.parent_path());
}

void LoadedModel::load(const fs::path& path) {
  const bool checkpoint = is_checkpoint(path);
  const DType compute = compute_type_of(options_.precision, device_);
  if (!checkpoint && fs::exists(path / "config.json")) {
    const ModelFolder folder(path);
    path_ = path;
    parameters_ = read_parameters(folder, compute, stream_.get());
    decoder_ = std::make_unique<Decoder>(folder.config(), *parameters_);
    return;
  }
  require<ConfigError>(checkpoint || holds_checkpoints(path),
                       "{} is not a checkpoint (no manifest.json), not a run folder (no "
                       "checkpoints/step-... inside) and not a Hugging Face model folder (no "
                       "config.json)",
                       path.string());
  const CheckpointReader reader = open_checkpoint(path, nullptr, Verification::model);
  path_ = reader.path();
  has_run_config_ = !reader.run_config().empty();
  if (!reader.trainer_json().empty()) {
    const RunState state = parse_run_state(reader.trainer_json(), path_.string());
    if (state.data) recorded_tokenizer_ = state.data->tokenizer_of_ids();
  }
  parameters_ = read_parameters(reader, compute, stream_.get());
  decoder_ = std::make_unique<Decoder>(reader.config(), *parameters_);
  decoder_->set_growth_at(reader.growth(), reader.step());
}

std::optional<RunConfig> LoadedModel::run_config() const {
  if (!has_run_config_) return std::nullopt;
  return load_run_config(path_ / kRunConfigFile, {});
}

std::optional<TokenizerIdentity> LoadedModel::learnt_tokenizer() const {
  return recorded_tokenizer_ ? recorded_tokenizer_ : tokenizer_beside(path_);
}

void LoadedModel::check_tokenizer(const TokenizerIdentity& tokenizer,
                                  const std::string& where) const {
  std::string fault;
  const auto learnt = learnt_tokenizer();
  if (learnt && learnt->fingerprint != tokenizer.fingerprint) {
    fault = "but the model has learnt the ids of " + describe(*learnt);
  } else if (tokenizer.vocab_size > config().vocab_size) {
    fault = fmt::format("but the model's vocab_size is {}", config().vocab_size);
  }
  if (fault.empty()) return;
  fault = fmt::format("{} is tokenizer {}, {}", where, describe(tokenizer), fault);
  require<ConfigError>(options_.accept_other_tokenizer,
                       "{}: give the model's own as --tokenizer; where the two give the same ids, "
                       "add --accept-other-tokenizer",
                       fault);
  log::warning("accepted: {}", fault);
}

std::unique_ptr<Tokenizer> LoadedModel::open_tokenizer(const std::string& option) const {
  std::string file = option;
  std::string where = "--tokenizer " + option;
  if (!option.empty()) {
    require<ConfigError>(fs::exists(option), "--tokenizer {}: no such file", option);
  } else if (const auto run = run_config(); run && !run->data.tokenizer.empty()) {
    file = run->data.tokenizer;
    where = "the run's data.tokenizer " + file;
    require<ConfigError>(fs::exists(file), "{} is not there: give --tokenizer MODEL", where);
  } else {
    file = (path_ / "tokenizer.model").string();
    where = file;
    require<ConfigError>(fs::exists(file),
                         "{} names no tokenizer (no data.tokenizer in a config.yaml, no "
                         "tokenizer.model): give --tokenizer MODEL",
                         path_.string());
  }
  auto tokenizer = gda::open_tokenizer(file);
  check_tokenizer(tokenizer->identity(), where);
  return tokenizer;
}

std::vector<double> LoadedModel::log_probabilities(std::span<const std::int32_t> tokens) {
  const auto length = static_cast<std::int64_t>(tokens.size()) - 1;
  const ArenaScope scope(arena_);
  const Tensor token = arena_.allocate(DType::i32, {length});
  const Tensor target = arena_.allocate(DType::i32, {length});
  const Tensor loss = arena_.allocate(decoder_->statistics_type(), {length});
  const auto fill = [&](const Tensor& to, const auto& write) {
    fill_from_host(stream_.get(), to,
                   [&](const Tensor& host) { write(host.data<std::int32_t>()); });
  };
  fill(token, [&](auto* to) { std::copy(tokens.begin(), tokens.end() - 1, to); });
  fill(target, [&](auto* to) { std::copy(tokens.begin() + 1, tokens.end(), to); });
  decoder_->forward_loss(context(), single_document(context(), token), target, loss);
  const HostCopy losses(stream_.get(), loss);
  std::vector<double> scores;
  for (std::int64_t i = 0; i < length; ++i) scores.push_back(-losses[i]);
  return scores;
}

void LoadedModel::check_ids(std::span<const std::int32_t> ids, const std::string& where) const {
  for (const std::int32_t id : ids) {
    require<ConfigError>(id >= 0 && id < config().vocab_size,
                         "{}: token id {} is not in [0, {}), the model's vocabulary", where, id,
                         config().vocab_size);
  }
}

void add_model_options(CLI::App& command, ModelOptions& options) {
  add_path(command, "MODEL", options.path,
           "Checkpoint, run folder (its newest checkpoint) or Hugging Face model folder")
      ->required();
  command.add_option("--precision", options.precision, "Type of the arithmetic")
      ->capture_default_str()
      ->check(one_of({"fp32", "bf16", "fp64"}));
  add_device_option(command, options.device);
  command.add_flag("--accept-other-tokenizer", options.accept_other_tokenizer,
                   "Go on with a tokenizer, or data of one, that the model was not trained with");
}

}  // namespace gda::cli

// A model ready to run, for the commands that use one: generate, eval, score.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <CLI/CLI.hpp>

#include "gda/core/stream.h"
#include "gda/model/decoder.h"
#include "gda/tokenizer/tokenizer.h"
#include "gda/train/run_config.h"

namespace gda::cli {

struct ModelOptions {
  std::string path;
  std::string precision = "fp32";
  std::string device = "auto";
  bool accept_other_tokenizer = false;
};

class LoadedModel {
 public:
  // `options.path`: a checkpoint folder, a run folder or a folder of checkpoints (the newest whole
  // one), or a Hugging Face model folder. `precision`: fp32, bf16 or fp64; bf16 becomes fp32, with
  // a warning, where the processor has no bf16 arithmetic. The values are those of the model's
  // files, so a checkpoint and a copy of its model folder give the same numbers. A checkpoint of a
  // model that is still growing is run with the mask of its step. Throws ConfigError when the path
  // is none of these, FormatError when what is there is damaged. `device`: auto, cpu or cuda.
  explicit LoadedModel(const ModelOptions& options);

  // The folder that the model was read from.
  const std::filesystem::path& path() const { return path_; }
  const ModelConfig& config() const { return decoder_->config(); }
  Decoder& decoder() { return *decoder_; }
  Context context() { return {stream_.get(), arena_}; }

  // The configuration of the run that wrote the checkpoint; nothing for other model folders.
  std::optional<RunConfig> run_config() const;

  // The tokenizer at `option`; empty: the one of the run, else tokenizer.model in the model folder.
  // ConfigError that names --tokenizer if there is none, if it is another than the model has learnt
  // the ids of (else the text that a model reads or writes would silently be nonsense), or if its
  // vocabulary is larger than the model's. --accept-other-tokenizer makes warnings of these two.
  std::unique_ptr<Tokenizer> open_tokenizer(const std::string& option) const;

  // Whose ids the model has learnt: as the checkpoint remembers it, else tokenizer.model in the
  // model folder. Nothing: not known.
  std::optional<TokenizerIdentity> learnt_tokenizer() const;

  // log p(token i + 1 | tokens 0 ... i), one fewer than tokens, of which there must be at least 2.
  std::vector<double> log_probabilities(std::span<const std::int32_t> tokens);

  // ConfigError that begins with `where` unless all ids are in the vocabulary.
  void check_ids(std::span<const std::int32_t> ids, const std::string& where) const;

 private:
  void load(const std::filesystem::path& path);
  void check_tokenizer(const TokenizerIdentity& tokenizer, const std::string& where) const;

  ModelOptions options_;
  Device device_;
  OwnedStream stream_;
  std::filesystem::path path_;
  bool has_run_config_ = false;
  std::optional<TokenizerIdentity> recorded_tokenizer_;
  std::unique_ptr<ParameterStore> parameters_;
  std::unique_ptr<Decoder> decoder_;
  Arena arena_{device_};
};

// Adds the options that every such command has: the model's path, --precision, --device and
// --accept-other-tokenizer.
void add_model_options(CLI::App& command, ModelOptions& options);

}  // namespace gda::cli

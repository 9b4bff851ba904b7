#include "cli/inspection.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>

#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/checkpoint/run_folder.h"
#include "gda/core/error.h"
#include "gda/data/token_dataset.h"

namespace gda::cli {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

Json tensor_facts(const StoredTensor& tensor, const fs::path& file) {
  return {{"name", tensor.name},
          {"dtype", name_of(tensor.type)},
          {"shape", tensor.shape},
          {"file", file.filename().string()}};
}

Json model_facts(const ModelConfig& config) {
  const AttentionConfig& a = config.attention;
  Json model = {{"attention", word_of(a.type)},
                {"num_hidden_layers", config.num_hidden_layers},
                {"hidden_size", config.hidden_size},
                {"intermediate_size", config.intermediate_size},
                {"hidden_act", word_of(config.hidden_act)},
                {"vocab_size", config.vocab_size},
                {"max_position_embeddings", config.max_position_embeddings},
                {"tie_word_embeddings", config.tie_word_embeddings},
                {"head_dim", a.head_dim},
                {"num_key_value_heads", a.num_key_value_heads}};
  if (a.is_differential()) {
    model["signal_heads"] = a.signal_heads;
    model["noise_heads"] = a.noise_heads;
    Json lambda_init = Json::array();
    for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
      lambda_init.push_back(config.lambda_init_of(layer));
    }
    model["lambda_init"] = lambda_init;
  } else {
    model["num_attention_heads"] = a.num_attention_heads;
  }
  return model;
}

// Adds the model, its parameters and its tensors, in forward order as far as the model has them.
void add_model(const ModelFolder& folder, Json& facts) {
  facts["model"] = model_facts(folder.config());
  facts["parameters"] = folder.parameter_count();
  Json tensors = Json::array();
  const auto add = [&](const ModelFolder::Location& location) {
    tensors.push_back(tensor_facts(*location.tensor, folder.files()[location.file].path()));
  };
  std::map<std::string, ModelFolder::Location, std::less<>> rest = folder.tensors();
  for (const ParameterSpec& spec : parameter_specs(folder.config())) {
    const auto place = rest.find(spec.name);
    if (place == rest.end()) continue;
    add(place->second);
    rest.erase(place);
  }
  for (const auto& [name, location] : rest) add(location);
  facts["tensors"] = tensors;
}

Json file_facts(const std::string& name, std::uint64_t bytes) {
  return {{"name", name}, {"bytes", bytes}};
}

// What growth and freezing have left: parameters that were added whole, and the updates at which
// parts of parameters began.
void add_growth(const GrowthState& growth, Json& facts) {
  if (!growth.added.empty()) facts["added"] = growth.added;
  if (growth.origins.empty()) return;
  std::int64_t first = std::numeric_limits<std::int64_t>::max();
  std::int64_t last = 0;
  for (const UpdateOrigin& origin : growth.origins) {
    for (const std::vector<AxisRun>* runs : {&origin.rows, &origin.columns}) {
      for (const AxisRun& run : *runs) {
        if (run.value > 0) first = std::min(first, run.value);
        last = std::max(last, run.value);
      }
    }
  }
  facts["later_beginnings"] = {
      {"parameters", growth.origins.size()}, {"first_update", first}, {"last_update", last}};
}

Json inspect_checkpoint(const fs::path& path, bool verify) {
  const CheckpointReader reader(path,
                                verify ? Verification::everything : Verification::on_first_use);
  Json facts = {{"kind", "checkpoint"},
                {"path", path.string()},
                {"step", reader.step()},
                {"world_size", reader.manifest().world_size},
                {"healthy", reader.manifest().unhealthy.empty()},
                {"optimizer_states", reader.states()},
                {"verified", verify}};
  if (!reader.manifest().unhealthy.empty()) facts["unhealthy"] = reader.manifest().unhealthy;
  if (const auto& ramp = reader.growth().ramp) {
    facts["growth"] = {{"mask", ramp->at(reader.step())},
                       {"first_step", ramp->first_step},
                       {"steps", ramp->steps}};
  }
  add_model(reader.model(), facts);
  add_growth(reader.growth(), facts);
  for (const WrittenFile& file : reader.manifest().files) {
    facts["files"].push_back(file_facts(file.name, file.size));
    facts["files"].back()["xxh3"] = file.hash;
  }
  return facts;
}

Json inspect_checkpoints(const fs::path& path, const std::vector<StepFolder>& folders,
                         bool verify) {
  Json facts = {{"kind", "run"},
                {"path", path.string()},
                {"verified", verify},
                {"checkpoints", Json::array()},
                {"newest", nullptr}};
  for (const StepFolder& folder : folders) {
    Json entry = {{"step", folder.name.step},
                  {"grown", folder.name.grown},
                  {"path", folder.path.string()},
                  {"fault", nullptr}};
    try {
      Json checkpoint = inspect_checkpoint(folder.path, verify);
      entry["bytes"] = read_manifest(folder.path).total_bytes();
      entry["healthy"] = checkpoint["healthy"];
      if (checkpoint.contains("unhealthy")) entry["unhealthy"] = checkpoint["unhealthy"];
      // The one that a run goes on from: an unhealthy one only if there is no other.
      const bool is_healthy = checkpoint["healthy"].get<bool>();
      const bool has_healthy = !facts["newest"].is_null() && facts["newest"]["healthy"].get<bool>();
      if (is_healthy || !has_healthy) facts["newest"] = checkpoint;
    } catch (const Error& error) {
      entry["fault"] = error.what();
    }
    facts["checkpoints"].push_back(entry);
  }
  return facts;
}

Json inspect_model_folder(const fs::path& path) {
  const ModelFolder folder(path);
  Json facts = {{"kind", "model folder"}, {"path", path.string()}};
  add_model(folder, facts);
  for (const SafetensorsFile& file : folder.files()) {
    facts["files"].push_back(file_facts(file.path().filename().string(), file.bytes().size()));
  }
  return facts;
}

Json inspect_safetensors(const fs::path& path) {
  const SafetensorsFile file(path);
  std::int64_t elements = 0;
  Json facts = {{"kind", "safetensors file"},
                {"path", path.string()},
                {"bytes", file.bytes().size()},
                {"metadata", file.metadata()},
                {"tensors", Json::array()}};
  for (const StoredTensor& tensor : file.tensors()) {
    elements += tensor.elements();
    facts["tensors"].push_back(tensor_facts(tensor, path));
  }
  facts["parameters"] = elements;
  return facts;
}

// Documents of a dataset, counted in windows so that memory stays bounded.
std::int64_t count_documents(const TokenDataset& dataset) {
  constexpr std::int64_t kWindow = std::int64_t{1} << 24;
  std::int64_t count = 0;
  std::vector<std::int64_t> starts;
  for (std::int64_t begin = 0; begin < dataset.size(); begin += kWindow) {
    starts.clear();
    dataset.append_document_starts(begin, std::min(begin + kWindow, dataset.size()), starts);
    count += static_cast<std::int64_t>(starts.size());
  }
  return count;
}

Json inspect_dataset(const fs::path& path, bool verify) {
  // Any vocabulary will do: ids are 32-bit.
  const auto datasets =
      open_token_datasets(path.string(), std::int64_t{std::numeric_limits<std::int32_t>::max()});
  Json facts = {{"kind", "token dataset"},
                {"path", path.string()},
                {"verified", verify},
                {"datasets", Json::array()}};
  for (const auto& dataset : datasets) {
    if (verify) dataset->verify();
    facts["datasets"].push_back({{"file", dataset->path().string()},
                                 {"bytes", fs::file_size(dataset->path())},
                                 {"tokens", dataset->size()},
                                 {"documents", count_documents(*dataset)}});
  }
  return facts;
}

bool is_dataset(const fs::path& path) {
  const std::string extension = path.extension().string();
  return extension == ".bin" || extension == ".idx" || fs::exists(path.string() + ".idx") ||
         fs::exists(path.string() + ".bin");
}

Json inspect_folder(const fs::path& path, bool verify) {
  const fs::path checkpoints = RunFolder(path).checkpoints();
  const std::vector<StepFolder> folders =
      list_step_folders(fs::is_directory(checkpoints) ? checkpoints : path);
  const bool named_as_step = path.filename().string().starts_with("step-");
  if (fs::exists(path / "manifest.json") || (named_as_step && folders.empty())) {
    return inspect_checkpoint(path, verify);
  }
  if (!folders.empty()) return inspect_checkpoints(path, folders, verify);
  if (fs::exists(path / "config.json")) return inspect_model_folder(path);
  fail<FormatError>(
      "{} is neither a checkpoint (manifest.json), a run folder (checkpoints/step-...) nor a model "
      "folder (config.json)",
      path.string());
}

}  // namespace

Json inspect_path(const fs::path& given, bool verify) {
  // "run/" names the folder "run".
  const fs::path path = given.has_filename() ? given : given.parent_path();
  if (fs::is_directory(path)) return inspect_folder(path, verify);
  if (path.extension() == ".safetensors") return inspect_safetensors(path);
  if (is_dataset(path)) return inspect_dataset(path, verify);
  require<IoError>(fs::exists(path), "there is no {}", path.string());
  fail<FormatError>(
      "{} is not a kind of file that gda knows; give a checkpoint, run or model folder, a "
      ".safetensors file, or the prefix of a token dataset",
      path.string());
}

bool has_fault(const Json& facts) {
  if (!facts.contains("checkpoints")) return false;
  const Json& checkpoints = facts["checkpoints"];
  return std::any_of(checkpoints.begin(), checkpoints.end(),
                     [](const Json& entry) { return !entry["fault"].is_null(); });
}

}  // namespace gda::cli

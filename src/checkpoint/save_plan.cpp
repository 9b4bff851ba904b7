#include "checkpoint/save_plan.h"

#include <nlohmann/json.hpp>

#include <unordered_map>

#include "checkpoint/growth_json.h"
#include "checkpoint/hashed_file.h"
#include "checkpoint/names.h"
#include "gda/checkpoint/hugging_face_config.h"
#include "gda/core/error.h"
#include "gda/dist/agreement.h"

namespace gda::checkpoint_internal {
namespace {

// The parameters in runs of at most max_bytes (a single one may be larger), in the given order.
std::vector<std::vector<TensorSource>> cut_by_size(const std::vector<TensorSource>& parameters,
                                                   std::uint64_t max_bytes) {
  std::vector<std::vector<TensorSource>> files(1);
  std::uint64_t bytes = 0;
  for (const TensorSource& parameter : parameters) {
    if (!files.back().empty() && bytes + parameter.bytes() > max_bytes) {
      files.emplace_back();
      bytes = 0;
    }
    bytes += parameter.bytes();
    files.back().push_back(parameter);
  }
  return files;
}

// The type that most bytes are stored in.
DType main_type(const std::vector<TensorSource>& parameters) {
  std::unordered_map<DType, std::size_t> bytes;
  DType result = DType::f32;
  for (const TensorSource& parameter : parameters) {
    bytes[parameter.dtype] += parameter.bytes();
    if (bytes[parameter.dtype] > bytes[result]) result = parameter.dtype;
  }
  return result;
}

// model.safetensors.index.json.
std::string index_text(const std::vector<std::vector<TensorSource>>& files) {
  nlohmann::json weight_map = nlohmann::json::object();
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < files.size(); ++i) {
    for (const TensorSource& tensor : files[i]) {
      weight_map[tensor.name] = model_file_name(i, files.size());
      total += tensor.bytes();
    }
  }
  const nlohmann::json index = {{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}};
  return index.dump(2) + "\n";
}

void add_model_files(Communicator& group, const SaveOptions& options,
                     const CheckpointContents& contents, SavePlan& plan) {
  const auto files = cut_by_size(contents.parameters, options.max_file_bytes);
  const auto ranks = static_cast<std::size_t>(group.size());
  for (auto i = static_cast<std::size_t>(group.rank()); i < files.size(); i += ranks) {
    plan.tensor_files.push_back({model_file_name(i, files.size()), files[i]});
  }
  if (group.rank() != 0) return;
  plan.text_files.push_back(
      {kConfigFile, to_hugging_face_config(contents.model, main_type(contents.parameters))});
  if (files.size() > 1) plan.text_files.push_back({kModelIndexFile, index_text(files)});
  const auto add = [&](const char* name, const std::string& text) {
    if (!text.empty()) plan.text_files.push_back({name, text});
  };
  add(kTrainerFile, contents.trainer_json);
  if (!contents.growth.empty()) add(kGrowthFile, growth_json(contents.growth));
  add(kRunConfigFile, contents.run_config);
}

void add_optimizer_file(Communicator& group, const CheckpointContents& contents, SavePlan& plan) {
  std::unordered_map<std::string, std::int64_t> sizes;
  for (const TensorSource& parameter : contents.parameters) {
    sizes[parameter.name] = parameter.shape.elements();
  }
  TensorFile file{optimizer_file_name(group.rank(), group.size()), {}};
  for (const TensorPiece& piece : contents.pieces) {
    const auto size = sizes.find(piece.name);
    require<FormatError>(size != sizes.end(), "{} of {}, which is not a parameter of the model",
                         piece.state, piece.name);
    require<FormatError>(
        piece.offset >= 0 && piece.length >= 0 && piece.offset + piece.length <= size->second,
        "{} of {}: elements [{}, {}) of {}", piece.state, piece.name, piece.offset,
        piece.offset + piece.length, size->second);
    if (piece.length == 0) continue;
    file.tensors.push_back({PieceName{piece.state, piece.name, piece.offset}.str(), piece.dtype,
                            Shape{piece.length}, piece.produce});
  }
  plan.tensor_files.push_back(std::move(file));
}

}  // namespace

std::size_t SavePlan::tensor_bytes() const {
  std::size_t bytes = 0;
  for (const TensorFile& file : tensor_files) {
    for (const TensorSource& tensor : file.tensors) bytes += tensor.bytes();
  }
  return bytes;
}

SavePlan plan_save(Communicator& group, const SaveOptions& options,
                   const CheckpointContents& contents) {
  SavePlan plan;
  plan.name = {contents.step, contents.grown};
  plan.unhealthy = contents.unhealthy;
  for (const TensorSource& parameter : contents.parameters) {
    plan.parameter_count += parameter.shape.elements();
  }
  // A model alone (no rank has optimizer state) has no optimizer files.
  const bool with_optimizer = group.any(!contents.pieces.empty());
  together(group, "cannot save a checkpoint", [&] {
    require<FormatError>(!contents.parameters.empty(), "it has no parameters");
    add_model_files(group, options, contents, plan);
    if (with_optimizer) add_optimizer_file(group, contents, plan);
  });
  return plan;
}

std::vector<WrittenFile> write_files(const SavePlan& plan, const std::filesystem::path& folder) {
  std::vector<WrittenFile> written;
  for (const TextFile& file : plan.text_files) {
    HashedFile writer(folder / file.name);
    writer.write(std::as_bytes(std::span(file.text)));
    written.push_back(writer.commit());
  }
  for (const TensorFile& file : plan.tensor_files) {
    written.push_back(write_safetensors(folder / file.name, file.tensors));
  }
  return written;
}

}  // namespace gda::checkpoint_internal

#include "gda/checkpoint/model_folder.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

#include "checkpoint/flat_part.h"
#include "checkpoint/json.h"
#include "checkpoint/names.h"
#include "gda/checkpoint/hugging_face_config.h"
#include "gda/core/error.h"
#include "gda/core/file.h"
#include "gda/core/log.h"
#include "gda/core/text.h"

namespace gda {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;

std::string shape_of(const StoredTensor& tensor) {
  return fmt::format("[{}]", fmt::join(tensor.shape, ", "));
}

bool same_shape(const StoredTensor& tensor, const Shape& shape) {
  return shape_of(tensor) == shape.str();
}

// {"weight_map": {"tensor": "file"}}
std::map<std::string, std::string> read_weight_map(const fs::path& index) {
  const json object = parse_json(read_text_file(index), index.string());
  require<FormatError>(object.is_object() && object.contains("weight_map") &&
                           object["weight_map"].is_object() && !object["weight_map"].empty(),
                       "{}: the key \"weight_map\" with the file of each tensor is missing",
                       index.string());
  std::map<std::string, std::string> files;
  for (const auto& [name, file] : object["weight_map"].items()) {
    require<FormatError>(file.is_string() && is_plain_name(file.get<std::string>()),
                         "{}: the file of tensor {} is {}, expected the name of a file beside it",
                         index.string(), name, file.dump());
    files[name] = file.get<std::string>();
  }
  return files;
}

}  // namespace

ModelFolder::ModelFolder(const fs::path& path) : path_(path) {
  const fs::path config = path / kConfigFile;
  require<FormatError>(fs::exists(config), "{} is not a model folder: it has no config.json",
                       path.string());
  config_ = read_hugging_face_config(read_text_file(config), config.string());
  const fs::path index = path / kModelIndexFile;
  if (fs::exists(path / kModelFile)) {
    open_file(kModelFile);
  } else {
    require<FormatError>(fs::exists(index),
                         "{} has neither model.safetensors nor model.safetensors.index.json",
                         path.string());
    open_indexed(index);
  }
  find_tied_embedding();
  skip_redundant();
}

// Tables that are computed from the configuration, and a copy of the embedding.
bool ModelFolder::is_redundant(const std::string& name, const Location& location) const {
  if (name.find(".rotary_emb.") != std::string::npos || name.ends_with(".position_ids")) {
    return true;
  }
  const auto embedding = tensors_.find(kEmbeddingName);
  if (name != kHeadName || !config_.tie_word_embeddings || embedding == tensors_.end()) {
    return false;
  }
  const StoredTensor& head = *location.tensor;
  const StoredTensor& tied = *embedding->second.tensor;
  require<FormatError>(
      head.type == tied.type && std::ranges::equal(head.bytes, tied.bytes),
      "{}: config.json ties {} to {}, but the two differ; if the model is meant to be untied, set "
      "tie_word_embeddings to false, else remove {}",
      path_.string(), kHeadName, kEmbeddingName, kHeadName);
  return true;
}

// Of two names of one tensor some programs store the other.
void ModelFolder::find_tied_embedding() {
  const auto head = tensors_.find(kHeadName);
  if (!config_.tie_word_embeddings || head == tensors_.end()) return;
  if (tensors_.try_emplace(std::string(kEmbeddingName), head->second).second) tensors_.erase(head);
}

void ModelFolder::skip_redundant() {
  std::vector<std::string> skipped;
  for (const auto& [name, location] : tensors_) {
    if (is_redundant(name, location)) skipped.push_back(name);
  }
  if (skipped.empty()) return;
  for (const std::string& name : skipped) tensors_.erase(tensors_.find(name));
  log::info("{}: {} skipped that the parameters make redundant ({}{})", path_.string(),
            counted(skipped.size(), "tensor"), skipped.front(), skipped.size() == 1 ? "" : ", ...");
}

void ModelFolder::open_file(const std::string& name) {
  const SafetensorsFile& file = files_.emplace_back(path_ / name);
  for (const StoredTensor& tensor : file.tensors()) {
    const auto [place, is_first] =
        tensors_.try_emplace(tensor.name, Location{files_.size() - 1, &tensor});
    require<FormatError>(is_first, "{}: tensor {} is in two files, {} and {}", path_.string(),
                         tensor.name, files_[place->second.file].path().filename().string(), name);
  }
}

void ModelFolder::open_indexed(const fs::path& index) {
  const std::map<std::string, std::string> weight_map = read_weight_map(index);
  std::set<std::string> names;
  for (const auto& [tensor, file] : weight_map) names.insert(file);
  for (const std::string& name : names) open_file(name);
  for (const auto& [tensor, file] : weight_map) {
    const auto place = tensors_.find(tensor);
    require<FormatError>(
        place != tensors_.end() && files_[place->second.file].path().filename() == file,
        "{}: tensor {} should be in {}, but is not", index.string(), tensor, file);
  }
  for (const auto& [tensor, location] : tensors_) {
    require<FormatError>(weight_map.contains(tensor), "{}: tensor {} of {} is not listed",
                         index.string(), tensor, files_[location.file].path().filename().string());
  }
}

const ModelFolder::Location& ModelFolder::at(std::string_view name) const {
  const auto place = tensors_.find(name);
  require<FormatError>(place != tensors_.end(), "{} has no tensor {}", path_.string(), name);
  return place->second;
}

std::int64_t ModelFolder::parameter_count() const {
  std::int64_t count = 0;
  for (const auto& [name, location] : tensors_) count += location.tensor->elements();
  return count;
}

void ModelFolder::read_parameter(std::string_view name, const Tensor& to) const {
  const StoredTensor& tensor = *at(name).tensor;
  require<FormatError>(same_shape(tensor, to.shape()), "{}: {} is {}, expected {}", path_.string(),
                       name, shape_of(tensor), to.shape().str());
  if (to.is_contiguous()) {
    read_range(name, 0, to);
    return;
  }
  const std::int64_t width = to.elements() / to.dim(0);
  for (std::int64_t row = 0; row < to.dim(0); ++row) {
    read_range(name, row * width, to.rows(row, 1));
  }
}

void ModelFolder::read_range(std::string_view name, std::int64_t offset, const Tensor& to) const {
  read_range(name, region_of(*at(name).tensor), offset, to);
}

void ModelFolder::read_range(std::string_view name, const Region& region, std::int64_t offset,
                             const Tensor& to) const {
  const StoredTensor& tensor = *at(name).tensor;
  const std::string what = fmt::format("{}: {}", path_.string(), name);
  const FlatPart whole{.box = region_of(tensor), .length = tensor.elements()};
  const FlatPart part{region, offset, to.elements()};
  check_part(what, whole.box, part);
  const std::int64_t copied = copy_common(what, whole, tensor.bytes.data(), tensor.type, part, to);
  bytes_read_ += static_cast<std::uint64_t>(copied) * size_of(tensor.type);
}

void ModelFolder::check_matches(const std::vector<ParameterSpec>& specs) const {
  std::vector<std::string> differences;
  std::set<std::string_view> expected;
  for (const ParameterSpec& spec : specs) {
    expected.insert(spec.name);
    const auto place = tensors_.find(spec.name);
    if (place == tensors_.end()) {
      differences.push_back(fmt::format("{} {} is missing", spec.name, spec.shape.str()));
    } else if (!same_shape(*place->second.tensor, spec.shape)) {
      differences.push_back(fmt::format("{} is {}, expected {}", spec.name,
                                        shape_of(*place->second.tensor), spec.shape.str()));
    }
  }
  for (const auto& [name, location] : tensors_) {
    if (!expected.contains(name)) {
      differences.push_back(fmt::format("{} {} is not expected", name, shape_of(*location.tensor)));
    }
  }
  if (differences.empty()) return;
  constexpr std::size_t kShown = 4;
  const std::size_t count = differences.size();
  std::string more;
  if (count > kShown) {
    more = fmt::format("; and {} more", count - kShown);
    differences.resize(kShown);
  }
  fail<FormatError>("{} holds another model; {} of its tensors differ{}: {}{}", path_.string(),
                    count, count > kShown ? ", first" : "", fmt::join(differences, "; "), more);
}

}  // namespace gda

#include "gda/checkpoint/checkpoint_reader.h"

#include <algorithm>

#include "checkpoint/coverage.h"
#include "checkpoint/flat_part.h"
#include "checkpoint/growth_json.h"
#include "checkpoint/names.h"
#include "gda/core/checksum.h"
#include "gda/core/error.h"
#include "gda/core/file.h"
#include "gda/core/shell.h"
#include "gda/core/text.h"
#include "gda/dist/agreement.h"
#include "gda/model/carried_state.h"

namespace gda {
namespace fs = std::filesystem;
namespace {

void check_size(const fs::path& folder, const WrittenFile& file) {
  const fs::path path = folder / file.name;
  require<FormatError>(fs::exists(path), "{} is damaged: {} is missing", folder.string(),
                       file.name);
  const std::uint64_t size = fs::file_size(path);
  require<FormatError>(size == file.size, "{} is damaged: {} has {}, its manifest says {}{}",
                       folder.string(), file.name, counted(size, "byte"), file.size,
                       size < file.size ? " (truncated)" : "");
}

void check_hash(const fs::path& folder, const WrittenFile& file) {
  const std::string found = hash_file(folder / file.name);
  require<FormatError>(found == file.hash,
                       "{} is damaged: {} does not match its checksum (XXH3 {}, its manifest says "
                       "{})",
                       folder.string(), file.name, found, file.hash);
}

bool holds_tensors(const std::string& name) {
  return name.ends_with(".safetensors");
}

}  // namespace

CheckpointReader::CheckpointReader(const fs::path& path, Verification verification,
                                   Communicator* group)
    : path_(path) {
  const std::unique_ptr<Communicator> alone = group != nullptr ? nullptr : make_self_communicator();
  Communicator& ranks = group != nullptr ? *group : *alone;
  together(ranks, "", [&] { manifest_ = read_manifest(path_); });
  check_files(verification, ranks);
  together(ranks, "", [&] {
    model_ = std::make_unique<ModelFolder>(path_);
    require<FormatError>(model_->parameter_count() == manifest_.parameter_count,
                         "{} is damaged: its model has {}, its manifest says {}", path_.string(),
                         counted(model_->parameter_count(), "parameter"),
                         manifest_.parameter_count);
    if (verification != Verification::model) open_optimizer_files();
    trainer_json_ = read_text(kTrainerFile);
    run_config_ = read_text(kRunConfigFile);
    const std::string growth = read_text(kGrowthFile);
    if (!growth.empty()) growth_ = parse_growth(growth, (path_ / kGrowthFile).string(), *model_);
  });
}

CheckpointReader CheckpointReader::of_model_folder(const fs::path& path) {
  CheckpointReader reader;
  reader.path_ = path;
  reader.model_ = std::make_unique<ModelFolder>(path);
  reader.manifest_.parameter_count = reader.model_->parameter_count();
  for (const SafetensorsFile& file : reader.model_->files()) {
    reader.verified_[file.path().filename().string()] = true;
  }
  return reader;
}

CheckpointReader::~CheckpointReader() = default;
CheckpointReader::CheckpointReader(CheckpointReader&& other) noexcept = default;
CheckpointReader& CheckpointReader::operator=(CheckpointReader&& other) noexcept = default;

void CheckpointReader::check_fully_grown(std::string_view action) const {
  const double m = growth_.mask_at(step());
  if (m == 1) return;
  const std::int64_t last = growth_.ramp->first_step + growth_.ramp->steps;
  fail<ConfigError>(
      "{}: growth is under way (mask {:.4g} at step {}, 1 at step {}), and {} takes a finished "
      "model: resume it to step {} first, with `gda resume {}`",
      path_.string(), m, step(), last, action, last,
      shell_word(path_.parent_path().parent_path().string()));
}

// Sizes of all files and hashes of the small ones on every rank; the large ones are shared out.
void CheckpointReader::check_files(Verification verification, Communicator& group) {
  const auto ranks = static_cast<std::size_t>(group.size());
  const auto rank = static_cast<std::size_t>(group.rank());
  const bool at_once = verification != Verification::on_first_use;
  const auto is_unused = [&](const WrittenFile& file) {
    return verification == Verification::model && is_optimizer_file(file.name);
  };
  together(group, "", [&] {
    for (const WrittenFile& file : manifest_.files) {
      if (!is_unused(file)) check_size(path_, file);
    }
    for (std::size_t i = 0; i < manifest_.files.size(); ++i) {
      const WrittenFile& file = manifest_.files[i];
      if (is_unused(file)) continue;
      const bool large = holds_tensors(file.name);
      const bool mine = at_once && i % ranks == rank;
      if (!large || mine) check_hash(path_, file);
      verified_[file.name] = !large || at_once;
    }
  });
}

void CheckpointReader::open_optimizer_files() {
  for (const WrittenFile& file : manifest_.files) {
    if (is_optimizer_file(file.name)) optimizer_files_.emplace_back(path_ / file.name);
  }
  for (std::size_t file = 0; file < optimizer_files_.size(); ++file) {
    for (const StoredTensor& tensor : optimizer_files_[file].tensors()) add_piece(tensor, file);
  }
  check_coverage();
}

std::string CheckpointReader::file_name(std::size_t file) const {
  return optimizer_files_[file].path().filename().string();
}

void CheckpointReader::add_piece(const StoredTensor& tensor, std::size_t file) {
  const std::string where = optimizer_files_[file].path().string();
  const std::optional<PieceName> piece = parse_piece_name(tensor.name);
  require<FormatError>(piece && tensor.shape.size() == 1,
                       "{}: {} {} is not a piece of optimizer state (state:parameter:offset)",
                       where, tensor.name, tensor.str());
  const Region whole = region_of(*model_->at(piece->name).tensor);
  const Region box = piece->box.value_or(whole);
  require<FormatError>(whole.contains(box), "{}: {} {} lies outside the parameter, {}", where,
                       tensor.name, tensor.str(), whole.str());
  require<FormatError>(
      piece->offset <= box.elements() && tensor.elements() <= box.elements() - piece->offset,
      "{}: {} {} ends after the {}'s {}", where, tensor.name, tensor.str(),
      piece->box ? "box" : "parameter", counted(box.elements(), "element"));
  pieces_[{piece->state, piece->name}].push_back({box, piece->offset, file, &tensor});
}

void CheckpointReader::check_coverage() const {
  for (const auto& [key, pieces] : pieces_) {
    std::vector<Covering> boxes;
    for (const Piece& piece : pieces) {
      for (const Region& box : rectangles({piece.box, piece.offset, piece.tensor->elements()})) {
        boxes.push_back({box, piece.file});
      }
    }
    const Region whole = region_of(*model_->at(key.second).tensor);
    const auto fault = find_coverage_fault(whole, std::move(boxes));
    require<FormatError>(
        !fault, "{}: {} of {}: {}", path_.string(), key.first, key.second,
        fault ? fault->str([&](std::size_t file) { return file_name(file); }) : "");
  }
}

std::string CheckpointReader::read_text(std::string_view name) const {
  const bool listed = verified_.find(name) != verified_.end();
  return listed ? read_text_file(path_ / name) : std::string();
}

void CheckpointReader::verify(const fs::path& file) const {
  const std::string name = file.filename().string();
  const auto known = verified_.find(name);
  require<FormatError>(known != verified_.end(), "{}: {} is not in its manifest", path_.string(),
                       name);
  if (known->second) return;
  for (const WrittenFile& written : manifest_.files) {
    if (written.name == name) check_hash(path_, written);
  }
  known->second = true;
}

void CheckpointReader::verify_all() const {
  for (const WrittenFile& file : manifest_.files) verify(path_ / file.name);
}

std::vector<std::string> CheckpointReader::states() const {
  std::vector<std::string> names;
  for (const auto& [key, pieces] : pieces_) {
    if (names.empty() || names.back() != key.first) names.push_back(key.first);
  }
  return names;
}

bool CheckpointReader::has_state(std::string_view state) const {
  const std::vector<std::string> names = states();
  return std::find(names.begin(), names.end(), state) != names.end();
}

bool CheckpointReader::has_state(std::string_view state, std::string_view name) const {
  return pieces_.contains({std::string(state), std::string(name)});
}

void CheckpointReader::check_matches(const std::vector<ParameterSpec>& specs) const {
  model_->check_matches(specs);
}

void CheckpointReader::read_parameter(std::string_view name, const Tensor& to) const {
  verify(model_->files()[model_->at(name).file].path());
  model_->read_parameter(name, to);
}

void CheckpointReader::read_range(std::string_view name, std::int64_t offset,
                                  const Tensor& to) const {
  verify(model_->files()[model_->at(name).file].path());
  model_->read_range(name, offset, to);
}

void CheckpointReader::read_range(std::string_view name, const Region& region, std::int64_t offset,
                                  const Tensor& to) const {
  verify(model_->files()[model_->at(name).file].path());
  model_->read_range(name, region, offset, to);
}

void CheckpointReader::read_piece(std::string_view state, std::string_view name,
                                  std::int64_t offset, const Tensor& to) const {
  read_piece(state, name, region_of(*model_->at(name).tensor), offset, to);
}

void CheckpointReader::read_piece(std::string_view state, std::string_view name,
                                  const Region& region, std::int64_t offset,
                                  const Tensor& to) const {
  const auto found = pieces_.find({std::string(state), std::string(name)});
  if (found == pieces_.end() && state == kMasterState) {
    const StoredType type = model_->at(name).tensor->type;
    require<FormatError>(type == StoredType::f32 || type == StoredType::f64,
                         "{}: there is no master of {}, which is stored as {}", path_.string(),
                         name, name_of(type));
    read_range(name, region, offset, to);
    return;
  }
  require<FormatError>(found != pieces_.end(), "{}: there is no {} of {}", path_.string(), state,
                       name);
  const FlatPart part{region, offset, to.elements()};
  check_part(fmt::format("{}: {} of {}", path_.string(), state, name),
             region_of(*model_->at(name).tensor), part);
  std::int64_t copied = 0;
  for (const Piece& piece : found->second) {
    if (intersection(piece.box, region).empty()) continue;
    const FlatPart from{piece.box, piece.offset, piece.tensor->elements()};
    if (!have_common(from, part)) continue;
    verify(optimizer_files_[piece.file].path());
    const std::int64_t count = copy_common(piece.tensor->name, from, piece.tensor->bytes.data(),
                                           piece.tensor->type, part, to);
    piece_bytes_read_ += static_cast<std::uint64_t>(count) * size_of(piece.tensor->type);
    copied += count;
  }
  require<Error>(copied == to.elements(), "[checkpoint] {} of {}: {} elements of {} were read",
                 state, name, copied, part.str());
}

}  // namespace gda

#include "gda/checkpoint/checkpoint_reader.h"

#include <algorithm>

#include "checkpoint/growth_json.h"
#include "checkpoint/names.h"
#include "gda/core/checksum.h"
#include "gda/core/error.h"
#include "gda/core/file.h"
#include "gda/core/shell.h"
#include "gda/core/text.h"
#include "gda/dist/agreement.h"

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
  for (auto& [key, pieces] : pieces_) {
    std::sort(pieces.begin(), pieces.end(),
              [](const Piece& a, const Piece& b) { return a.offset < b.offset; });
  }
  check_piece_order();
}

void CheckpointReader::add_piece(const StoredTensor& tensor, std::size_t file) {
  const std::string where = optimizer_files_[file].path().string();
  const std::optional<PieceName> piece = parse_piece_name(tensor.name);
  require<FormatError>(piece && tensor.shape.size() == 1,
                       "{}: {} {} is not a piece of optimizer state (state:parameter:offset)",
                       where, tensor.name, tensor.str());
  const std::int64_t size = model_->at(piece->name).tensor->elements();
  require<FormatError>(piece->offset + tensor.elements() <= size,
                       "{}: {} {} ends after the parameter's {}", where, tensor.name, tensor.str(),
                       counted(size, "element"));
  pieces_[{piece->state, piece->name}].push_back({piece->offset, tensor.elements(), file, &tensor});
}

void CheckpointReader::check_piece_order() const {
  for (const auto& [key, pieces] : pieces_) {
    for (std::size_t i = 1; i < pieces.size(); ++i) {
      require<FormatError>(pieces[i - 1].offset + pieces[i - 1].length <= pieces[i].offset,
                           "{}: pieces of {} of {} overlap at element {}", path_.string(),
                           key.first, key.second, pieces[i].offset);
    }
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

void CheckpointReader::read_piece(std::string_view state, std::string_view name,
                                  std::int64_t offset, const Tensor& to) const {
  const auto found = pieces_.find({std::string(state), std::string(name)});
  if (found == pieces_.end() && state == "master") {
    const StoredType type = model_->at(name).tensor->type;
    require<FormatError>(type == StoredType::f32 || type == StoredType::f64,
                         "{}: there is no master of {}, which is stored as {}", path_.string(),
                         name, name_of(type));
    read_range(name, offset, to);
    return;
  }
  require<FormatError>(found != pieces_.end(), "{}: there is no {} of {}", path_.string(), state,
                       name);
  auto* out = static_cast<std::byte*>(to.raw());
  std::int64_t next = offset;
  const std::int64_t end = offset + to.elements();
  for (const Piece& piece : found->second) {
    const std::int64_t piece_end = piece.offset + piece.length;
    if (piece_end <= next) continue;
    if (piece.offset > next || next >= end) break;
    const std::int64_t count = std::min(end, piece_end) - next;
    verify(optimizer_files_[piece.file].path());
    const std::size_t skipped =
        static_cast<std::size_t>(next - piece.offset) * size_of(piece.tensor->type);
    convert_elements(piece.tensor->name, piece.tensor->bytes.data() + skipped, piece.tensor->type,
                     out + static_cast<std::size_t>(next - offset) * size_of(to.dtype()),
                     to.dtype(), count);
    next += count;
  }
  require<FormatError>(next >= end,
                       "{}: {} of {} is not complete: no piece covers element {} of [{}, {})",
                       path_.string(), state, name, next, offset, end);
}

}  // namespace gda

#include "checkpoint/save_plan.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "checkpoint/file_order.h"
#include "checkpoint/growth_json.h"
#include "checkpoint/hashed_file.h"
#include "checkpoint/names.h"
#include "checkpoint/save_layout.h"
#include "gda/checkpoint/hugging_face_config.h"
#include "gda/core/error.h"
#include "gda/dist/agreement.h"
#include "gda/dist/device_communicator.h"

namespace gda::checkpoint_internal {
namespace {

// The parameters of each file.
using FileCut = std::vector<std::vector<std::size_t>>;

std::size_t bytes_of(const ParameterSource& parameter) {
  return static_cast<std::size_t>(parameter.shape.elements()) * size_of(parameter.dtype);
}

// The parameters in runs of at most max_bytes (a single one may be larger), in the given order;
// within a file as they are written.
FileCut cut_by_size(const std::vector<ParameterSource>& parameters, std::uint64_t max_bytes) {
  FileCut files(1);
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (!files.back().empty() && bytes + bytes_of(parameters[i]) > max_bytes) {
      files.emplace_back();
      bytes = 0;
    }
    bytes += bytes_of(parameters[i]);
    files.back().push_back(i);
  }
  const auto at = [&](std::size_t i) -> const ParameterSource& { return parameters[i]; };
  for (auto& file : files) std::ranges::sort(file, FileOrder(), at);
  return files;
}

// The type that most bytes are stored in.
DType main_type(const std::vector<ParameterSource>& parameters) {
  std::unordered_map<DType, std::size_t> bytes;
  DType result = DType::f32;
  for (const ParameterSource& parameter : parameters) {
    bytes[parameter.dtype] += bytes_of(parameter);
    if (bytes[parameter.dtype] > bytes[result]) result = parameter.dtype;
  }
  return result;
}

// model.safetensors.index.json.
std::string index_text(const std::vector<ParameterSource>& parameters, const FileCut& files) {
  nlohmann::json weight_map = nlohmann::json::object();
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < files.size(); ++i) {
    for (const std::size_t parameter : files[i]) {
      weight_map[parameters[parameter].name] = model_file_name(i, files.size());
      total += bytes_of(parameters[parameter]);
    }
  }
  const nlohmann::json index = {{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}};
  return index.dump(2) + "\n";
}

// The blocks in which a parameter reaches its writer; none if that rank has all of it.
std::vector<RowBlock> blocks_of(const SaveOptions& options,
                                const std::vector<ParameterSource>& parameters,
                                const SaveLayout& layout, std::size_t parameter, int writer) {
  if (layout.holders.empty()) return {};
  const std::vector<HeldBox> givers = layout.givers(parameter, writer);
  if (givers.size() == 1 && givers.front().rank == writer) return {};
  return row_blocks(parameter, parameters[parameter], givers, options.block_bytes);
}

std::shared_ptr<RowExchange> make_exchange(Communicator& group, const SaveOptions& options,
                                           const std::vector<ParameterSource>& parameters,
                                           const SaveLayout& layout, const FileCut& files) {
  if (layout.holders.empty()) return nullptr;
  std::vector<std::vector<RowBlock>> lanes(layout.writers.size());
  for (std::size_t i = 0; i < files.size(); ++i) {
    const int writer = layout.writer_of(i);
    std::vector<RowBlock>& lane = lanes[static_cast<std::size_t>(writer)];
    for (const std::size_t parameter : files[i]) {
      for (RowBlock& block : blocks_of(options, parameters, layout, parameter, writer)) {
        lane.push_back(std::move(block));
      }
    }
  }
  return std::make_shared<RowExchange>(group, parameters, lanes);
}

// A parameter for this rank's file.
TensorSource whole_source(const ParameterSource& parameter, std::vector<RowBlock> blocks,
                          const std::shared_ptr<RowExchange>& exchange) {
  TensorSource source{parameter.name, parameter.dtype, parameter.shape, {}};
  if (blocks.empty()) {
    source.produce = [box = parameter.boxes.front()](const ByteSink& sink) {
      box.produce(box.region.rows, sink);
    };
  } else {
    source.produce = [exchange, blocks = std::move(blocks)](const ByteSink& sink) {
      for (const RowBlock& block : blocks) exchange->assemble(block, sink);
    };
  }
  return source;
}

void add_model_files(Communicator& group, const SaveOptions& options,
                     const CheckpointContents& contents, const SaveLayout& layout, SavePlan& plan) {
  const FileCut files = cut_by_size(contents.parameters, options.max_file_bytes);
  plan.exchange = make_exchange(group, options, contents.parameters, layout, files);
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (layout.writer_of(i) != group.rank()) continue;
    TensorFile file{model_file_name(i, files.size()), {}};
    for (const std::size_t parameter : files[i]) {
      file.tensors.push_back(whole_source(
          contents.parameters[parameter],
          blocks_of(options, contents.parameters, layout, parameter, group.rank()), plan.exchange));
    }
    plan.tensor_files.push_back(std::move(file));
  }
  if (!group.is_root()) return;
  plan.text_files.push_back(
      {kConfigFile, to_hugging_face_config(contents.model, main_type(contents.parameters))});
  if (files.size() > 1) {
    plan.text_files.push_back({kModelIndexFile, index_text(contents.parameters, files)});
  }
  const auto add = [&](const char* name, const std::string& text) {
    if (!text.empty()) plan.text_files.push_back({name, text});
  };
  add(kTrainerFile, contents.trainer_json);
  if (!contents.growth.empty()) add(kGrowthFile, growth_json(contents.growth));
  add(kRunConfigFile, contents.run_config);
}

using ParametersByName = std::unordered_map<std::string_view, const ParameterSource*>;

// What a rank can tell of its contents without the others.
ParametersByName check_parameters(const std::vector<ParameterSource>& parameters) {
  require<FormatError>(!parameters.empty(), "it has no parameters");
  ParametersByName by_name;
  for (const ParameterSource& parameter : parameters) {
    require<FormatError>(by_name.emplace(parameter.name, &parameter).second, "{} is given twice",
                         parameter.name);
    require<FormatError>(parameter.shape.rank() == 1 || parameter.shape.rank() == 2,
                         "{} is {}, neither a vector nor a matrix", parameter.name,
                         parameter.shape.str());
    for (const ParameterBox& box : parameter.boxes) {
      require<FormatError>(
          !box.region.empty() && Region::whole(parameter.shape).contains(box.region),
          "{} of {}, which is {}", box.region.str(), parameter.name, parameter.shape.str());
    }
    for (const std::string& state : parameter.states) {
      require<FormatError>(!state.empty() && state.find(':') == std::string::npos,
                           "\"{}\" of {} is not the name of a state", state, parameter.name);
    }
  }
  return by_name;
}

void check_piece(const ParametersByName& parameters, const TensorPiece& piece) {
  const auto found = parameters.find(piece.name);
  require<FormatError>(found != parameters.end(), "{} of {}, which is not a parameter of the model",
                       piece.state, piece.name);
  const ParameterSource& parameter = *found->second;
  require<FormatError>(std::ranges::count(parameter.states, piece.state) == 1,
                       "{} of {}, which has no such state", piece.state, piece.name);
  require<FormatError>(
      !piece.region.empty() && Region::whole(parameter.shape).contains(piece.region),
      "{} of {}: {} of {}", piece.state, piece.name, piece.region.str(), parameter.shape.str());
  require<FormatError>(piece.offset >= 0 && piece.length >= 0 &&
                           piece.offset + piece.length <= piece.region.elements(),
                       "{} of {}: elements [{}, {}) of {}", piece.state, piece.name, piece.offset,
                       piece.offset + piece.length, piece.region.elements());
}

// Of a rank that has something of the optimizer's; a model alone has no such files.
void add_optimizer_file(Communicator& group, const CheckpointContents& contents,
                        const SaveLayout& layout, SavePlan& plan) {
  const auto own = std::ranges::find(layout.owners, group.rank());
  if (own == layout.owners.end()) return;
  std::unordered_map<std::string_view, Region> wholes;
  for (const ParameterSource& parameter : contents.parameters) {
    wholes[parameter.name] = Region::whole(parameter.shape);
  }
  TensorFile file{optimizer_file_name(static_cast<std::size_t>(own - layout.owners.begin()),
                                      layout.owners.size()),
                  {}};
  for (const TensorPiece& piece : contents.pieces) {
    if (piece.length == 0) continue;
    const bool is_of_whole = piece.region == wholes.at(piece.name);
    const PieceName name{piece.state, piece.name,
                         is_of_whole ? std::nullopt : std::optional(piece.region), piece.offset};
    file.tensors.push_back({name.str(), piece.dtype, Shape{piece.length}, piece.produce});
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
  together(group, "cannot save a checkpoint", [&] {
    const ParametersByName parameters = check_parameters(contents.parameters);
    for (const TensorPiece& piece : contents.pieces) check_piece(parameters, piece);
  });
  const int rank_on_host = options.rank_on_host.value_or(place_on_host(group).rank);
  const SaveLayout layout = agree_on_layout(group, contents, rank_on_host);
  plan.has_boxes = layout.has_boxes;
  for (const ParameterSource& parameter : contents.parameters) {
    plan.parameter_count += parameter.shape.elements();
  }
  together(group, "cannot save a checkpoint", [&] {
    add_model_files(group, options, contents, layout, plan);
    add_optimizer_file(group, contents, layout, plan);
  });
  return plan;
}

std::exception_ptr produce_all(const SavePlan& plan, const std::function<void()>& body) {
  std::exception_ptr error;
  try {
    body();
  } catch (...) {
    error = std::current_exception();
  }
  if (!plan.exchange) return error;
  const std::exception_ptr other = plan.exchange->finish();
  return error ? error : other;
}

std::vector<WrittenFile> write_files(const SavePlan& plan, const std::filesystem::path& folder) {
  std::vector<WrittenFile> written;
  for (const TextFile& file : plan.text_files) {
    HashedFile writer(folder / file.name);
    writer.write(std::as_bytes(std::span(file.text)));
    written.push_back(writer.commit());
  }
  for (const TensorFile& file : plan.tensor_files) {
    // Others should not wait for what this rank keeps to itself.
    if (plan.exchange && is_optimizer_file(file.name)) {
      if (const std::exception_ptr error = plan.exchange->finish()) std::rethrow_exception(error);
    }
    written.push_back(write_safetensors(folder / file.name, file.tensors));
  }
  return written;
}

}  // namespace gda::checkpoint_internal

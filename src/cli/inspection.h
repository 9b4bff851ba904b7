// Facts that `gda inspect` finds about a path. They are gathered as one JSON object, which --json
// prints as it is and which the page for people is made from, so that the two can't differ.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

namespace gda::cli {

// Looks at a checkpoint, a run folder or a folder of checkpoints, a Hugging Face model folder, a
// safetensors file, or a token dataset (PREFIX, PREFIX.bin or PREFIX.idx). "kind" tells which. With
// `verify` the hashes of checkpoints are compared and tokens of datasets read. Throws the errors of
// damaged files; damaged checkpoints of a run are listed with their "fault".
nlohmann::ordered_json inspect_path(const std::filesystem::path& path, bool verify);

// Whether a checkpoint in it has a fault.
bool has_fault(const nlohmann::ordered_json& facts);

// The page for people. `all_tensors` lists each tensor; otherwise tensors that differ only in their
// layer share a line.
std::string to_page(const nlohmann::ordered_json& facts, bool all_tensors);

}  // namespace gda::cli

#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

#include "checkpoint/file_order.h"
#include "checkpoint/hashed_file.h"
#include "gda/checkpoint/safetensors.h"
#include "gda/core/error.h"
#include "gda/core/text.h"

namespace gda {
namespace {

constexpr std::size_t kAlignment = 8;

// The 8-byte length and the padded JSON text for tensors in this order.
std::string header_of(const std::vector<TensorSource>& tensors,
                      const std::map<std::string, std::string>& metadata,
                      const std::filesystem::path& path) {
  // Ordered, so that a reader of the text meets the tensors as they lie in the file.
  nlohmann::ordered_json header;
  header["__metadata__"] = metadata;
  std::uint64_t offset = 0;
  for (const TensorSource& tensor : tensors) {
    require<FormatError>(!header.contains(tensor.name), "{}: tensor {} is given twice",
                         path.string(), tensor.name);
    std::vector<std::int64_t> shape;
    shape.reserve(Shape::kMaxRank);
    for (int i = 0; i < tensor.shape.rank(); ++i) shape.push_back(tensor.shape[i]);
    const std::uint64_t end = offset + tensor.bytes();
    header[tensor.name] = {{"dtype", name_of(stored_type_of(tensor.dtype))},
                           {"shape", shape},
                           {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  const std::uint64_t length = text.size();
  std::string result(reinterpret_cast<const char*>(&length), sizeof(length));
  return result + text;
}

}  // namespace

WrittenFile write_safetensors(const std::filesystem::path& path, std::vector<TensorSource> tensors,
                              std::map<std::string, std::string> metadata) {
  std::sort(tensors.begin(), tensors.end(), FileOrder());
  metadata["format"] = "pt";
  HashedFile file(path);
  const std::string header = header_of(tensors, metadata, path);
  file.write(std::as_bytes(std::span(header)));
  for (const TensorSource& tensor : tensors) {
    const std::size_t begin = file.written();
    tensor.produce([&](std::span<const std::byte> bytes) { file.write(bytes); });
    require<FormatError>(file.written() - begin == tensor.bytes(),
                         "{}: the source of tensor {} gave {}, it declared {}", path.string(),
                         tensor.name, counted(file.written() - begin, "byte"), tensor.bytes());
  }
  return file.commit();
}

}  // namespace gda

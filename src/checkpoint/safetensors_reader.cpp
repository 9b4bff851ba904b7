#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "checkpoint/json.h"
#include "checkpoint/stored_type.h"
#include "gda/checkpoint/safetensors.h"
#include "gda/core/error.h"
#include "gda/core/text.h"

namespace gda {
namespace {

using nlohmann::json;

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
constexpr std::size_t kLengthBytes = 8;

// The JSON text of the header, after checking that the file is long enough to hold it.
std::string_view header_text(const MappedFile& file) {
  const std::string path = file.path().string();
  require<FormatError>(file.size() >= kLengthBytes,
                       "{} is not a safetensors file: it has {}, expected at least {}", path,
                       counted(file.size(), "byte"), kLengthBytes);
  constexpr std::string_view kPointer = "version https://git-lfs";
  const std::string_view beginning(reinterpret_cast<const char*>(file.bytes().data()),
                                   std::min(file.size(), kPointer.size()));
  require<FormatError>(beginning != kPointer,
                       "{} is a pointer of Git LFS, not the file itself; fetch the file: git lfs "
                       "pull",
                       path);
  std::uint64_t length = 0;
  std::memcpy(&length, file.bytes().data(), kLengthBytes);
  require<FormatError>(length <= kMaxHeaderBytes,
                       "{} is not a safetensors file: its header claims {}, expected at most {}",
                       path, counted(length, "byte"), kMaxHeaderBytes);
  require<FormatError>(length <= file.size() - kLengthBytes,
                       "{} is truncated: its header claims {}, {} are there", path,
                       counted(length, "byte"), file.size() - kLengthBytes);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()) + kLengthBytes,
                              length);
  require<FormatError>(text.starts_with('{'),
                       "{} is not a safetensors file: its header does not start with '{{'", path);
  return text;
}

std::map<std::string, std::string> parse_metadata(const json& value, const std::string& path) {
  std::map<std::string, std::string> metadata;
  require<FormatError>(value.is_object(), "{}: __metadata__ is {}, expected an object", path,
                       value.type_name());
  for (const auto& [key, text] : value.items()) {
    require<FormatError>(text.is_string(), "{}: __metadata__ \"{}\" is {}, expected a string", path,
                         key, text.type_name());
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

std::uint64_t parse_size(const json& value, const std::string& what) {
  require<FormatError>(value.is_number_unsigned(), "{} is {}, expected a whole number >= 0", what,
                       value.dump());
  return value.get<std::uint64_t>();
}

// Bytes of a tensor of this type and shape.
std::uint64_t byte_size(const StoredTensor& tensor, const std::string& what) {
  std::uint64_t bytes = size_of(tensor.type);
  for (const std::int64_t extent : tensor.shape) {
    require<FormatError>(!__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes),
                         "{} has a shape whose size overflows: {}", what, tensor.str());
  }
  return bytes;
}

// One entry of the header: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}.
StoredTensor parse_tensor(const std::string& name, const json& entry,
                          std::span<const std::byte> data, const std::string& path) {
  const std::string what = fmt::format("{}: tensor {}", path, name);
  require<FormatError>(entry.is_object() && entry.contains("dtype") && entry["dtype"].is_string() &&
                           entry.contains("shape") && entry["shape"].is_array() &&
                           entry.contains("data_offsets") && entry["data_offsets"].is_array() &&
                           entry["data_offsets"].size() == 2,
                       "{} needs dtype, shape and two data_offsets, found {}", what, entry.dump());
  StoredTensor tensor;
  tensor.name = name;
  const auto type_name = entry["dtype"].get<std::string>();
  const std::optional<StoredType> type = parse_stored_type(type_name);
  require<FormatError>(type.has_value(), "{} has the unknown dtype {}", what, type_name);
  tensor.type = *type;
  for (const json& extent : entry["shape"]) {
    const std::uint64_t size = parse_size(extent, what + ": an extent of its shape");
    require<FormatError>(size <= INT64_MAX, "{} has a shape whose size overflows: {}", what, size);
    tensor.shape.push_back(static_cast<std::int64_t>(size));
  }
  const std::uint64_t begin = parse_size(entry["data_offsets"][0], what + ": its first offset");
  const std::uint64_t end = parse_size(entry["data_offsets"][1], what + ": its last offset");
  require<FormatError>(begin <= end, "{} begins at byte {} and ends before it, at {}", what, begin,
                       end);
  require<FormatError>(end <= data.size(),
                       "{} ends at byte {} of the data, but the file has only {} (truncated?)",
                       what, end, data.size());
  const std::uint64_t expected = byte_size(tensor, what);
  require<FormatError>(end - begin == expected, "{} is {} and needs {}, but it has {}", what,
                       tensor.str(), counted(expected, "byte"), end - begin);
  tensor.bytes = data.subspan(begin, end - begin);
  return tensor;
}

// Together the tensors must cover the data exactly: no hole, no overlap, nothing behind the last.
void check_layout(const std::vector<StoredTensor>& tensors, std::span<const std::byte> data,
                  const std::string& path) {
  std::vector<const StoredTensor*> order;
  order.reserve(tensors.size());
  for (const StoredTensor& tensor : tensors) order.push_back(&tensor);
  const auto begin_of = [&](const StoredTensor* tensor) {
    return static_cast<std::uint64_t>(tensor->bytes.data() - data.data());
  };
  std::stable_sort(order.begin(), order.end(), [&](const StoredTensor* a, const StoredTensor* b) {
    return std::pair(begin_of(a), a->bytes.size()) < std::pair(begin_of(b), b->bytes.size());
  });
  std::uint64_t expected = 0;
  for (const StoredTensor* tensor : order) {
    const std::uint64_t begin = begin_of(tensor);
    require<FormatError>(begin >= expected,
                         "{}: tensor {} begins at byte {} and overlaps the one before it, which "
                         "ends at {}",
                         path, tensor->name, begin, expected);
    require<FormatError>(begin == expected, "{}: there is a hole of {} before tensor {}", path,
                         counted(begin - expected, "byte"), tensor->name);
    expected = begin + tensor->bytes.size();
  }
  require<FormatError>(expected == data.size(), "{}: {} after the last tensor", path,
                       counted(data.size() - expected, "byte"));
}

}  // namespace

std::int64_t StoredTensor::elements() const {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

std::string StoredTensor::str() const {
  return fmt::format("{}[{}]", name_of(type), fmt::join(shape, ", "));
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
  const std::string_view text = header_text(file_);
  const json header = parse_json(text, path.string() + ": the header");
  const std::span<const std::byte> data = file_.bytes().subspan(kLengthBytes + text.size());
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      metadata_ = parse_metadata(entry, path.string());
    } else {
      tensors_.push_back(parse_tensor(name, entry, data, path.string()));
    }
  }
  std::sort(tensors_.begin(), tensors_.end(),
            [](const StoredTensor& a, const StoredTensor& b) { return a.name < b.name; });
  check_layout(tensors_, data, path.string());
}

const StoredTensor* SafetensorsFile::find(std::string_view name) const {
  const auto place = std::lower_bound(
      tensors_.begin(), tensors_.end(), name,
      [](const StoredTensor& tensor, std::string_view key) { return tensor.name < key; });
  return place != tensors_.end() && place->name == name ? &*place : nullptr;
}

}  // namespace gda

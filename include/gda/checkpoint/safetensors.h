// safetensors files: an 8-byte little-endian header length N, N bytes of JSON that say where each
// tensor lies, and the tensors' bytes (https://github.com/huggingface/safetensors).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gda/checkpoint/tensor_source.h"
#include "gda/core/mapped_file.h"

namespace gda {

// Element types of the format. Only f16, bf16, f32 and f64 can be converted to a Tensor; the others
// can be listed.
enum class StoredType : std::uint8_t {
  boolean,
  u8,
  i8,
  f8_e4m3,
  f8_e5m2,
  i16,
  u16,
  f16,
  bf16,
  i32,
  u32,
  f32,
  i64,
  u64,
  f64,
};

// "BF16", as in the file.
std::string_view name_of(StoredType type);
std::size_t size_of(StoredType type);
StoredType stored_type_of(DType dtype);

// Converts `count` elements; `from` need not be aligned. f64 to bf16 rounds by way of f32. Throws
// FormatError beginning with `what` when `type` or `dtype` is not a float type.
void convert_elements(std::string_view what, const std::byte* from, StoredType type, void* to,
                      DType dtype, std::int64_t count);

// A tensor in a mapped file. `bytes` may be unaligned and lives as long as the file.
struct StoredTensor {
  std::string name;
  StoredType type = StoredType::f32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;

  std::int64_t elements() const;
  // "BF16[8, 128]".
  std::string str() const;
};

// A file mapped read-only. Opening it checks the whole header: FormatError names the file and the
// fault (truncated, offsets that overlap or leave holes, sizes that do not match shapes, names that
// occur twice, unknown types, ...). The data is not touched.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  // In the order of their names.
  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  // Null if there is none of that name.
  const StoredTensor* find(std::string_view name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::filesystem::path& path() const { return file_.path(); }
  // The whole file.
  std::span<const std::byte> bytes() const { return file_.bytes(); }

 private:
  MappedFile file_;
  std::vector<StoredTensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

// A file that has been written and synced.
struct WrittenFile {
  std::string name;  // without the folder
  std::uint64_t size = 0;
  std::string hash;  // XXH3-64, as ContentHash::hex()
};

// Writes `path` in one pass, hashing on the way: the header from the declared types and shapes,
// then one tensor after the other, wider types first, then by name. `metadata` gains format = "pt".
// Throws IoError (disk full, ...) and leaves the unfinished file to the caller.
WrittenFile write_safetensors(const std::filesystem::path& path, std::vector<TensorSource> tensors,
                              std::map<std::string, std::string> metadata = {});

}  // namespace gda

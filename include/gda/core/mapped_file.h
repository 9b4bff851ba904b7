// A whole file mapped read-only into memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace gda {

class MappedFile {
 public:
  MappedFile() = default;
  // Throws IoError naming the file and the system's reason. An empty file maps to an empty span.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::size_t size() const { return size_; }
  const std::filesystem::path& path() const { return path_; }

  // Throws IoError if the file was made shorter since it was mapped: whoever reads what is gone is
  // ended by SIGBUS. A file that was replaced by another, or removed, stays mapped as it was.
  void require_whole() const;

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::uint64_t device_ = 0;  // with the inode: which file it is
  std::uint64_t inode_ = 0;
};

}  // namespace gda

// A file whose content is hashed while it is written.
#pragma once

#include <filesystem>
#include <span>

#include "gda/checkpoint/safetensors.h"
#include "gda/core/checksum.h"
#include "gda/core/file.h"

namespace gda {

class HashedFile {
 public:
  explicit HashedFile(const std::filesystem::path& path)
      : name_(path.filename().string()), writer_(path) {}

  void write(std::span<const std::byte> bytes) {
    hash_.update(bytes);
    writer_.write(bytes);
  }
  std::size_t written() const { return writer_.written(); }

  // Syncs and closes.
  WrittenFile commit() {
    writer_.commit();
    return {name_, writer_.written(), hash_.hex()};
  }

 private:
  std::string name_;
  FileWriter writer_;
  ContentHash hash_;
};

}  // namespace gda

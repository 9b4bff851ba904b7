// A file that is written in small values.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "gda/core/file.h"

namespace gda {

// Gathers small values into large writes.
class BufferedWriter {
 public:
  explicit BufferedWriter(const std::filesystem::path& path) : file_(path) {
    buffer_.reserve(kBufferBytes);
  }

  template <class T>
  void put(T value) {
    const auto bytes = std::as_bytes(std::span(&value, 1));
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    if (buffer_.size() >= kBufferBytes - sizeof(T)) flush();
  }
  void put(std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  }
  void commit() {
    flush();
    file_.commit();
  }

 private:
  static constexpr std::size_t kBufferBytes = std::size_t{1} << 20;

  void flush() {
    file_.write(buffer_);
    buffer_.clear();
  }

  FileWriter file_;
  std::vector<std::byte> buffer_;
};

}  // namespace gda

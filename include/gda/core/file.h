// Files that are whole or not there.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace gda {

// A file being written. Every write is checked; nothing is left open on an error. Throws IoError
// that names the file and the system's reason (disk full, not writable, ...).
class FileWriter {
 public:
  // Creates or truncates `path`.
  explicit FileWriter(const std::filesystem::path& path);
  ~FileWriter();
  FileWriter(FileWriter&& other) noexcept;
  FileWriter& operator=(FileWriter&&) = delete;
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }
  // Flushes to the disk (fsync) and closes.
  void commit();
  std::size_t written() const { return written_; }

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  std::size_t written_ = 0;
};

// The whole of a file or a pipe.
std::string read_text_file(const std::filesystem::path& path);
// The same; "-" is standard input.
std::string read_text_input(const std::filesystem::path& path);

// Replaces a file: written under a temporary name beside it, fsynced, renamed. After a crash there
// is either the old file or the new one.
void write_text_file_atomically(const std::filesystem::path& path, std::string_view text);

// A name beside `path` that no other process uses, on any host: for what is renamed to `path` when
// it is whole. It ends with ".tmp".
std::filesystem::path temporary_beside(const std::filesystem::path& path);

// The name of this machine.
std::string host_name();

// rename(2), then fsync of the parent folder, so that the new name survives a power cut.
void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);

// Makes a folder and its parents; IoError with the reason when that is not possible.
void make_directories(const std::filesystem::path& path);

}  // namespace gda

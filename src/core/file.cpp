#include "gda/core/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>
#include <utility>

#include "gda/core/error.h"

namespace gda {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void fail_on(std::string_view action, const fs::path& path) {
  const int reason = errno;
  fail<IoError>("cannot {} {}: {}", action, path.string(), std::strerror(reason));
}

void sync_directory(const fs::path& directory) {
  const fs::path place = directory.empty() ? fs::path(".") : directory;
  const int fd = ::open(place.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) fail_on("open folder", place);
  const int result = ::fsync(fd);
  ::close(fd);
  if (result != 0) fail_on("sync folder", place);
}

}  // namespace

FileWriter::FileWriter(const fs::path& path) : path_(path) {
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) fail_on("create", path);
}

FileWriter::~FileWriter() {
  if (fd_ >= 0) ::close(fd_);
}

FileWriter::FileWriter(FileWriter&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), written_(other.written_) {}

void FileWriter::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_on("write", path_);
    written_ += static_cast<std::size_t>(count);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

void FileWriter::commit() {
  if (::fsync(fd_) != 0) fail_on("sync", path_);
  if (::close(std::exchange(fd_, -1)) != 0) fail_on("close", path_);
}

std::string read_text_file(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) fail_on("open", path);
  std::ostringstream text;
  text << stream.rdbuf();
  if (stream.bad()) fail_on("read", path);
  return std::move(text).str();
}

std::string read_text_input(const fs::path& path) {
  if (path != "-") return read_text_file(path);
  // By its descriptor: /dev/stdin cannot be opened where it is a socket.
  std::ostringstream text;
  text << std::cin.rdbuf();
  require<IoError>(!std::cin.bad(), "cannot read standard input");
  return std::move(text).str();
}

void write_text_file_atomically(const fs::path& path, std::string_view text) {
  const fs::path temporary = temporary_beside(path);
  try {
    FileWriter writer(temporary);
    writer.write(text);
    writer.commit();
    rename_durably(temporary, path);
  } catch (const IoError&) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw;
  }
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "unknown";
  return name.data();
}

fs::path temporary_beside(const fs::path& path) {
  static std::atomic<int> count{0};
  return path.string() + fmt::format(".{}-{}-{}.tmp", host_name(), ::getpid(), count++);
}

void rename_durably(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) fail_on("rename to", to);
  sync_directory(to.parent_path());
}

void make_directories(const fs::path& path) {
  std::error_code code;
  fs::create_directories(path, code);
  require<IoError>(!code, "cannot make folder {}: {}", path.string(), code.message());
}

}  // namespace gda

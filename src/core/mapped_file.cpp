#include "gda/core/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "gda/core/error.h"

namespace gda {

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  require<IoError>(fd >= 0, "cannot open {}: {}", path.string(), std::strerror(errno));
  struct stat info {};
  void* data = nullptr;
  const bool known = ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
  if (known && info.st_size > 0) {
    data = ::mmap(nullptr, static_cast<std::size_t>(info.st_size), PROT_READ, MAP_SHARED, fd, 0);
  }
  const int reason = errno;
  ::close(fd);
  require<IoError>(known, "cannot read {}: it is not a regular file", path.string());
  require<IoError>(data != MAP_FAILED, "cannot map {}: {}", path.string(), std::strerror(reason));
  data_ = static_cast<const std::byte*>(data);
  size_ = static_cast<std::size_t>(info.st_size);
  device_ = info.st_dev;
  inode_ = info.st_ino;
}

void MappedFile::require_whole() const {
  struct stat info {};
  if (::stat(path_.c_str(), &info) != 0) return;
  if (info.st_dev != device_ || info.st_ino != inode_) return;
  require<IoError>(static_cast<std::size_t>(info.st_size) >= size_,
                   "{} was made shorter while it was in use: {} bytes, {} when it was opened",
                   path_.string(), info.st_size, size_);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      device_(other.device_),
      inode_(other.inode_) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(device_, other.device_);
  std::swap(inode_, other.inode_);
  return *this;
}

}  // namespace gda

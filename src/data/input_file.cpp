#include "data/input_file.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "gda/core/error.h"

namespace gda {
namespace {

constexpr std::string_view kGzipMagic{"\x1F\x8B"};
// Of inflateInit2: the largest window, and a gzip header.
constexpr int kGzipWindow = MAX_WBITS + 16;

}  // namespace

struct InputFile::Inflating {
  Inflating() { require<IoError>(inflateInit2(&state, kGzipWindow) == Z_OK, "zlib has no memory"); }
  ~Inflating() { inflateEnd(&state); }
  Inflating(const Inflating&) = delete;
  Inflating& operator=(const Inflating&) = delete;

  z_stream state{};
  bool has_ended = false;  // the member that is being read
};

std::string input_name(const std::filesystem::path& path) {
  return path == "-" ? "standard input" : path.string();
}

InputFile::InputFile(const std::filesystem::path& path, const std::atomic<bool>* give_up)
    : name_(input_name(path)), give_up_(give_up) {
  fd_ = path == "-" ? ::dup(STDIN_FILENO) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  require<IoError>(fd_ >= 0, "cannot open {}: {}", name_, std::strerror(errno));
  try {
    fill(kGzipMagic.size());
    if (std::string_view(stored_).starts_with(kGzipMagic)) {
      inflating_ = std::make_unique<Inflating>();
    }
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

InputFile::~InputFile() {
  ::close(fd_);
}

// Reads until `wanted` bytes are there; false at the end of the file.
bool InputFile::fill(std::size_t wanted) {
  while (stored_.size() - at_ < wanted && !at_end_) {
    stored_.erase(0, at_);
    at_ = 0;
    const std::size_t before = stored_.size();
    stored_.resize(before + kReadBytes);
    wait_for_bytes();
    const ssize_t count = ::read(fd_, stored_.data() + before, kReadBytes);
    const int reason = errno;
    stored_.resize(before + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    if (count < 0 && reason == EINTR) continue;
    require<IoError>(count >= 0, "cannot read {}: {}", name_, std::strerror(reason));
    at_end_ = count == 0;
  }
  return stored_.size() - at_ >= wanted;
}

void InputFile::wait_for_bytes() const {
  constexpr int kLookEvery = 100;  // milliseconds
  if (give_up_ == nullptr) return;
  pollfd waiting{.fd = fd_, .events = POLLIN, .revents = 0};
  while (!*give_up_) {
    if (::poll(&waiting, 1, kLookEvery) != 0) return;
  }
  throw Error("stopped");
}

void InputFile::take(std::size_t count) {
  at_ += count;
  offset_ += static_cast<std::int64_t>(count);
}

bool InputFile::read(std::string& text) {
  if (!is_gzip()) {
    if (!fill(1)) return false;
    const std::size_t count = std::min(stored_.size() - at_, kReadBytes);
    text.append(stored_, at_, count);
    take(count);
    return true;
  }
  const std::size_t before = text.size();
  text.resize(before + kReadBytes);
  const std::size_t count = inflate_into(text.data() + before, kReadBytes);
  text.resize(before + count);
  return count > 0;
}

bool InputFile::read_beginning(std::string& text) {
  constexpr std::size_t kEnough = std::size_t{1} << 16;
  while (text.size() < kEnough) {
    if (!read(text)) return true;
  }
  return false;
}

// At least one byte, or 0 at the end.
std::size_t InputFile::inflate_into(char* to, std::size_t space) {
  z_stream& state = inflating_->state;
  state.next_out = reinterpret_cast<Bytef*>(to);
  state.avail_out = static_cast<uInt>(space);
  while (state.avail_out == space) {
    if (inflating_->has_ended && !begin_next_member()) return 0;
    require<FormatError>(fill(1), "{}: damaged gzip file: truncated", name_);
    const std::size_t available = stored_.size() - at_;
    state.next_in = reinterpret_cast<Bytef*>(stored_.data() + at_);
    state.avail_in = static_cast<uInt>(available);
    const int code = inflate(&state, Z_NO_FLUSH);
    take(available - state.avail_in);
    require<FormatError>(code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR,
                         "{}: damaged gzip file: {}", name_,
                         state.msg != nullptr ? state.msg : zError(code));
    inflating_->has_ended = code == Z_STREAM_END;
  }
  return space - state.avail_out;
}

// gzip files may be put one behind the other.
bool InputFile::begin_next_member() {
  const bool may_be_gzip = fill(kGzipMagic.size());
  if (may_be_gzip && std::string_view(stored_).substr(at_).starts_with(kGzipMagic)) {
    inflateReset(&inflating_->state);
    inflating_->has_ended = false;
    return true;
  }
  while (fill(1)) {
    require<FormatError>(stored_[at_] == '\0',
                         "{}: damaged gzip file: other bytes follow the compressed ones at byte {}",
                         name_, offset_);
    take(1);
  }
  return false;
}

}  // namespace gda

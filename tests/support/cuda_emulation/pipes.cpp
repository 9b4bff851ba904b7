#include "pipes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "gda/core/error.h"

namespace gda::emulation {
namespace {

[[noreturn]] void fail_on(const std::string& what) {
  fail<DistError>("the emulated NCCL: {}: {}", what, std::strerror(errno));
}

int open_pipe(const std::string& name) {
  if (::mkfifo(name.c_str(), 0600) != 0 && errno != EEXIST) fail_on(name);
  // For reading too: then neither end waits for the other, nor is told that it has gone.
  const int pipe = ::open(name.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (pipe < 0) fail_on(name);
  return pipe;
}

// Moves bytes [done, size), as far as there are any. `move` is read or write.
template <class Move, class Byte>
bool move_some(const Move& move, int pipe, Byte* data, std::size_t size, std::size_t& done) {
  while (done < size) {
    const ssize_t moved = move(pipe, data + done, size - done);
    if (moved < 0 && errno != EAGAIN && errno != EINTR) fail_on("a pipe");
    if (moved <= 0) return false;
    done += static_cast<std::size_t>(moved);
  }
  return true;
}

}  // namespace

Pipes::Pipes(std::string folder, int rank, int size)
    : folder_(std::move(folder)), rank_(rank), ends_(static_cast<std::size_t>(size)) {
  if (::mkdir(folder_.c_str(), 0700) != 0 && errno != EEXIST) fail_on(folder_);
  for (int peer = 0; peer < size; ++peer) {
    End& end = ends_[static_cast<std::size_t>(peer)];
    end.in = open_pipe(name(peer, rank));
    end.out = peer == rank ? end.in : open_pipe(name(rank, peer));
  }
}

Pipes::~Pipes() {
  for (int peer = 0; peer < size(); ++peer) {
    const End& end = ends_[static_cast<std::size_t>(peer)];
    ::close(end.in);
    if (peer != rank_) ::close(end.out);
  }
}

std::string Pipes::name(int from, int to) const {
  return folder_ + "/" + std::to_string(from) + "-" + std::to_string(to);
}

void Pipes::forget_names() {
  for (int peer = 0; peer < size(); ++peer) ::unlink(name(peer, rank_).c_str());
  ::rmdir(folder_.c_str());  // that of the last rank to come here
}

void Pipes::send(int peer, const void* data, const Label& label) {
  auto* bytes = static_cast<std::byte*>(const_cast<void*>(data));
  ends_[static_cast<std::size_t>(peer)].sent.push_back({.label = label, .data = bytes});
}

void Pipes::receive(int peer, void* data, const Label& label) {
  ends_[static_cast<std::size_t>(peer)].awaited.push_back(
      {.label = label, .data = static_cast<std::byte*>(data)});
}

bool Pipes::advance() {
  bool all = true;
  for (End& end : ends_) {
    while (!end.sent.empty() && write_some(end.out, end.sent.front())) end.sent.pop_front();
    while (!end.awaited.empty() && read_some(end.in, end.awaited.front())) end.awaited.pop_front();
    all = all && end.sent.empty() && end.awaited.empty();
  }
  return all;
}

bool Pipes::write_some(int pipe, Message& message) {
  const auto* label = reinterpret_cast<const std::byte*>(&message.label);
  return move_some(::write, pipe, label, sizeof message.label, message.label_done) &&
         move_some(::write, pipe, message.data, message.label.bytes, message.done);
}

bool Pipes::read_some(int pipe, Message& message) {
  auto* label = reinterpret_cast<std::byte*>(&message.arrived);
  if (!move_some(::read, pipe, label, sizeof message.arrived, message.label_done)) return false;
  require<DistError>(message.arrived == message.label,
                     "the emulated NCCL: ranks do not call the same: operation {}, type {}, {} "
                     "bytes are awaited; operation {}, type {}, {} bytes came",
                     message.label.operation, message.label.type, message.label.bytes,
                     message.arrived.operation, message.arrived.type, message.arrived.bytes);
  return move_some(::read, pipe, message.data, message.label.bytes, message.done);
}

}  // namespace gda::emulation

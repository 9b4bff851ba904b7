#include "dist/transfers.h"

#include <algorithm>
#include <array>
#include <set>
#include <string>

#include "gda/core/error.h"
#include "gda/core/text.h"

namespace gda::dist {

namespace {

std::string text_of(int code) {
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  return {text.data(), static_cast<std::size_t>(length)};
}

}  // namespace

void check_mpi(int code, const char* call) {
  require<DistError>(code == MPI_SUCCESS, "{} failed: {}", call, text_of(code));
}

std::byte* Transfers::scratch(std::size_t bytes) {
  if (scratch_.size() < bytes) scratch_.resize(bytes);
  return scratch_.data();
}

void Transfers::send(const void* data, std::size_t bytes, int peer) {
  const auto* next = static_cast<const std::byte*>(data);
  while (bytes > 0) {
    const std::size_t piece = std::min(bytes, channel_.message_bytes);
    messages_.push_back({peer, -1});
    check_mpi(MPI_Isend(next, static_cast<int>(piece), MPI_BYTE, peer, channel_.tag, channel_.comm,
                        &requests_.emplace_back(MPI_REQUEST_NULL)),
              "MPI_Isend");
    next += piece;
    bytes -= piece;
  }
}

void Transfers::receive(void* data, std::size_t bytes, int peer) {
  auto* next = static_cast<std::byte*>(data);
  while (bytes > 0) {
    const std::size_t piece = std::min(bytes, channel_.message_bytes);
    messages_.push_back({peer, static_cast<int>(piece)});
    check_mpi(MPI_Irecv(next, static_cast<int>(piece), MPI_BYTE, peer, channel_.tag, channel_.comm,
                        &requests_.emplace_back(MPI_REQUEST_NULL)),
              "MPI_Irecv");
    next += piece;
    bytes -= piece;
  }
}

bool Transfers::done() {
  if (requests_.empty()) return true;
  // MPI_Testsome, unlike MPI_Testall, frees each request as it finishes, so that `awaited` can
  // tell.
  int finished = 0;
  std::vector<int> indices(requests_.size());
  std::vector<MPI_Status> statuses(requests_.size());
  const int code = MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &finished,
                                indices.data(), statuses.data());
  if (code != MPI_ERR_IN_STATUS) {
    check_mpi(code, "MPI_Testsome");
    // Without an error MPI leaves the statuses' own codes as they are.
    for (MPI_Status& status : statuses) status.MPI_ERROR = MPI_SUCCESS;
  }
  if (finished == MPI_UNDEFINED) finished = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(finished); ++i) {
    check(messages_[static_cast<std::size_t>(indices[i])], statuses[i]);
  }
  const bool left = std::any_of(requests_.begin(), requests_.end(),
                                [](MPI_Request request) { return request != MPI_REQUEST_NULL; });
  if (left) return false;
  requests_.clear();
  messages_.clear();
  return true;
}

void Transfers::check(const Message& message, const MPI_Status& status) const {
  require<MessageError>(status.MPI_ERROR == MPI_SUCCESS,
                        "a message from {} is not the one expected: {}", name(message.peer),
                        text_of(status.MPI_ERROR));
  if (message.awaited_bytes < 0) return;
  int bytes = 0;
  check_mpi(MPI_Get_count(&status, MPI_BYTE, &bytes), "MPI_Get_count");
  require<MessageError>(bytes == message.awaited_bytes,
                        "a message from {} is not the one expected: it has {} and not "
                        "{}",
                        name(message.peer), counted(bytes, "byte"), message.awaited_bytes);
}

std::vector<int> Transfers::awaited() const {
  std::set<int> ranks;
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    if (requests_[i] != MPI_REQUEST_NULL) ranks.insert(world_rank(messages_[i].peer));
  }
  return {ranks.begin(), ranks.end()};
}

}  // namespace gda::dist

#include "dist/validate.h"

#include <cstddef>
#include <string_view>

#include "gda/core/error.h"
#include "gda/core/text.h"

namespace gda::dist {
namespace {

void require_usable(std::string_view operation, const Tensor& tensor) {
  require<DistError>(!tensor.empty() || tensor.elements() == 0, "[{}] {} has no memory", operation,
                     tensor.str());
  require<DistError>(tensor.is_contiguous(), "[{}] {} must be contiguous, its row stride is {}",
                     operation, tensor.str(), tensor.row_stride());
}

void require_alike(std::string_view operation, const Tensor& a, const Tensor& b) {
  require<DistError>(a.dtype() == b.dtype(), "[{}] {} and {} must be of one dtype", operation,
                     a.str(), b.str());
  require<DistError>(a.device() == b.device(), "[{}] {} is on {} and {} is on {}", operation,
                     a.str(), a.device().str(), b.str(), b.device().str());
}

bool are_apart(const Tensor& a, const Tensor& b) {
  const auto* a_begin = static_cast<const std::byte*>(a.raw());
  const auto* b_begin = static_cast<const std::byte*>(b.raw());
  return a_begin + a.bytes() <= b_begin || b_begin + b.bytes() <= a_begin;
}

// `part` of rank `rank` and `whole` share no memory, or part is its place in whole.
void require_no_bad_overlap(std::string_view operation, const Tensor& part, const Tensor& whole,
                            int rank) {
  const auto* part_begin = static_cast<const std::byte*>(part.raw());
  const auto* whole_begin = static_cast<const std::byte*>(whole.raw());
  const bool in_place = part_begin == whole_begin + static_cast<std::size_t>(rank) * part.bytes();
  require<DistError>(in_place || are_apart(part, whole),
                     "[{}] {} overlaps {} but is not the part of rank {} there", operation,
                     part.str(), whole.str(), rank);
}

// One end of a message.
void require_end(const Tensor& tensor, int peer, int size) {
  if (peer == kNobody) {
    require<DistError>(tensor.empty(), "[send_receive] {} has nobody at the other end",
                       tensor.str());
    return;
  }
  require_usable("send_receive", tensor);
  require<DistError>(peer >= 0 && peer < size, "[send_receive] rank {} is not in this group of {}",
                     peer, counted(size, "rank"));
}

void require_part(std::string_view operation, const Tensor& part, const Tensor& whole, int rank,
                  int size) {
  require_usable(operation, part);
  require_usable(operation, whole);
  require_alike(operation, part, whole);
  require<DistError>(part.elements() * size == whole.elements(),
                     "[{}] {} must have 1/{} of the {} of {}: one part for each rank", operation,
                     part.str(), size, counted(whole.elements(), "element"), whole.str());
  require_no_bad_overlap(operation, part, whole, rank);
}

}  // namespace

bool is_on_host(const Tensor& tensor) {
  return tensor.device().type == DeviceType::cpu;
}

void validate_on_host(std::string_view operation, const Tensor& tensor) {
  require<DistError>(is_on_host(tensor),
                     "[{}] {} is on {}: this group of processes moves CPU memory only", operation,
                     tensor.str(), tensor.device().str());
}

void validate_all_reduce(const Tensor& data) {
  require_usable("all_reduce", data);
}

void validate_reduce_scatter(const Tensor& from, const Tensor& to, int rank, int size) {
  require_part("reduce_scatter", to, from, rank, size);
}

void validate_all_gather(const Tensor& from, const Tensor& to, int rank, int size) {
  require_part("all_gather", from, to, rank, size);
}

void validate_broadcast(const Tensor& data, int root, int size) {
  require_usable("broadcast", data);
  require<DistError>(root >= 0 && root < size, "[broadcast] root {} is not in this group of {}",
                     root, counted(size, "rank"));
}

void validate_all_to_all(const Tensor& from, const Tensor& to, int size) {
  require_usable("all_to_all", from);
  require_usable("all_to_all", to);
  require_alike("all_to_all", from, to);
  require<DistError>(from.elements() == to.elements(), "[all_to_all] {} and {} must be of one size",
                     from.str(), to.str());
  require<DistError>(from.elements() % size == 0,
                     "[all_to_all] {} must have one part for each of {}", from.str(),
                     counted(size, "rank"));
  require<DistError>(are_apart(from, to), "[all_to_all] {} overlaps {}", from.str(), to.str());
}

void validate_send_receive(const Tensor& send, int to, const Tensor& receive, int from, int rank,
                           int size) {
  require_end(send, to, size);
  require_end(receive, from, size);
  require<DistError>((to == rank) == (from == rank),
                     "[send_receive] rank {} would wait for itself: it {}", rank,
                     to == rank ? "sends to itself and does not receive"
                                : "receives from itself and does not send");
  if (to == kNobody || from == kNobody) return;
  require<DistError>(send.device() == receive.device(),
                     "[send_receive] {} is on {} and {} is on {}", send.str(), send.device().str(),
                     receive.str(), receive.device().str());
  require<DistError>(are_apart(send, receive), "[send_receive] {} overlaps {}", send.str(),
                     receive.str());
  if (to != rank) return;
  require_alike("send_receive", send, receive);
  require<DistError>(send.elements() == receive.elements(),
                     "[send_receive] {} and {} must be of one size", send.str(), receive.str());
}

void validate_split(int colour) {
  require<DistError>(colour >= 0, "[split] colour {} is negative", colour);
}

}  // namespace gda::dist

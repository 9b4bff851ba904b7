#include "dist/validate.h"

#include <cstddef>
#include <string_view>

#include "gda/core/error.h"

namespace gda::dist {
namespace {

void require_usable(std::string_view operation, const Tensor& tensor) {
  require<DistError>(!tensor.empty() || tensor.elements() == 0, "[{}] {} has no memory", operation,
                     tensor.str());
  require<DistError>(tensor.is_contiguous(), "[{}] {} must be contiguous, its row stride is {}",
                     operation, tensor.str(), tensor.row_stride());
}

// `part` of rank `rank` and `whole` share no memory, or part is its place in whole.
void require_no_bad_overlap(std::string_view operation, const Tensor& part, const Tensor& whole,
                            int rank) {
  const auto* part_begin = static_cast<const std::byte*>(part.raw());
  const auto* whole_begin = static_cast<const std::byte*>(whole.raw());
  const bool apart =
      part_begin + part.bytes() <= whole_begin || whole_begin + whole.bytes() <= part_begin;
  const bool in_place = part_begin == whole_begin + static_cast<std::size_t>(rank) * part.bytes();
  require<DistError>(apart || in_place, "[{}] {} overlaps {} but is not the part of rank {} there",
                     operation, part.str(), whole.str(), rank);
}

void require_part(std::string_view operation, const Tensor& part, const Tensor& whole, int rank,
                  int size) {
  require_usable(operation, part);
  require_usable(operation, whole);
  require<DistError>(part.dtype() == whole.dtype(), "[{}] {} and {} must be of one dtype",
                     operation, part.str(), whole.str());
  require<DistError>(part.elements() * size == whole.elements(),
                     "[{}] {} must have 1/{} of the {} elements of {}: one part for each rank",
                     operation, part.str(), size, whole.elements(), whole.str());
  require_no_bad_overlap(operation, part, whole, rank);
}

}  // namespace

void validate_on_host(std::string_view operation, const Tensor& tensor) {
  require<DistError>(tensor.device().type == DeviceType::cpu,
                     "[{}] {} is on {}: this group of processes moves CPU memory only", operation,
                     tensor.str(), tensor.device().str());
}

void validate_all_reduce(const Tensor& data) {
  require_usable("all_reduce", data);
  require<DistError>(data.dtype() != DType::bf16, "[all_reduce] {} must be f32, f64 or i32",
                     data.str());
}

void validate_reduce_scatter(const Tensor& from, const Tensor& to, int rank, int size) {
  require<DistError>(from.dtype() == DType::f32 || from.dtype() == DType::f64,
                     "[reduce_scatter] {} must be f32 or f64", from.str());
  require_part("reduce_scatter", to, from, rank, size);
}

void validate_all_gather(const Tensor& from, const Tensor& to, int rank, int size) {
  require_part("all_gather", from, to, rank, size);
}

void validate_broadcast(const Tensor& data, int root, int size) {
  require_usable("broadcast", data);
  require<DistError>(root >= 0 && root < size, "[broadcast] root {} is not one of the {} ranks",
                     root, size);
}

}  // namespace gda::dist

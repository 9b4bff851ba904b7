#include "ops/dispatch.h"

#include "ops/backend.h"

namespace gda::ops {

void check_tensor(std::string_view op, std::string_view name, const Tensor& tensor, DType dtype,
                  const Shape& shape, const Context& context, bool strided) {
  require<OpError>(static_cast<bool>(tensor) || shape.elements() == 0,
                   "[{}] {}: expected {}{}, got an empty tensor", op, name, name_of(dtype),
                   shape.str());
  require<OpError>(tensor.dtype() == dtype && tensor.shape() == shape,
                   "[{}] {}: expected {}{}, got {}", op, name, name_of(dtype), shape.str(),
                   tensor.str());
  require<OpError>(tensor.device() == context.device(), "[{}] {}: expected on {}, got on {}", op,
                   name, context.device().str(), tensor.device().str());
  require<OpError>(strided || tensor.is_contiguous(),
                   "[{}] {}: expected contiguous rows, got row stride {} for {}", op, name,
                   tensor.row_stride(), tensor.str());
}

void check_mask(std::string_view op, const ColumnMask& mask, DType dtype, std::int64_t columns,
                std::int64_t total, const Context& context) {
  if (!mask) return;
  check_tensor(op, "mask", mask.value, dtype, {columns}, context);
  require<OpError>(mask.sum > 0 && mask.sum <= static_cast<double>(total),
                   "[{}] mask: expected a sum of factors in (0, {}], got {}", op, total, mask.sum);
}

VocabularyPart checked_part(std::string_view op, VocabularyPart part, std::string_view name,
                            std::int64_t rows) {
  if (part.total == 0 && part.first == 0) return {.first = 0, .total = rows};
  require<OpError>(part.first >= 0 && part.first + rows <= part.total,
                   "[{}] {}: expected a part of {} entries, got {} rows from entry {}", op, name,
                   part.total, rows, part.first);
  return part;
}

void check_compute_type(std::string_view op, const Tensor& tensor) {
  const DType dtype = tensor.dtype();
  require<OpError>(dtype == DType::f64 || dtype == DType::f32 || dtype == DType::bf16,
                   "[{}] expected fp64, fp32 or bf16, got {}", op, tensor.str());
}

void fail_missing(std::string_view op) {
  fail<OpError>("[{}] this build has no CUDA implementation (configured with GDA_CUDA=OFF)", op);
}

const Backend& backend(const Device& device) {
  return device.type == DeviceType::cpu ? cpu::kBackend : cuda::kBackend;
}

}  // namespace gda::ops

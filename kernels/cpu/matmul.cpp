// f64: three plain loops. f32: oneDNN's sgemm; measured against oneDNN's matmul primitive, also
// with prepacked weights, at the sizes of a 124M-parameter model: no difference beyond noise, since
// both end in one kernel. bf16: oneDNN's matmul primitive where the processor multiplies bf16, else
// f32.
#include <algorithm>

#include "bf16_matmul.h"
#include "gda/core/error.h"
#include "ops/backend.h"

#include <oneapi/dnnl/dnnl.h>

namespace gda::cpu {
namespace {

// Distance between rows; at least a row's length, also where there is only one row.
std::int64_t leading(const Tensor& matrix) {
  return std::max({matrix.row_stride(), matrix.dim(1), std::int64_t{1}});
}

void reference(const Tensor& a, const Tensor& b, const Tensor& out, const MatmulOptions& options) {
  const std::int64_t inner = options.transpose_a ? a.dim(0) : a.dim(1);
  const auto* left = a.data<double>();
  const auto* right = b.data<double>();
  for (std::int64_t i = 0; i < out.dim(0); ++i) {
    for (std::int64_t j = 0; j < out.dim(1); ++j) {
      double sum = 0;
      for (std::int64_t p = 0; p < inner; ++p) {
        sum += left[options.transpose_a ? p * a.row_stride() + i : i * a.row_stride() + p] *
               right[options.transpose_b ? j * b.row_stride() + p : p * b.row_stride() + j];
      }
      double& element = out.data<double>()[i * out.row_stride() + j];
      element = options.accumulate ? element + sum : sum;
    }
  }
}

void single(const Tensor& a, const Tensor& b, const Tensor& out, const MatmulOptions& options) {
  const std::int64_t inner = options.transpose_a ? a.dim(0) : a.dim(1);
  const dnnl_status_t status =
      dnnl_sgemm(options.transpose_a ? 'T' : 'N', options.transpose_b ? 'T' : 'N', out.dim(0),
                 out.dim(1), inner, 1.0F, a.data<float>(), leading(a), b.data<float>(), leading(b),
                 options.accumulate ? 1.0F : 0.0F, out.data<float>(), leading(out));
  require<OpError>(status == dnnl_success,
                   "[matmul] oneDNN's sgemm failed with status {} for a = {}, b = {}, out = {}",
                   static_cast<int>(status), a.str(), b.str(), out.str());
}

// A contiguous f32 copy of a bf16 matrix, in scratch memory.
Tensor widen(const Context& context, const Tensor& matrix) {
  const Tensor wide = context.arena.allocate(DType::f32, matrix.shape());
  cpu::convert(context, matrix, wide);
  return wide;
}

// bf16 operands on a processor that does not multiply bf16.
void widened(const Context& context, const Tensor& a, const Tensor& b, const Tensor& out,
             const MatmulOptions& options) {
  const ArenaScope scope(context.arena);
  const Tensor left = widen(context, a);
  const Tensor right = widen(context, b);
  if (out.dtype() == DType::f32) return single(left, right, out, options);
  const Tensor product =
      options.accumulate ? widen(context, out) : context.arena.allocate(DType::f32, out.shape());
  single(left, right, product, options);
  cpu::convert(context, product, out);
}

void multiply(const Context& context, const Tensor& a, const Tensor& b, const Tensor& out,
              const MatmulOptions& options) {
  if (a.dtype() == DType::f64) return reference(a, b, out, options);
  if (a.dtype() == DType::f32) return single(a, b, out, options);
  if (bf16_matmul_is_native()) return bf16_matmul(a, b, out, options);
  widened(context, a, b, out, options);
}

// In a pass of its own, so that the product has the bits of one without addend.
void add_rows(const Context& context, const Tensor& addend, const Tensor& out) {
  if (addend.is_contiguous() && out.is_contiguous()) return cpu::add(context, addend, out);
  for (std::int64_t i = 0; i < out.dim(0); ++i) {
    cpu::add(context, addend.rows(i, 1), out.rows(i, 1));
  }
}

}  // namespace

void matmul(const Context& context, const Tensor& a, const Tensor& b, const Tensor& out,
            const MatmulOptions& options) {
  multiply(context, a, b, out, options);
  if (options.addend) add_rows(context, options.addend, out);
}

}  // namespace gda::cpu

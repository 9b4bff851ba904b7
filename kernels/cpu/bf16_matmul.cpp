#include "bf16_matmul.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <oneapi/dnnl/dnnl.hpp>

#include "gda/core/error.h"
#include "isa.h"
#include "ops/backend.h"

namespace gda::cpu {
namespace {

// Everything that a primitive depends on: m, n, k, three row strides, and the flags.
using Key = std::array<std::int64_t, 7>;

struct Product {
  dnnl::matmul::primitive_desc description;
  dnnl::matmul primitive;
};

dnnl::engine& engine() {
  static dnnl::engine one(dnnl::engine::kind::cpu, 0);
  return one;
}

dnnl::matmul::primitive_desc describe(const dnnl::memory::desc& a, const dnnl::memory::desc& b,
                                      const dnnl::memory::desc& out, bool accumulate) {
  dnnl::primitive_attr attributes;
  if (accumulate) {
    dnnl::post_ops then;
    then.append_sum(1.0F);
    attributes.set_post_ops(then);
  }
#if DNNL_VERSION_MAJOR >= 3
  return {engine(), a, b, out, attributes};
#else
  return {dnnl::matmul::desc(a, b, out), attributes, engine()};
#endif
}

// op(matrix) as oneDNN sees it: a transposed matrix is one with its strides exchanged.
dnnl::memory::desc layout(const Tensor& matrix, bool transpose) {
  const std::int64_t stride = std::max(matrix.row_stride(), matrix.dim(1));
  const auto type =
      matrix.dtype() == DType::bf16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
  if (transpose) return {{matrix.dim(1), matrix.dim(0)}, type, dnnl::memory::dims{1, stride}};
  return {{matrix.dim(0), matrix.dim(1)}, type, dnnl::memory::dims{stride, 1}};
}

// One cache a thread, so that no lock is needed. Decoding meets ever new lengths: past a few
// hundred entries the cache starts afresh (oneDNN keeps the generated code in a cache of its own).
const Product& cached(const Tensor& a, const Tensor& b, const Tensor& out,
                      const MatmulOptions& options) {
  constexpr std::size_t kMaxEntries = 512;
  static thread_local std::map<Key, Product> products;
  const std::int64_t flags = (options.transpose_a ? 1 : 0) + (options.transpose_b ? 2 : 0) +
                             (options.accumulate ? 4 : 0) + (out.dtype() == DType::f32 ? 8 : 0);
  const Key key{out.dim(0),     out.dim(1),     options.transpose_a ? a.dim(0) : a.dim(1),
                a.row_stride(), b.row_stride(), out.row_stride(),
                flags};
  if (const auto found = products.find(key); found != products.end()) return found->second;
  if (products.size() >= kMaxEntries) products.clear();
  auto description = describe(layout(a, options.transpose_a), layout(b, options.transpose_b),
                              layout(out, false), options.accumulate);
  dnnl::matmul primitive(description);
  return products.emplace(key, Product{std::move(description), std::move(primitive)}).first->second;
}

bool find_native() {
#if defined(__x86_64__)
  // Elsewhere on x86 oneDNN either refuses, or imitates bf16 at less than f32's speed.
  if (isa() != Isa::avx512 || !__builtin_cpu_supports("avx512bf16")) return false;
#endif
  try {
    const dnnl::memory::desc square({64, 64}, dnnl::memory::data_type::bf16,
                                    dnnl::memory::format_tag::ab);
    describe(square, square, square, false);
    return true;
  } catch (const dnnl::error&) {
    return false;
  }
}

}  // namespace

bool bf16_matmul_is_native() {
  static const bool native = find_native();
  return native;
}

void bf16_matmul(const Tensor& a, const Tensor& b, const Tensor& out,
                 const MatmulOptions& options) {
  try {
    const Product& product = cached(a, b, out, options);
    dnnl::stream stream(engine());
    product.primitive.execute(
        stream,
        {{DNNL_ARG_SRC, dnnl::memory(product.description.src_desc(), engine(), a.raw())},
         {DNNL_ARG_WEIGHTS, dnnl::memory(product.description.weights_desc(), engine(), b.raw())},
         {DNNL_ARG_DST, dnnl::memory(product.description.dst_desc(), engine(), out.raw())}});
    stream.wait();
  } catch (const dnnl::error& error) {
    fail<OpError>("[matmul] oneDNN failed: {} (status {}) for a = {}, b = {}, out = {}",
                  error.what(), static_cast<int>(error.status), a.str(), b.str(), out.str());
  }
}

}  // namespace gda::cpu

// Matrix products by cuBLASLt.
#include "ops/matmul_kernels.h"

#include <cublasLt.h>

#include <map>
#include <mutex>
#include <tuple>

#include "check.h"
#include "gda/core/error.h"

namespace gda::cuda {
namespace {

// NVIDIA's advice for Hopper; more than earlier devices need.
constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;

void check_blas(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  fail<DeviceError>("[matmul] {} failed: {} ({})", call, cublasLtGetStatusName(status),
                    cublasLtGetStatusString(status));
}

// Owns a descriptor that a cublasLt...Create gave.
template <class Handle, cublasStatus_t (*kDestroy)(Handle)>
class Descriptor {
 public:
  Descriptor() = default;
  ~Descriptor() {
    if (handle_ != nullptr) kDestroy(handle_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Handle* address() { return &handle_; }
  Handle get() const { return handle_; }

 private:
  Handle handle_ = nullptr;
};
using Operation = Descriptor<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Descriptor<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Descriptor<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

cudaDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return CUDA_R_64F;
    case DType::bf16:
      return CUDA_R_16BF;
    default:
      return CUDA_R_32F;
  }
}

// A row-major matrix is a column-major one, transposed: out^T = op(b)^T op(a)^T, so b comes first.
struct Product {
  Product(const Tensor& a, const Tensor& b, const Tensor& out, MatmulOptions options) {
    const bool wide = a.dtype() == DType::f64;
    check_blas(cublasLtMatmulDescCreate(operation.address(),
                                        wide ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F,
                                        wide ? CUDA_R_64F : CUDA_R_32F),
               "cublasLtMatmulDescCreate");
    set_transposed(CUBLASLT_MATMUL_DESC_TRANSA, options.transpose_b);
    set_transposed(CUBLASLT_MATMUL_DESC_TRANSB, options.transpose_a);
    lay_out(left, b);
    lay_out(right, a);
    lay_out(result, out);
  }

  Operation operation;
  Layout left, right, result;

 private:
  void set_transposed(cublasLtMatmulDescAttributes_t side, bool transposed) {
    const cublasOperation_t value = transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    check_blas(cublasLtMatmulDescSetAttribute(operation.get(), side, &value, sizeof value),
               "cublasLtMatmulDescSetAttribute");
  }
  static void lay_out(Layout& layout, const Tensor& matrix) {
    check_blas(
        cublasLtMatrixLayoutCreate(layout.address(), data_type(matrix.dtype()),
                                   static_cast<std::uint64_t>(matrix.dim(1)),
                                   static_cast<std::uint64_t>(matrix.dim(0)), matrix.row_stride()),
        "cublasLtMatrixLayoutCreate");
  }
};

// What an algorithm is chosen by: types, sizes, strides, options, and alignment to 16 bytes.
using Key = std::tuple<int, int, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                       std::int64_t, std::int64_t, bool, bool, bool, bool>;

Key key_of(const Tensor& a, const Tensor& b, const Tensor& out, MatmulOptions options) {
  const auto aligned = [](const Tensor& t) {
    return reinterpret_cast<std::uintptr_t>(t.raw()) % 16 == 0;
  };
  return {static_cast<int>(a.dtype()),
          static_cast<int>(out.dtype()),
          out.dim(0),
          out.dim(1),
          options.transpose_a ? a.dim(0) : a.dim(1),
          a.row_stride(),
          b.row_stride(),
          out.row_stride(),
          options.transpose_a,
          options.transpose_b,
          options.accumulate,
          aligned(a) && aligned(b) && aligned(out)};
}

// A library handle with its workspace and the algorithms chosen so far; one a device, for the life
// of the process. Products of one device go to one stream at a time, so they share the workspace.
class Library {
 public:
  explicit Library(int device) : memory_(kWorkspaceBytes, {DeviceType::cuda, device}, "cuBLASLt") {
    check_blas(cublasLtCreate(&handle_), "cublasLtCreate");
  }

  static Library& of(int device) {
    static std::mutex mutex;
    static std::map<int, Library*> libraries;
    const std::lock_guard lock(mutex);
    Library*& library = libraries[device];
    if (library == nullptr) library = new Library(device);  // outlives the driver's own end
    return *library;
  }

  void multiply(const Context& context, const Tensor& a, const Tensor& b, const Tensor& out,
                MatmulOptions options) {
    const Product product(a, b, out, options);
    const cublasLtMatmulAlgo_t algorithm = algorithm_for(key_of(a, b, out, options), product);
    if (a.dtype() == DType::f64) {
      run<double>(context, product, algorithm, a, b, out, options);
    } else {
      run<float>(context, product, algorithm, a, b, out, options);
    }
  }

 private:
  cublasLtMatmulAlgo_t algorithm_for(const Key& key, const Product& product) {
    const std::lock_guard lock(mutex_);
    const auto known = algorithms_.find(key);
    if (known != algorithms_.end()) return known->second;
    Preference preference;
    check_blas(cublasLtMatmulPreferenceCreate(preference.address()),
               "cublasLtMatmulPreferenceCreate");
    check_blas(cublasLtMatmulPreferenceSetAttribute(preference.get(),
                                                    CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                    &kWorkspaceBytes, sizeof kWorkspaceBytes),
               "cublasLtMatmulPreferenceSetAttribute");
    cublasLtMatmulHeuristicResult_t found{};
    int count = 0;
    check_blas(cublasLtMatmulAlgoGetHeuristic(
                   handle_, product.operation.get(), product.left.get(), product.right.get(),
                   product.result.get(), product.result.get(), preference.get(), 1, &found, &count),
               "cublasLtMatmulAlgoGetHeuristic");
    require<DeviceError>(count > 0, "[matmul] cuBLASLt knows no algorithm for this product");
    return algorithms_.emplace(key, found.algo).first->second;
  }

  template <class Scale>
  void run(const Context& context, const Product& product, const cublasLtMatmulAlgo_t& algorithm,
           const Tensor& a, const Tensor& b, const Tensor& out, MatmulOptions options) {
    const Scale one = 1;
    const Scale kept = options.accumulate ? 1 : 0;
    check_blas(cublasLtMatmul(handle_, product.operation.get(), &one, b.raw(), product.left.get(),
                              a.raw(), product.right.get(), &kept, out.raw(), product.result.get(),
                              out.raw(), product.result.get(), &algorithm, memory_.data(),
                              kWorkspaceBytes, static_cast<cudaStream_t>(context.stream.handle)),
               "cublasLtMatmul");
  }

  cublasLtHandle_t handle_ = nullptr;
  Buffer memory_;
  std::mutex mutex_;
  std::map<Key, cublasLtMatmulAlgo_t> algorithms_;
};

}  // namespace

void matmul(const Context& context, const Tensor& a, const Tensor& b, const Tensor& out,
            MatmulOptions options) {
  if (context.arena.is_plan()) return;
  Library::of(context.device().index).multiply(context, a, b, out, options);
}

bool bf16_matmul_is_native() {
  return true;
}

}  // namespace gda::cuda

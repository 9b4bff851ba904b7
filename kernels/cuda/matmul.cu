// Matrix products by cuBLASLt.
#include "ops/matmul_kernels.h"

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <mutex>
#include <tuple>

#include "check.h"
#include "gda/core/error.h"
#include "gda/core/stream.h"

namespace gda::cuda {
namespace {

// NVIDIA's advice for Hopper; more than earlier devices need.
constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;

// Guesses of cuBLASLt that are timed, and how often.
constexpr int kCandidates = 8;
constexpr int kRunsOfACandidate = 3;

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

// What an algorithm is chosen by: types, sizes, strides, options, alignment to 16 bytes, and
// whether it may be chosen by timing.
using Key = std::tuple<int, int, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                       std::int64_t, std::int64_t, bool, bool, bool, bool, bool>;

Key key_of(const Tensor& a, const Tensor& b, const Tensor& out, MatmulOptions options,
           bool reproducible) {
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
          aligned(a) && aligned(b) && aligned(out),
          reproducible};
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
    const Operands operands{a.raw(), b.raw(), out.raw(), options.accumulate,
                            a.dtype() == DType::f64};
    const Key key = key_of(a, b, out, options, context.reproducible);
    const std::lock_guard lock(mutex_);
    auto known = algorithms_.find(key);
    if (known == algorithms_.end()) {
      const Candidates candidates = candidates_for(product, context.reproducible ? 1 : kCandidates);
      known = algorithms_.emplace(key, fastest(context, product, operands, out, candidates)).first;
    }
    run(context, product, known->second, operands);
  }

 private:
  struct Operands {
    const void* a;
    const void* b;
    void* out;
    bool accumulate;
    bool wide;  // f64
  };

  // cuBLASLt's guesses, the best first.
  struct Candidates {
    std::array<cublasLtMatmulHeuristicResult_t, kCandidates> found{};
    int count = 0;

    const cublasLtMatmulAlgo_t& operator[](int i) const {
      return found[static_cast<std::size_t>(i)].algo;
    }
  };
  Candidates candidates_for(const Product& product, int most) const {
    Preference preference;
    check_blas(cublasLtMatmulPreferenceCreate(preference.address()),
               "cublasLtMatmulPreferenceCreate");
    check_blas(cublasLtMatmulPreferenceSetAttribute(preference.get(),
                                                    CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                    &kWorkspaceBytes, sizeof kWorkspaceBytes),
               "cublasLtMatmulPreferenceSetAttribute");
    Candidates candidates;
    check_blas(cublasLtMatmulAlgoGetHeuristic(handle_, product.operation.get(), product.left.get(),
                                              product.right.get(), product.result.get(),
                                              product.result.get(), preference.get(), most,
                                              candidates.found.data(), &candidates.count),
               "cublasLtMatmulAlgoGetHeuristic");
    require<DeviceError>(candidates.count > 0,
                         "[matmul] cuBLASLt knows no algorithm for this product");
    return candidates;
  }

  // The one whose best of a few runs is the shortest. The result goes to memory of its own, since
  // `out` may be added to; without room for that the first guess has to do.
  cublasLtMatmulAlgo_t fastest(const Context& context, const Product& product, Operands operands,
                               const Tensor& out, const Candidates& candidates) {
    if (candidates.count == 1) return candidates[0];
    const std::size_t bytes =
        static_cast<std::size_t>(out.dim(0) * out.row_stride()) * size_of(out.dtype());
    Buffer scratch;
    try {
      scratch = Buffer(bytes, out.device(), "choice of matrix products");
    } catch (const OutOfMemory&) {
      return candidates[0];
    }
    operands.out = scratch.data();
    Event begin(out.device());
    Event end(out.device());
    const auto seconds = [&](const cublasLtMatmulAlgo_t& algorithm) {
      double best = INFINITY;
      for (int i = 0; i <= kRunsOfACandidate; ++i) {
        begin.record(context.stream);
        run(context, product, algorithm, operands);
        end.record(context.stream);
        end.wait();
        if (i > 0) best = std::min(best, begin.seconds_until(end));  // the first one warms up
      }
      return best;
    };
    int choice = 0;
    double least = INFINITY;
    for (int i = 0; i < candidates.count; ++i) {
      const double time = seconds(candidates[i]);
      if (time < least) choice = i;
      least = std::min(least, time);
    }
    return candidates[choice];
  }

  void run(const Context& context, const Product& product, const cublasLtMatmulAlgo_t& algorithm,
           const Operands& operands) const {
    if (operands.wide) {
      run<double>(context, product, algorithm, operands);
    } else {
      run<float>(context, product, algorithm, operands);
    }
  }

  template <class Scale>
  void run(const Context& context, const Product& product, const cublasLtMatmulAlgo_t& algorithm,
           const Operands& operands) const {
    const Scale one = 1;
    const Scale kept = operands.accumulate ? 1 : 0;
    check_blas(
        cublasLtMatmul(handle_, product.operation.get(), &one, operands.b, product.left.get(),
                       operands.a, product.right.get(), &kept, operands.out, product.result.get(),
                       operands.out, product.result.get(), &algorithm, memory_.data(),
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

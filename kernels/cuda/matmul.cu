// Matrix products by cuBLASLt.
#include "ops/backend.h"

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <mutex>
#include <optional>
#include <tuple>
#include <vector>

#include "check.h"
#include "core/device_runtime.h"
#include "gda/core/error.h"
#include "gda/core/stream.h"

namespace gda::cuda {
namespace {

// NVIDIA's advice for Hopper; more than earlier devices need.
constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;

// cuBLASLt's guesses that are tried, and how often one is timed.
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
  Product(const Tensor& a, const Tensor& b, const Tensor& out, const MatmulOptions& options) {
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
    if (options.addend) lay_out(addend, options.addend);
  }

  // In place, cuBLASLt asks for one and the same descriptor.
  cublasLtMatrixLayout_t added() const {
    return addend.get() == nullptr ? result.get() : addend.get();
  }

  Operation operation;
  Layout left, right, result, addend;

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

// The largest power of two that the matrix and each of its rows begin at a multiple of. Up to 16
// bytes, the largest access of a thread and what TMA asks for: more would make no algorithm
// possible, but the choice of one depend on where a matrix happens to lie.
std::uint32_t alignment_of(const Tensor& matrix) {
  constexpr std::uintptr_t kMost = 16;
  const auto bits = reinterpret_cast<std::uintptr_t>(matrix.raw()) |
                    static_cast<std::uintptr_t>(matrix.row_stride()) * size_of(matrix.dtype()) |
                    kMost;
  return static_cast<std::uint32_t>(bits & (~bits + 1));
}

struct Alignments {
  std::uint32_t a, b, out, addend;  // addend: out's where there is none
};

// What an algorithm is chosen by: types, sizes, strides (the addend's -1 where there is none),
// options, alignments, and whether it may be chosen by timing.
using Key = std::tuple<int, int, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                       std::int64_t, std::int64_t, std::int64_t, bool, bool, bool, std::uint32_t,
                       std::uint32_t, std::uint32_t, std::uint32_t, bool>;

Key key_of(const Tensor& a, const Tensor& b, const Tensor& out, const MatmulOptions& options,
           const Alignments& alignments, bool reproducible) {
  return {static_cast<int>(a.dtype()),
          static_cast<int>(out.dtype()),
          out.dim(0),
          out.dim(1),
          options.transpose_a ? a.dim(0) : a.dim(1),
          a.row_stride(),
          b.row_stride(),
          out.row_stride(),
          options.addend ? options.addend.row_stride() : -1,
          options.transpose_a,
          options.transpose_b,
          options.accumulate,
          alignments.a,
          alignments.b,
          alignments.out,
          alignments.addend,
          reproducible};
}

// cuBLASLt's own type has no name of its own, which nvcc cannot put into a vector.
struct Algorithm {
  cublasLtMatmulAlgo_t value;
};

// What an algorithm has to be able to do, and may do.
class Limits {
 public:
  explicit Limits(const Alignments& alignments) {
    check_blas(cublasLtMatmulPreferenceCreate(preference_.address()),
               "cublasLtMatmulPreferenceCreate");
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspaceBytes);
    // The order of the left and the right matrix as in Product; D = left right + C.
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignments.b);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignments.a);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignments.addend);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignments.out);
    // Parts of a sum are added in the type that is computed in: not rounded to bf16 in between.
    set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
        static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  }
  cublasLtMatmulPreference_t get() const { return preference_.get(); }

 private:
  template <class Value>
  void set(cublasLtMatmulPreferenceAttributes_t attribute, const Value& value) {
    check_blas(
        cublasLtMatmulPreferenceSetAttribute(preference_.get(), attribute, &value, sizeof value),
        "cublasLtMatmulPreferenceSetAttribute");
  }
  Preference preference_;
};

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
                const MatmulOptions& options) {
    const Product product(a, b, out, options);
    const Tensor& added = options.addend ? options.addend : out;
    const Operands operands{.a = a.raw(),
                            .b = b.raw(),
                            .added = added.raw(),
                            .out = out.raw(),
                            .adds = options.accumulate || options.addend,
                            .wide = a.dtype() == DType::f64};
    const Alignments alignments{alignment_of(a), alignment_of(b), alignment_of(out),
                                alignment_of(added)};
    const Key key = key_of(a, b, out, options, alignments, context.reproducible);
    const std::lock_guard lock(mutex_);
    const auto known = algorithms_.find(key);
    if (known != algorithms_.end()) {
      check_blas(run(context, product, known->second, operands), "cublasLtMatmul");
      return;
    }
    const Candidates candidates = candidates_for(product, alignments);
    if (!context.reproducible) {
      if (const auto choice = fastest(context, product, operands, out, candidates)) {
        check_blas(run(context, product, *choice, operands), "cublasLtMatmul");
        algorithms_.emplace(key, *choice);
        return;
      }
    }
    algorithms_.emplace(key, first(context, product, operands, candidates));
  }

 private:
  struct Operands {
    const void* a;
    const void* b;
    const void* added;  // out's, where the product accumulates or nothing is added
    void* out;
    bool adds;
    bool wide;  // f64
  };

  using Candidates = std::vector<Algorithm>;

  // cuBLASLt's guesses, the best first.
  Candidates candidates_for(const Product& product, const Alignments& alignments) const {
    const Limits limits(alignments);
    std::array<cublasLtMatmulHeuristicResult_t, kCandidates> found{};
    int count = 0;
    check_blas(
        cublasLtMatmulAlgoGetHeuristic(handle_, product.operation.get(), product.left.get(),
                                       product.right.get(), product.added(), product.result.get(),
                                       limits.get(), kCandidates, found.data(), &count),
        "cublasLtMatmulAlgoGetHeuristic");
    Candidates candidates;
    for (int i = 0; i < count; ++i) {
      const auto& guess = found[static_cast<std::size_t>(i)];
      if (guess.state == CUBLAS_STATUS_SUCCESS) candidates.push_back({guess.algo});
    }
    require<DeviceError>(!candidates.empty(),
                         "[matmul] cuBLASLt knows no algorithm for this product");
    return candidates;
  }

  // Does the product by the first that is not refused.
  Algorithm first(const Context& context, const Product& product, const Operands& operands,
                  const Candidates& candidates) const {
    cublasStatus_t status = CUBLAS_STATUS_NOT_SUPPORTED;
    for (const Algorithm& candidate : candidates) {
      status = run(context, product, candidate, operands);
      if (status == CUBLAS_STATUS_SUCCESS) return candidate;
    }
    check_blas(status, "cublasLtMatmul");
    return candidates.front();
  }

  // The one whose best of a few runs is the shortest. The result goes to memory of its own, since
  // `out` may be added to. None where there is no room for that, or nothing can be timed.
  std::optional<Algorithm> fastest(const Context& context, const Product& product,
                                   Operands operands, const Tensor& out,
                                   const Candidates& candidates) {
    if (candidates.size() == 1 || is_capturing(context.stream)) return {};
    const std::size_t bytes =
        static_cast<std::size_t>(out.dim(0) * out.row_stride()) * size_of(out.dtype());
    Buffer scratch;
    try {
      scratch = Buffer(bytes, out.device(), "choice of matrix products");
    } catch (const OutOfMemory&) {
      return {};
    }
    if (operands.added == operands.out) operands.added = scratch.data();
    operands.out = scratch.data();
    std::optional<Algorithm> choice;
    double least = INFINITY;
    for (const Algorithm& candidate : candidates) {
      const double time = seconds(context, product, candidate, operands);
      if (time < least) choice = candidate;
      least = std::min(least, time);
    }
    return choice;
  }

  // Infinite if it is refused.
  double seconds(const Context& context, const Product& product, const Algorithm& algorithm,
                 const Operands& operands) const {
    Event begin(context.device());
    Event end(context.device());
    double best = INFINITY;
    for (int i = 0; i <= kRunsOfACandidate; ++i) {
      begin.record(context.stream);
      if (run(context, product, algorithm, operands) != CUBLAS_STATUS_SUCCESS) return INFINITY;
      end.record(context.stream);
      end.wait();
      if (i > 0) best = std::min(best, begin.seconds_until(end));  // the first one warms up
    }
    return best;
  }

  // Not success: the product was not done.
  cublasStatus_t run(const Context& context, const Product& product, const Algorithm& algorithm,
                     const Operands& operands) const {
    const cublasStatus_t status = operands.wide ? run<double>(context, product, algorithm, operands)
                                                : run<float>(context, product, algorithm, operands);
    if (status != CUBLAS_STATUS_SUCCESS) cudaGetLastError();  // it is not of the next launch
    return status;
  }

  template <class Scale>
  cublasStatus_t run(const Context& context, const Product& product, const Algorithm& algorithm,
                     const Operands& operands) const {
    const Scale one = 1;
    const Scale kept = operands.adds ? 1 : 0;
    return cublasLtMatmul(handle_, product.operation.get(), &one, operands.b, product.left.get(),
                          operands.a, product.right.get(), &kept, operands.added, product.added(),
                          operands.out, product.result.get(), &algorithm.value, memory_.data(),
                          kWorkspaceBytes, static_cast<cudaStream_t>(context.stream.handle));
  }

  cublasLtHandle_t handle_ = nullptr;
  Buffer memory_;
  std::mutex mutex_;
  std::map<Key, Algorithm> algorithms_;
};

}  // namespace

void matmul(const Context& context, const Tensor& a, const Tensor& b, const Tensor& out,
            const MatmulOptions& options) {
  if (context.arena.is_plan()) return;
  Library::of(context.device().index).multiply(context, a, b, out, options);
}

bool bf16_matmul_is_native() {
  return true;
}

}  // namespace gda::cuda

#include "gda/report/peak_flops.h"

#include <fmt/format.h>
#include <omp.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <exception>
#include <optional>
#include <thread>

#include "gda/core/stream.h"
#include "gda/ops/elementwise.h"
#include "gda/ops/matmul.h"
#include "report/product_rate.h"

namespace gda {
namespace {

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// That this thread has had a processor for.
double thread_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Not of one value: chips that are short of power multiply zeros faster. A block of rows is made
// on the host, and repeated where the matrix is.
OwnedTensor varied_matrix(const Context& context, DType dtype, std::int64_t size) {
  constexpr std::int64_t kBlock = 1 << 20;
  OwnedTensor matrix(dtype, {size, size}, context.device());
  const std::int64_t rows = std::clamp<std::int64_t>(kBlock / size, 1, size);
  const OwnedTensor values(DType::f32, {rows, size}, context.device());
  fill_from_host(context.stream, values.tensor, [](const Tensor& host) {
    std::uint32_t state = 1;
    for (std::int64_t i = 0; i < host.elements(); ++i) {
      state = state * 1664525U + 1013904223U;  // Numerical Recipes, section 7.1
      host.data<float>()[i] = static_cast<float>(state >> 8) * 0x1p-24F - 0.5F;
    }
  });
  convert(context, values.tensor, matrix.tensor.rows(0, rows));
  for (std::int64_t done = rows; done < size; done *= 2) {
    const std::int64_t more = std::min(done, size - done);
    copy(context.stream, matrix.tensor.rows(0, more), matrix.tensor.rows(done, more));
  }
  synchronize(context.stream);
  return matrix;
}

// A matrix times itself, at any size.
ProductRate rate_in(const Context& context, DType compute, std::int64_t largest,
                    double (*work_clock)()) {
  OwnedTensor matrix;
  OwnedTensor out;
  return measure_product({.prepare =
                              [&](std::int64_t size) {
                                matrix = varied_matrix(context, compute, size);
                                out = OwnedTensor(compute, {size, size}, context.device());
                              },
                          .multiply =
                              [&] {
                                matmul(context, matrix.tensor, matrix.tensor, out.tensor);
                                synchronize(context.stream);
                              },
                          .wall_clock = wall_seconds,
                          .work_clock = work_clock,
                          .largest = largest});
}

// What of the processors `threads` threads of each process can have.
double share_of_processors(int threads, int processes) {
  const auto all = static_cast<double>(std::max(1U, std::thread::hardware_concurrency()));
  return std::min({1.0, static_cast<double>(omp_get_num_procs()) / threads,
                   all / (static_cast<double>(threads) * processes)});
}

// The mean: the quickest product of a thread is one whose neighbour on the same core was waiting.
double rate_of_threads(const Context& context, DType compute, int processes) {
  constexpr std::int64_t kLargest = 1024;
  const int threads = omp_get_max_threads();
  double rate = 0;
  std::exception_ptr fault;
#pragma omp parallel num_threads(threads) reduction(+ : rate)
  try {
    Arena arena;
    const Context own{.stream = context.stream, .arena = arena};
    rate += rate_in(own, compute, kLargest, thread_seconds).mean;
  } catch (...) {
#pragma omp critical(gda_product_fault)
    fault = std::current_exception();
  }
  if (fault) std::rethrow_exception(fault);
  return rate * share_of_processors(threads, processes);
}

}  // namespace

double measure_peak_flops(const Context& context, DType compute, int processes) {
  constexpr std::int64_t kLargest = 8192;
  if (context.device().type == DeviceType::cpu) return rate_of_threads(context, compute, processes);
  return rate_in(context, compute, kLargest, wall_seconds).best;
}

std::string Peak::origin() const {
  if (source == Source::measured) return "measured";
  return source == Source::given ? "logging.peak_tflops" : "data sheet, " + device;
}

std::string Peak::str() const {
  if (flops <= 0) return "not known";
  std::string text = fmt::format("{:.4g} TFLOP/s ({})", flops * 1e-12, origin());
  if (source != Source::measured && measured > 0) {
    text += fmt::format("; products measured at {:.4g}", measured * 1e-12);
  }
  return text;
}

std::string Peak::learn(double full, double causal, const std::function<double()>& again) {
  if (!std::isfinite(causal)) return {};
  if (measured > 0 && causal > measured) {
    measured = std::max({measured, causal, again ? again() : 0});
  }
  if (source == Source::measured) flops = measured;
  if (flops <= 0) return {};
  if (causal > flops && !told_beaten_) {
    told_beaten_ = true;
    return fmt::format(
        "a step did {:.4g} TFLOP/s, more than the peak of {}: MFU above 100 % is not told; {}",
        causal * 1e-12, str(),
        source == Source::given ? "give the peak of one rank, or null"
                                : "give logging.peak_tflops if this device does more");
  }
  if (full > flops && causal <= flops && !told_convention_) {
    told_convention_ = true;
    return fmt::format(
        "counted in full, a step did {:.4g} TFLOP/s, more than the peak of {}: half of the "
        "attention in that count is not computed. MFU above 100 % is not told; see the causal one",
        full * 1e-12, str());
  }
  return {};
}

}  // namespace gda

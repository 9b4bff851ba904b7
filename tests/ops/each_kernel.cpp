// Runs kernels of a training step once each and looks whether all they give is finite: small enough
// for compute-sanitizer, which watches every access, and with a length for a profiler.
//
//   gda_each_kernel managed            one operator on a kilobyte that host and GPU share
//   gda_each_kernel all [T [B]]        the tiled attention of every width, norms, loss, AdamW, ...
//   gda_each_kernel attention [T [B]]  attention alone, at the widths of large models first
//
// T 130 and B 1 where they are not given: more than one tile, and one that is not full. On a GPU,
// or on the device of GDA_TEST_DEVICE. Memory is the program's own (Buffer), none of it managed.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "gda/core/error.h"
#include "gda/ops/adamw.h"
#include "gda/ops/attention.h"
#include "gda/ops/differential.h"
#include "gda/ops/elementwise.h"
#include "gda/ops/embedding.h"
#include "gda/ops/gated_activation.h"
#include "gda/ops/linear_cross_entropy.h"
#include "gda/ops/muon.h"
#include "gda/ops/newton_schulz.h"
#include "gda/ops/rms_norm.h"
#include "support/device.h"

namespace gda::test {
namespace {

struct Bench {
  OwnedStream stream{test_device()};
  Arena arena{test_device(), std::size_t{1} << 20};
  Context context{.stream = stream.get(), .arena = arena};
  std::int64_t length = 130;
  std::int64_t batch = 1;
  std::vector<std::string> failures;

  std::int64_t rows() const { return batch * length; }

  // Numbers between -1 and 1, or above `low`.
  OwnedTensor numbers(DType dtype, Shape shape, float low = -1) const {
    OwnedTensor f32(DType::f32, shape, context.device());
    fill_from_host(context.stream, f32.tensor, [low](const Tensor& host) {
      for (std::int64_t i = 0; i < host.elements(); ++i) {
        const auto word = static_cast<std::uint32_t>(i + 1) * 2654435761U;  // multiplicative hash
        host.data<float>()[i] = low + static_cast<float>(word >> 8) * 0x1p-24F * (1 - low);
      }
    });
    if (dtype == DType::f32) return f32;
    OwnedTensor result(dtype, shape, context.device());
    convert(context, f32.tensor, result.tensor);
    synchronize(context.stream);
    return result;
  }
  OwnedTensor zeros(DType dtype, Shape shape) const {
    OwnedTensor result(dtype, shape, context.device());
    fill_zero(context, result.tensor);
    return result;
  }
  // An entry of a vocabulary for each row.
  OwnedTensor entries(std::int64_t vocabulary) const {
    OwnedTensor result(DType::i32, {rows()}, context.device());
    fill_from_host(context.stream, result.tensor, [vocabulary](const Tensor& host) {
      for (std::int64_t i = 0; i < host.elements(); ++i) {
        host.data<std::int32_t>()[i] = static_cast<std::int32_t>(i * 7919 % vocabulary);
      }
    });
    return result;
  }
  OwnedTensor empty(DType dtype, Shape shape) const { return {dtype, shape, context.device()}; }

  void expect_finite(const std::string& name, std::initializer_list<const OwnedTensor*> results) {
    bool finite = true;
    for (const OwnedTensor* result : results) {
      const HostCopy host(context.stream, result->tensor);
      const Tensor& x = host.tensor();
      for (std::int64_t i = 0; i < x.elements(); ++i) {
        const float value = x.dtype() == DType::f32 ? x.data<float>()[i]
                                                    : static_cast<float>(x.data<bfloat16>()[i]);
        finite = finite && std::isfinite(value);
      }
    }
    std::printf("%-40s %s\n", name.c_str(), finite ? "finite" : "NOT FINITE");
    std::fflush(stdout);
    if (!finite) failures.push_back(name);
  }
};

// `ratio` heads of signal and one of noise a group, which share a V of width 2d; or plain heads,
// two to a key.
AttentionShape attention_shape(const Bench& bench, std::int64_t d, std::int64_t value_dim,
                               int groups, int ratio) {
  const bool differential = value_dim != d;
  AttentionShape shape;
  shape.batch = bench.batch;
  shape.query_length = shape.key_length = bench.length;
  shape.head_dim = d;
  shape.value_dim = value_dim;
  shape.key_heads = differential ? 2 * groups : groups;
  shape.value_heads = groups;
  for (int group = 0; group < groups; ++group) {
    for (int p = 0; p <= ratio; ++p) {
      const int noise = p == ratio ? 1 : 0;
      shape.key_head.push_back(differential ? 2 * group + noise : group);
      shape.value_head.push_back(group);
    }
  }
  return shape;
}

void attention(Bench& bench, std::int64_t d, std::int64_t value_dim, int groups, int ratio) {
  const AttentionShape shape = attention_shape(bench, d, value_dim, groups, ratio);
  const auto numbers = [&](std::int64_t width) {
    return bench.numbers(DType::bf16, {bench.rows(), width});
  };
  const auto empty = [&](DType dtype, std::int64_t width) {
    return bench.empty(dtype, {bench.rows(), width});
  };
  const OwnedTensor q = numbers(shape.query_heads() * d);
  const OwnedTensor k = numbers(shape.key_heads * d);
  const OwnedTensor v = numbers(shape.value_heads * value_dim);
  const OwnedTensor dout = numbers(shape.query_heads() * value_dim);
  const OwnedTensor out = empty(DType::bf16, shape.query_heads() * value_dim);
  const OwnedTensor lse = empty(DType::f32, shape.query_heads());
  const OwnedTensor dq = empty(DType::bf16, shape.query_heads() * d);
  const OwnedTensor dk = empty(DType::bf16, shape.key_heads * d);
  const OwnedTensor dv = empty(DType::bf16, shape.value_heads * value_dim);
  const OwnedTensor max_logit = bench.zeros(DType::f32, {shape.query_heads()});
  attention_forward(bench.context, shape, q.tensor, k.tensor, v.tensor, {}, out.tensor, lse.tensor,
                    max_logit.tensor);
  attention_backward(bench.context, shape, q.tensor, k.tensor, v.tensor, {}, out.tensor, lse.tensor,
                     dout.tensor, dq.tensor, dk.tensor, dv.tensor);
  bench.expect_finite("attention d " + std::to_string(d) + " d_v " + std::to_string(value_dim),
                      {&out, &lse, &max_logit, &dq, &dk, &dv});
}

void norms(Bench& bench) {
  const Shape shape{bench.rows(), 768};
  const OwnedTensor x = bench.numbers(DType::bf16, shape);
  const OwnedTensor dy = bench.numbers(DType::bf16, shape);
  const OwnedTensor weight = bench.numbers(DType::f32, {768});
  const OwnedTensor y = bench.empty(DType::bf16, shape);
  const OwnedTensor dx = bench.numbers(DType::bf16, shape);
  const OwnedTensor rho = bench.empty(DType::f32, {bench.rows()});
  const OwnedTensor dweight = bench.zeros(DType::f32, {768});
  rms_norm_forward(bench.context, x.tensor, weight.tensor, 1e-5, y.tensor, rho.tensor);
  rms_norm_backward(bench.context, dy.tensor, x.tensor, weight.tensor, rho.tensor, dx.tensor,
                    dx.tensor, dweight.tensor);
  bench.expect_finite("rms_norm", {&y, &rho, &dx, &dweight});
}

void activation(Bench& bench) {
  const Shape shape{bench.rows(), 1024};
  const OwnedTensor gate = bench.numbers(DType::bf16, shape);
  const OwnedTensor up = bench.numbers(DType::bf16, shape);
  const OwnedTensor out = bench.empty(DType::bf16, shape);
  const OwnedTensor dgate = bench.empty(DType::bf16, shape);
  const OwnedTensor dup = bench.empty(DType::bf16, shape);
  swiglu_forward(bench.context, gate.tensor, up.tensor, out.tensor);
  swiglu_backward(bench.context, gate.tensor, up.tensor, out.tensor, dgate.tensor, dup.tensor);
  bench.expect_finite("swiglu", {&out, &dgate, &dup});
}

// The kernels of places that share units or a vocabulary; here the others have nothing to add.
void parts(Bench& bench) {
  const Shape shape{bench.rows(), 512};
  const auto nobody = [](const Tensor&) {};
  const UnitPart half{.total = 1024, .sum = nobody};
  const OwnedTensor gate = bench.numbers(DType::bf16, shape);
  const OwnedTensor up = bench.numbers(DType::bf16, shape);
  const OwnedTensor weight = bench.numbers(DType::f32, {3});
  const OwnedTensor bias = bench.numbers(DType::f32, {1});
  const OwnedTensor out = bench.empty(DType::bf16, shape);
  const OwnedTensor dgate = bench.empty(DType::bf16, shape);
  const OwnedTensor dup = bench.empty(DType::bf16, shape);
  const OwnedTensor dweight = bench.zeros(DType::f32, {3});
  const OwnedTensor dbias = bench.zeros(DType::f32, {1});
  poly_norm_forward(bench.context, gate.tensor, up.tensor, weight.tensor, bias.tensor, out.tensor,
                    {}, kPolyNormEps, half);
  poly_norm_backward(bench.context, gate.tensor, up.tensor, weight.tensor, bias.tensor, out.tensor,
                     dgate.tensor, dup.tensor, dweight.tensor, dbias.tensor, {}, kPolyNormEps,
                     half);
  bench.expect_finite("poly_norm of a part", {&out, &dgate, &dup, &dweight, &dbias});

  const VocabularyPart middle{.first = 300, .total = 1000};
  const OwnedTensor table = bench.numbers(DType::bf16, {400, 512});
  const OwnedTensor dtable = bench.zeros(DType::f32, {400, 512});
  const OwnedTensor losses = bench.empty(DType::f32, {bench.rows()});
  const OwnedTensor id = bench.entries(1000);
  embedding_forward(bench.context, id.tensor, table.tensor, out.tensor, middle);
  embedding_backward(bench.context, id.tensor, out.tensor, dtable.tensor, middle);
  linear_cross_entropy_forward_backward(
      bench.context, gate.tensor, table.tensor, id.tensor, 1, losses.tensor, dgate.tensor,
      dtable.tensor,
      {.vocabulary = middle, .maximum_over_parts = nobody, .sum_over_parts = nobody});
  bench.expect_finite("a part of a vocabulary", {&out, &losses, &dgate, &dtable});
}

void difference(Bench& bench) {
  const DifferentialShape shape{.noise_heads = 2, .ratio = 3, .value_dim = 256, .lambda_init = 0.2};
  const Shape heads{bench.rows(), shape.heads() * shape.value_dim};
  const Shape signals{bench.rows(), shape.signal_heads() * shape.value_dim};
  const OwnedTensor attended = bench.numbers(DType::bf16, heads);
  const OwnedTensor dy = bench.numbers(DType::bf16, signals);
  const OwnedTensor lambda = bench.numbers(DType::f32, {1}, 0);
  const OwnedTensor subln = bench.numbers(DType::f32, {shape.value_dim});
  const OwnedTensor y = bench.empty(DType::bf16, signals);
  const OwnedTensor rho = bench.empty(DType::f32, {bench.rows(), shape.signal_heads()});
  const OwnedTensor dattended = bench.empty(DType::bf16, heads);
  const OwnedTensor dsubln = bench.zeros(DType::f32, {shape.value_dim});
  const OwnedTensor dlambda = bench.zeros(DType::f32, {1});
  const OwnedTensor delta = bench.empty(DType::f32, {bench.rows(), shape.heads()});
  differential_forward(bench.context, shape, attended.tensor, lambda.tensor, subln.tensor, y.tensor,
                       rho.tensor);
  differential_backward(bench.context, shape, attended.tensor, lambda.tensor, subln.tensor,
                        rho.tensor, dy.tensor, dattended.tensor, dsubln.tensor, dlambda.tensor,
                        delta.tensor);
  bench.expect_finite("differential", {&y, &rho, &dattended, &dsubln, &dlambda, &delta});
}

void loss(Bench& bench) {
  constexpr std::int64_t kVocabulary = 1000;
  const OwnedTensor x = bench.numbers(DType::bf16, {bench.rows(), 256});
  const OwnedTensor weight = bench.numbers(DType::bf16, {kVocabulary, 256});
  const OwnedTensor target = bench.entries(kVocabulary);
  const OwnedTensor losses = bench.empty(DType::f32, {bench.rows()});
  const OwnedTensor dx = bench.empty(DType::bf16, {bench.rows(), 256});
  const OwnedTensor dweight = bench.zeros(DType::f32, {kVocabulary, 256});
  linear_cross_entropy_forward_backward(bench.context, x.tensor, weight.tensor, target.tensor,
                                        1.0 / static_cast<double>(bench.rows()), losses.tensor,
                                        dx.tensor, dweight.tensor);
  bench.expect_finite("linear_cross_entropy", {&losses, &dx, &dweight});
}

void adamw(Bench& bench) {
  const Shape shape{100003};  // whole vectors and a rest
  const OwnedTensor gradient = bench.numbers(DType::f32, shape);
  const OwnedTensor master = bench.numbers(DType::f32, shape);
  const OwnedTensor m = bench.zeros(DType::f32, shape);
  const OwnedTensor v = bench.zeros(DType::f32, shape);
  const OwnedTensor copy = bench.empty(DType::bf16, shape);
  adamw_update(bench.context, {.lr = 1e-3, .weight_decay = 0.1}, gradient.tensor, master.tensor,
               m.tensor, v.tensor, copy.tensor);
  bench.expect_finite("adamw", {&master, &m, &v, &copy});
}

void muon(Bench& bench) {
  const Shape shape{257, 129};
  const Shape flat{shape.elements()};
  const OwnedTensor gradient = bench.numbers(DType::f32, flat);
  const OwnedTensor momentum = bench.zeros(DType::f32, flat);
  const OwnedTensor master = bench.numbers(DType::f32, flat);
  const OwnedTensor factors = bench.numbers(DType::f32, {shape[0]}, 0);
  const OwnedTensor x = bench.empty(DType::bf16, shape);
  const OwnedTensor copy = bench.empty(DType::bf16, flat);
  momentum_update(bench.context, 0.95, 1, gradient.tensor, momentum.tensor);
  newton_schulz(bench.context, gradient.tensor.reshape(shape), x.tensor);
  apply_direction(bench.context, 1e-4, 1e-3, x.tensor.reshape(flat), master.tensor, copy.tensor);
  scale_rows(bench.context, factors.tensor, shape[1], 0, master.tensor, copy.tensor);
  bench.expect_finite("muon", {&gradient, &momentum, &x, &master, &copy});
}

void managed() {
  const TestTensor from(DType::f32, {256});
  const TestTensor to(DType::bf16, {256});
  for (int i = 0; i < 256; ++i) from.tensor.data<float>()[i] = static_cast<float>(i);
  const TestContext context;
  convert(context, from.tensor, to.tensor);
  wait_for(test_device());
  for (int i = 0; i < 256; ++i) {
    if (static_cast<float>(to.tensor.data<bfloat16>()[i]) != static_cast<float>(i)) {
      fail<Error>("managed memory: element {} of what the GPU wrote is another", i);
    }
  }
  std::printf("managed memory: the host reads what the GPU wrote\n");
}

void run(const std::string& what, Bench& bench) {
  if (what == "attention") {
    attention(bench, 128, 256, 4, 3);
    attention(bench, 128, 128, 8, 1);
    return;
  }
  for (const std::int64_t d : {64, 96, 128}) {
    attention(bench, d, 2 * d, 2, 3);
    attention(bench, d, d, 2, 1);
  }
  norms(bench);
  activation(bench);
  parts(bench);
  difference(bench);
  loss(bench);
  adamw(bench);
  muon(bench);
}

int main_of(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "all";
  if (what != "managed" && what != "all" && what != "attention") {
    std::fprintf(stderr, "usage: gda_each_kernel managed | all | attention [length [batch]]\n");
    return 2;
  }
  if (!std::getenv("GDA_TEST_DEVICE")) ::setenv("GDA_TEST_DEVICE", "cuda", 1);
  if (on_cuda() && cuda::device_count() == 0) fail<Error>("no CUDA device is there");
  if (what == "managed") {
    managed();
    return 0;
  }
  Bench bench;
  if (argc > 2) bench.length = std::atoll(argv[2]);
  if (argc > 3) bench.batch = std::atoll(argv[3]);
  if (bench.length < 1 || bench.batch < 1) fail<Error>("length and batch: expected 1 or more");
  run(what, bench);
  return bench.failures.empty() ? 0 : 1;
}

}  // namespace
}  // namespace gda::test

int main(int argc, char** argv) {
  try {
    return gda::test::main_of(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gda_each_kernel: error: %s\n", error.what());
    return 1;
  }
}

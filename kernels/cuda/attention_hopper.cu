#include "attention_hopper.h"

#include <cstdlib>
#include <map>
#include <mutex>
#include <string_view>

#include "attention_hopper_gradients.cuh"
#include "attention_hopper_launch.cuh"
#include "attention_tiled.h"
#include "core/device_runtime.h"

namespace gda::cuda::hopper {
namespace {

// wgmma is of this generation alone.
bool is_hopper(const Device& device) {
  // (asking a device takes longer than a launch)
  static std::mutex mutex;
  static std::map<int, bool> known;
  const std::lock_guard lock(mutex);
  const auto [place, is_new] = known.try_emplace(device.index, false);
  if (is_new) {
    const DeviceFacts facts = facts_of(device.index);
    place->second = facts.major == 9 && facts.minor == 0;
  }
  return place->second;
}

bool is_wanted() {
  static const bool wanted = [] {
    const char* name = std::getenv("GDA_ATTENTION");
    if (name == nullptr || *name == '\0') return true;
    require<ConfigError>(std::string_view(name) == "portable",
                         "GDA_ATTENTION={}: expected portable (no kernels of one generation of "
                         "GPUs), or the variable unset",
                         name);
    return false;
  }();
  return wanted;
}

}  // namespace

bool takes(const Context& context, const AttentionShape& shape, const Tensor& q, const Tensor& k,
           const Tensor& v, const Tensor& out) {
  const bool widths = shape.head_dim == 64 || shape.head_dim == 128;
  return widths && tiled::takes(shape, q, k, v, out) && is_wanted() && is_hopper(context.device());
}

dim3 row_grid(const Problem& p, std::int64_t batch) {
  int largest = 0;
  for (int pack = 0; pack < p.packs.count; ++pack) {
    largest = std::max(largest, p.packs.size(pack));
  }
  const std::int64_t rows = static_cast<std::int64_t>(p.length.queries) * largest;
  return {static_cast<unsigned>(p.packs.count * batch), blocks_for(rows, kRows), 1};
}

dim3 key_grid(const AttentionShape& shape, std::int64_t heads) {
  return {static_cast<unsigned>(heads * shape.batch), blocks_for(shape.key_length, kRows), 1};
}

void attention_backward(const Context& context, const ops::AttentionBackward& a) {
  const Problem p = tiled::problem_of(a.shape, a.q, a.k, a.v, a.first_key);
  const Gradients g{
      {a.dout.data<bfloat16>(), a.dout.row_stride()}, a.lse.data<float>(), a.delta.data<float>()};
  backward_queries(context, a.shape, p, g, a.dq);
  backward_keys(context, a.shape, p, g, a.dk);
  backward_values(context, a.shape, p, g, a.dv);
}

}  // namespace gda::cuda::hopper

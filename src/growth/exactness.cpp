#include "gda/growth/exactness.h"

#include <algorithm>
#include <cmath>

#include "gda/core/stream.h"
#include "gda/model/carried_state.h"
#include "gda/model/decoder.h"

namespace gda {
namespace {

OwnedTensor logits_of(const CheckpointReader& reader, std::span<const std::int32_t> tokens,
                      DType compute, Device device) {
  const ModelConfig& config = reader.config();
  const OwnedStream stream(device);
  ParameterStore parameters(parameter_specs(config), compute, 1, false, device);
  for (const Parameter& parameter : parameters.all()) {
    fill_from_host(stream.get(), parameter.value, [&](const Tensor& host) {
      const Tensor flat = host.reshape({host.elements()});
      if (reader.has_state(kMasterState)) {
        reader.read_piece(kMasterState, parameter.spec.name, 0, flat);
      } else {
        reader.read_range(parameter.spec.name, 0, flat);
      }
    });
  }
  Decoder decoder(config, parameters);
  decoder.set_growth_at(reader.growth(), reader.step());
  const auto length = static_cast<std::int64_t>(tokens.size());
  const OwnedTensor token(DType::i32, {length}, device);
  fill_from_host(stream.get(), token.tensor, [&](const Tensor& host) {
    std::copy(tokens.begin(), tokens.end(), host.data<std::int32_t>());
  });
  const Shape shape{length, config.vocab_size};
  const OwnedTensor logits(decoder.statistics_type(), shape, device);
  Arena arena(device);
  const Context context{stream.get(), arena};
  decoder.forward_logits(context, single_document(context, token.tensor), logits.tensor);
  OwnedTensor host(decoder.statistics_type(), shape);
  copy(stream.get(), logits.tensor, host.tensor);
  return host;
}

template <class T>
Exactness compare(const Tensor& before, const Tensor& after) {
  Exactness result;
  for (std::int64_t i = 0; i < before.elements(); ++i) {
    const double x = before.data<T>()[i];
    const double y = after.data<T>()[i];
    const double difference = std::abs(x - y);
    result.largest_difference = std::max(result.largest_difference, difference);
    if (std::isnan(difference)) return {.largest_logit = x, .largest_difference = difference};
    result.largest_logit = std::max(result.largest_logit, std::abs(x));
  }
  return result;
}

}  // namespace

Exactness compare_logits(const CheckpointReader& before, const CheckpointReader& after,
                         std::span<const std::int32_t> tokens, DType compute, Device device) {
  const OwnedTensor x = logits_of(before, tokens, compute, device);
  const OwnedTensor y = logits_of(after, tokens, compute, device);
  Exactness result = compute == DType::f64 ? compare<double>(x.tensor, y.tensor)
                                           : compare<float>(x.tensor, y.tensor);
  result.tokens = static_cast<std::int64_t>(tokens.size());
  return result;
}

}  // namespace gda

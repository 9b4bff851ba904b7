// config.json of a Hugging Face model folder, to and from ModelConfig.
//
//   attention              architectures            keys of the heads
//   softmax                LlamaForCausalLM         num_attention_heads, num_key_value_heads
//   (grouped_)differential MotifForCausalLM         num_attention_heads = signal + noise heads,
//                                                   num_noise_heads, num_key_value_heads, k_ratio 1
//   differential_v2, and   GdaForCausalLM           num_attention_heads, num_key_value_heads
//   softmax with poly_norm
//
// What these architectures have no key for is kept: `lambda_init` holds lambda_init of every layer,
// and `gda` the attention type and what else a reader of Hugging Face's does not need.
#pragma once

#include <string>
#include <string_view>

#include "gda/core/dtype.h"
#include "gda/model/model_config.h"

namespace gda {

// The text of config.json; `stored` is the type of the matrices in the model files. The keys are
// those that transformers 4 writes and transformers 5 reads too.
std::string to_hugging_face_config(const ModelConfig& config, DType stored);

// The inverse, exact for what to_hugging_face_config wrote; also reads configurations of Llama and
// Motif models as transformers 4 and 5 write them. A Motif configuration without `lambda_init`
// means Motif's own values, 0.8 - 0.6 exp(-0.3 (l - 1)), l from 0. Throws FormatError, naming
// `origin`, for an architecture or an option that gda does not have, and for missing keys.
ModelConfig read_hugging_face_config(std::string_view text, std::string_view origin);

}  // namespace gda

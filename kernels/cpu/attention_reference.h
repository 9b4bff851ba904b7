// Attention in f64, straight from the formula: what every other implementation is judged by.
#pragma once

#include "ops/attention_kernels.h"

namespace gda::cpu::reference {

void attention_forward(const Context& context, const ops::AttentionForward& a);
void attention_backward(const Context& context, const ops::AttentionBackward& a);

}  // namespace gda::cpu::reference

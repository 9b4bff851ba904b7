// Token embedding: y_n = table[token_n]. Where places share the table (vocabulary_part.h), each
// does its rows' share: the sum of all y is the embedding.
#pragma once

#include "gda/ops/context.h"
#include "gda/ops/vocabulary_part.h"

namespace gda {

// token [N] i32, each in [0, V), else OpError that names the position and the id (on a GPU, which
// is not waited for: y_n is NaN, and backward leaves dy_n out); table [V, D] and y [N, D] compute.
// Of a part, table and dtable have its rows, and V is its total; y_n is 0 where another place has
// the row of token_n.
void embedding_forward(const Context& context, const Tensor& token, const Tensor& table,
                       const Tensor& y, VocabularyPart part = {});

// dtable[token_n] += dy_n; the order of additions is that of n, whatever the number of threads.
// dtable [V, D] accumulate. Tokens whose rows another place has are left out.
void embedding_backward(const Context& context, const Tensor& token, const Tensor& dy,
                        const Tensor& dtable, VocabularyPart part = {});

}  // namespace gda

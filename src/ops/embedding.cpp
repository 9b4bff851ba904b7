#include "gda/ops/embedding.h"

#include "ops/backend.h"
#include "ops/dispatch.h"

namespace gda {
namespace {

// `rows` [N, D] of type `dtype` belong to `token` [N], `table` is [V, D].
void check(std::string_view op, const Context& context, const Tensor& token, const Tensor& table,
           std::string_view table_name, const Tensor& rows, std::string_view rows_name) {
  require<OpError>(token.rank() == 1 && table.rank() == 2,
                   "[{}] expected token of rank 1 and {} of rank 2, got {} and {}", op, table_name,
                   token.str(), table.str());
  ops::check_tensor(op, "token", token, DType::i32, token.shape(), context);
  ops::check_tensor(op, rows_name, rows, rows.dtype(), Shape{token.dim(0), table.dim(1)}, context);
}

}  // namespace

void embedding_forward(const Context& context, const Tensor& token, const Tensor& table,
                       const Tensor& y, VocabularyPart part) {
  constexpr const char* kOp = "embedding_forward";
  check(kOp, context, token, table, "table", y, "y");
  ops::check_compute_type(kOp, y);
  ops::check_tensor(kOp, "table", table, y.dtype(), table.shape(), context);
  ops::backend(context.device())
      .embedding_forward(context, token, table, y,
                         ops::checked_part(kOp, part, "table", table.dim(0)));
}

void embedding_backward(const Context& context, const Tensor& token, const Tensor& dy,
                        const Tensor& dtable, VocabularyPart part) {
  constexpr const char* kOp = "embedding_backward";
  check(kOp, context, token, dtable, "dtable", dy, "dy");
  ops::check_compute_type(kOp, dy);
  ops::check_tensor(kOp, "dtable", dtable, accumulate_type(dy.dtype()), dtable.shape(), context);
  ops::backend(context.device())
      .embedding_backward(context, token, dy, dtable,
                          ops::checked_part(kOp, part, "dtable", dtable.dim(0)));
}

}  // namespace gda

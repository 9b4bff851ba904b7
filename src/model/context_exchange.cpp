#include "model/context_exchange.h"

#include <cstddef>

#include "gda/ops/elementwise.h"

namespace gda {
namespace {

Tensor flattened(const Tensor& x) {
  return x.reshape({x.elements()});
}

// Rows of `columns` numbers that lie `stride` apart, the first `offset` behind the tensor's.
Tensor strided(const Tensor& x, std::int64_t offset, std::int64_t rows, std::int64_t columns,
               std::int64_t stride) {
  auto* begin = static_cast<std::byte*>(x.raw());
  if (begin != nullptr) begin += static_cast<std::size_t>(offset) * size_of(x.dtype());
  return {begin, x.dtype(), {rows, columns}, stride, x.device()};
}

}  // namespace

template <class Visit>
void ContextExchange::for_each_stretch(std::int64_t batch, const Tensor& parts, const Tensor& whole,
                                       const Visit& visit) const {
  const std::int64_t width = whole.dim(1);
  const std::int64_t length = whole.dim(0) / batch;
  std::int64_t row = 0;  // of the parts
  for (int rank = 0; rank < cut_.size; ++rank) {
    const ContextCut of_rank{.rank = rank, .size = cut_.size, .method = cut_.method};
    for (const IndexRange& tokens : of_rank.token_ranges(length)) {
      const std::int64_t columns = tokens.size() * width;
      visit(strided(parts, row * width, batch, columns, columns),
            strided(whole, tokens.begin * width, batch, columns, length * width));
      row += batch * tokens.size();
    }
  }
}

template <class Visit>
void ContextExchange::for_each_piece(const std::vector<std::int64_t>& widths,
                                     const Tensor& by_token, const Tensor& parts,
                                     const Visit& visit) const {
  const std::int64_t rows = by_token.dim(0);
  std::int64_t begin = 0;  // of the piece
  for (const std::int64_t width : widths) {
    const std::int64_t share = width / cut_.size;
    for (int rank = 0; rank < cut_.size; ++rank) {
      visit(by_token.columns(begin + rank * share, share),
            parts.rows(rank * rows, rows).columns(begin / cut_.size, share));
    }
    begin += width;
  }
}

// Parts lie rank by rank; for one sequence that is the order of its tokens.
void ContextExchange::to_heads(const Context& context, std::int64_t batch,
                               const std::vector<std::int64_t>& widths, const Tensor& by_token,
                               const Tensor& by_head) const {
  const ArenaScope scope(context.arena);
  const Tensor sent = context.arena.allocate(by_head.dtype(), by_head.shape());
  for_each_piece(widths, by_token, sent, [&](const Tensor& columns, const Tensor& part) {
    convert(context, columns, part);
  });
  const Tensor came =
      batch == 1 ? by_head : context.arena.allocate(by_head.dtype(), by_head.shape());
  if (!context.arena.is_plan()) group_->all_to_all(flattened(sent), flattened(came)).wait();
  if (batch == 1) return;
  for_each_stretch(batch, came, by_head,
                   [&](const Tensor& part, const Tensor& rows) { convert(context, part, rows); });
}

void ContextExchange::to_tokens(const Context& context, std::int64_t batch,
                                const std::vector<std::int64_t>& widths, const Tensor& by_head,
                                const Tensor& by_token) const {
  const ArenaScope scope(context.arena);
  const Tensor came = context.arena.allocate(by_head.dtype(), by_head.shape());
  Tensor sent = by_head;
  if (batch > 1) {
    sent = context.arena.allocate(by_head.dtype(), by_head.shape());
    for_each_stretch(batch, sent, by_head,
                     [&](const Tensor& part, const Tensor& rows) { convert(context, rows, part); });
  }
  if (!context.arena.is_plan()) group_->all_to_all(flattened(sent), flattened(came)).wait();
  for_each_piece(widths, by_token, came, [&](const Tensor& columns, const Tensor& part) {
    convert(context, part, columns);
  });
}

ContextExchange::Gathering ContextExchange::start_gather(const Context& context,
                                                         const Tensor& rows) const {
  const Tensor sent = context.arena.allocate(rows.dtype(), rows.shape());
  convert(context, rows, sent);
  Gathering result{
      .parts = context.arena.allocate(rows.dtype(), {cut_.size * rows.dim(0), rows.dim(1)}),
      .pending = {}};
  if (!context.arena.is_plan()) {
    result.pending = group_->all_gather(flattened(sent), flattened(result.parts));
  }
  return result;
}

void ContextExchange::arrange(const Context& context, std::int64_t batch,
                              const Gathering& gathering, const Tensor& whole) const {
  gathering.pending.wait();
  for_each_stretch(batch, gathering.parts, whole,
                   [&](const Tensor& part, const Tensor& rows) { convert(context, part, rows); });
}

void ContextExchange::reduce_scatter(const Context& context, std::int64_t batch,
                                     const Tensor& whole, const Tensor& rows) const {
  const ArenaScope scope(context.arena);
  const Tensor parts = context.arena.allocate(whole.dtype(), whole.shape());
  for_each_stretch(batch, parts, whole,
                   [&](const Tensor& part, const Tensor& from) { convert(context, from, part); });
  const Tensor sum = context.arena.allocate(rows.dtype(), rows.shape());
  if (!context.arena.is_plan()) group_->reduce_scatter(flattened(parts), flattened(sum)).wait();
  convert(context, sum, rows);
}

}  // namespace gda

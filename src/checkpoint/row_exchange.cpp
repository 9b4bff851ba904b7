#include "checkpoint/row_exchange.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "gda/core/error.h"
#include "gda/core/text.h"

namespace gda::checkpoint_internal {

std::vector<RowBlock> row_blocks(std::size_t parameter, const ParameterSource& source,
                                 const std::vector<HeldBox>& givers, std::size_t block_bytes) {
  std::set<std::int64_t> borders;
  for (const HeldBox& box : givers) borders.insert({box.region.rows.begin, box.region.rows.end});
  const std::int64_t width = Region::whole(source.shape).columns.size();
  const std::size_t row_bytes = static_cast<std::size_t>(width) * size_of(source.dtype);
  const auto rows = static_cast<std::int64_t>(std::max<std::size_t>(1, block_bytes / row_bytes));
  std::vector<RowBlock> blocks;
  for (auto border = borders.begin(); std::next(border) != borders.end(); ++border) {
    const IndexRange band{*border, *std::next(border)};
    std::vector<HeldBox> parts;
    for (const HeldBox& box : givers) {
      if (intersection(box.region.rows, band) == band) parts.push_back(box);
    }
    std::ranges::sort(parts, {}, [](const HeldBox& box) { return box.region.columns.begin; });
    for (std::int64_t row = band.begin; row < band.end; row += rows) {
      blocks.push_back({parameter, {row, std::min(row + rows, band.end)}, parts});
    }
  }
  return blocks;
}

RowExchange::RowExchange(Communicator& group, std::vector<ParameterSource> parameters,
                         const std::vector<std::vector<RowBlock>>& lanes)
    : group_(group), parameters_(std::move(parameters)) {
  std::size_t longest = 0;
  for (const auto& lane : lanes) longest = std::max(longest, lane.size());
  for (std::size_t k = 0; k < longest; ++k) {
    for (std::size_t writer = 0; writer < lanes.size(); ++writer) {
      if (k >= lanes[writer].size()) continue;
      const RowBlock& block = lanes[writer][k];
      const int to = static_cast<int>(writer);
      for (const HeldBox& part : block.parts) {
        const bool is_own = part.rank == group_.rank() || to == group_.rank();
        if (part.rank == to || !is_own) continue;
        messages_.push_back({block.parameter, {block.rows, part.region.columns}, part.rank, to});
      }
    }
  }
}

std::size_t RowExchange::bytes_of(const Message& message) const {
  return static_cast<std::size_t>(message.region.elements()) *
         size_of(parameters_[message.parameter].dtype);
}

Tensor RowExchange::tensor_over(std::vector<std::byte>& bytes, const Message& message) const {
  bytes.resize(std::max(bytes.size(), bytes_of(message)));
  return {bytes.data(), parameters_[message.parameter].dtype, {message.region.elements()}};
}

void RowExchange::collect(std::size_t parameter, const Region& region,
                          std::span<std::byte> to) const {
  const ParameterSource& source = parameters_[parameter];
  const auto box = std::ranges::find_if(
      source.boxes, [&](const ParameterBox& own) { return own.region.contains(region); });
  require<Error>(box != source.boxes.end(), "[checkpoint] {} of {} are not here", region.str(),
                 source.name);
  std::size_t filled = 0;
  box->produce(region.rows, [&](std::span<const std::byte> bytes) {
    require<FormatError>(bytes.size() <= to.size() - filled,
                         "the source of tensor {} gave more than the {} of {}", source.name,
                         counted(to.size(), "byte"), region.str());
    std::memcpy(to.data() + filled, bytes.data(), bytes.size());
    filled += bytes.size();
  });
  require<FormatError>(filled == to.size(), "the source of tensor {} gave {} of the {} of {}",
                       source.name, filled, counted(to.size(), "byte"), region.str());
}

void RowExchange::send(const Message& message) {
  Outgoing& outgoing = outgoing_[turn_++ % outgoing_.size()];
  outgoing.sent.wait();
  const Tensor data = tensor_over(outgoing.bytes, message);
  if (!error_) {
    try {
      collect(message.parameter, message.region, std::span(outgoing.bytes).first(data.bytes()));
    } catch (...) {
      error_ = std::current_exception();
    }
  }
  outgoing.sent = group_.send(data, message.to);
}

void RowExchange::send_until_next_receipt() {
  for (; next_ < messages_.size() && messages_[next_].from == group_.rank(); ++next_) {
    send(messages_[next_]);
  }
}

Tensor RowExchange::receive() {
  Tensor data = tensor_over(incoming_, messages_[next_]);
  group_.receive(data, messages_[next_].from).wait();
  ++next_;
  return data;
}

void RowExchange::assemble(const RowBlock& block, const ByteSink& sink) {
  const ParameterSource& source = parameters_[block.parameter];
  const std::size_t element = size_of(source.dtype);
  const auto rows = static_cast<std::size_t>(block.rows.size());
  const std::size_t row_bytes =
      static_cast<std::size_t>(Region::whole(source.shape).columns.size()) * element;
  std::vector<std::byte> whole(rows * row_bytes);
  std::vector<std::byte> part_bytes;
  for (const HeldBox& part : block.parts) {
    const Region region{block.rows, part.region.columns};
    const std::size_t width = static_cast<std::size_t>(region.columns.size()) * element;
    const std::byte* from = nullptr;
    if (part.rank == group_.rank()) {
      part_bytes.resize(rows * width);
      collect(block.parameter, region, part_bytes);
      from = part_bytes.data();
    } else {
      send_until_next_receipt();
      require<Error>(next_ < messages_.size() && messages_[next_].region == region &&
                         messages_[next_].parameter == block.parameter,
                     "[checkpoint] {} of {} are written out of turn", region.str(), source.name);
      from = static_cast<const std::byte*>(receive().raw());
    }
    std::byte* to = whole.data() + static_cast<std::size_t>(region.columns.begin) * element;
    for (std::size_t row = 0; row < rows; ++row) {
      std::memcpy(to + row * row_bytes, from + row * width, width);
    }
  }
  sink(whole);
}

std::exception_ptr RowExchange::finish() {
  while (next_ < messages_.size()) {
    send_until_next_receipt();
    if (next_ < messages_.size()) receive();
  }
  for (const Outgoing& outgoing : outgoing_) outgoing.sent.wait();
  return error_;
}

}  // namespace gda::checkpoint_internal

#include "dist/operation.h"

#include <fmt/format.h>

#include "gda/core/text.h"

namespace gda {

std::string describe(const OperationInfo& info) {
  const bool message = info.kind == OperationInfo::Kind::message;
  const std::string group = info.group.empty() ? "" : fmt::format(" of the {} group", info.group);
  const std::string step =
      info.step < 0 ? "before the first step" : fmt::format("step {}", info.step);
  return fmt::format("{} ({}, {} {}{}, {})", info.what, counted(info.bytes, "byte"),
                     message ? "message" : "operation", info.number, group, step);
}

std::string describe_message(const Communicator& group, const Tensor& send, int to,
                             const Tensor& receive, int from) {
  std::string text;
  if (to != kNobody) text = fmt::format("send {} to {}", send.str(), group.rank_name(to));
  if (from != kNobody) {
    text += fmt::format("{}receive {} from {}", text.empty() ? "" : ", ", receive.str(),
                        group.rank_name(from));
  }
  return text;
}

std::size_t message_bytes(const Tensor& send, int to, const Tensor& receive, int from) {
  return (to == kNobody ? 0 : send.bytes()) + (from == kNobody ? 0 : receive.bytes());
}

}  // namespace gda

// A group that leaves out one of its operations: every rank goes on with what it had of its own, as
// if the line that asks for the others' were missing.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gda/dist/communicator.h"

namespace gda::test {

// The operations that a rank has met, by names that all ranks of the operation give it, and the one
// that is left out.
class Omission {
 public:
  // Numbers operations from here on.
  void begin(std::string left_out = "") {
    left_out_ = std::move(left_out);
    met_.clear();
    numbers_.clear();
    is_on_ = true;
  }
  void end() { is_on_ = false; }
  const std::vector<std::string>& met() const { return met_; }

  // Of the next operation of that kind; true if it is the one.
  bool meets(const std::string& kind, const Tensor& tensor) {
    if (!is_on_) return false;
    met_.push_back(fmt::format("{} {}, {}", kind, ++numbers_[kind], tensor.str()));
    return met_.back() == left_out_;
  }

 private:
  bool is_on_ = false;
  std::string left_out_;
  std::vector<std::string> met_;
  std::map<std::string, int> numbers_;
};

class OmittingCommunicator final : public Communicator {
 public:
  using Communicator::all_reduce;
  using Communicator::broadcast;

  // Both outlive it. `name`: of the group. `spares_words`: single numbers, which go as i32 words
  // and by which ranks decide what they do together, stay.
  OmittingCommunicator(Communicator& group, Omission& omission, std::string name,
                       bool spares_words = false)
      : group_(&group), omission_(omission), name_(std::move(name)), spares_words_(spares_words) {}

  int rank() const override { return group_->rank(); }
  int size() const override { return group_->size(); }
  int world_rank(int rank) const override { return group_->world_rank(rank); }
  std::string rank_name(int rank) const override { return group_->rank_name(rank); }
  void set_rank_places(const std::vector<std::string>& places) override {
    group_->set_rank_places(places);
  }
  void set_step(std::int64_t step) override { group_->set_step(step); }

  Pending all_reduce(const Tensor& data, Reduction reduction) override {
    if (leaves_out(reduction == Reduction::sum ? "sum" : "extreme", data)) return {};
    return group_->all_reduce(data, reduction);
  }
  // The own part, unsummed.
  Pending reduce_scatter(const Tensor& from, const Tensor& to) override {
    if (!leaves_out("reduce_scatter", from)) return group_->reduce_scatter(from, to);
    std::memmove(to.raw(), part(from), to.bytes());
    return {};
  }
  // Zeros where the others' parts belong, as in the next two.
  Pending all_gather(const Tensor& from, const Tensor& to) override {
    if (!leaves_out("all_gather", to)) return group_->all_gather(from, to);
    const std::vector<std::byte> own = bytes_of(from.raw(), from.bytes());
    std::memset(to.raw(), 0, to.bytes());
    std::memcpy(part(to), own.data(), own.size());
    return {};
  }
  Pending all_to_all(const Tensor& from, const Tensor& to) override {
    if (!leaves_out("all_to_all", to)) return group_->all_to_all(from, to);
    std::memset(to.raw(), 0, to.bytes());
    std::memcpy(part(to), part(from), to.bytes() / static_cast<std::size_t>(size()));
    return {};
  }
  Pending send_receive(const Tensor& send, int to, const Tensor& receive, int from) override {
    const Pending message = group_->send_receive(send, to, receive, from);
    if (from == kNobody) return message;
    const std::string kind = fmt::format("message from {} to {}", from, rank());
    if (!leaves_out(kind, receive)) return message;
    return Pending(std::make_shared<Blank>(message, receive));
  }
  Pending broadcast(const Tensor& data, int root) override { return group_->broadcast(data, root); }

  std::unique_ptr<Communicator> split(int colour, const std::string& name) override {
    auto own = group_->split(colour, name);
    auto group = std::make_unique<OmittingCommunicator>(
        *own, omission_, fmt::format("{} of rank {}", name, own->world_rank(0)));
    group->own_ = std::move(own);
    return group;
  }

 private:
  // A message that arrives as zeros.
  class Blank final : public Pending::State {
   public:
    Blank(Pending message, const Tensor& data) : message_(std::move(message)), data_(data) {}
    void wait() override {
      if (!data_) return;
      message_.wait();
      std::memset(data_.raw(), 0, data_.bytes());
      data_ = {};
    }

   private:
    Pending message_;
    Tensor data_;
  };

  // Nothing is exchanged in a group of one.
  bool leaves_out(const std::string& operation, const Tensor& tensor) const {
    if (size() == 1 || (spares_words_ && tensor.dtype() == DType::i32)) return false;
    return omission_.meets(name_ + ": " + operation, tensor);
  }
  std::byte* part(const Tensor& whole) const {
    const std::size_t bytes = whole.bytes() / static_cast<std::size_t>(size());
    return static_cast<std::byte*>(whole.raw()) + bytes * static_cast<std::size_t>(rank());
  }
  static std::vector<std::byte> bytes_of(const void* data, std::size_t bytes) {
    const auto* first = static_cast<const std::byte*>(data);
    return {first, first + bytes};
  }

  Communicator* group_;
  std::unique_ptr<Communicator> own_;
  Omission& omission_;
  std::string name_;
  bool spares_words_;
};

}  // namespace gda::test

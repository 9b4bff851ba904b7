#include "dist/collectives.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "dist/reduce.h"
#include "gda/core/text.h"

namespace gda::dist {
namespace {

// The cut of n elements into one part a rank, as even as can be.
struct Parts {
  std::int64_t elements = 0;
  int size = 1;

  std::int64_t begin(int rank) const { return elements * rank / size; }
  std::int64_t count(int rank) const { return begin(rank + 1) - begin(rank); }
  std::int64_t largest() const { return (elements + size - 1) / size; }
};

std::byte* at(const Tensor& tensor, std::int64_t element) {
  return static_cast<std::byte*>(tensor.raw()) +
         static_cast<std::size_t>(element) * size_of(tensor.dtype());
}

// Sums the own part of `from` over ranks into `to`, a piece of every part in each round so that
// memory stays bounded.
class PartReduction {
 public:
  PartReduction(Group group, const Tensor& from, void* to, Reduction reduction,
                const TransferPolicy& policy)
      : group_(group),
        parts_{from.elements(), group.size},
        from_(from),
        to_(static_cast<std::byte*>(to)),
        reduction_(reduction) {
    const std::size_t item = size_of(from.dtype());
    const auto others = static_cast<std::size_t>(std::max(group.size - 1, 1));
    piece_ =
        static_cast<std::int64_t>(std::max<std::size_t>(policy.scratch_bytes / item / others, 1));
    piece_ = std::clamp<std::int64_t>(piece_, 1, std::max<std::int64_t>(parts_.largest(), 1));
    scratch_bytes_ = others * static_cast<std::size_t>(piece_) * item;
  }

  bool next_round(Transfers& transfers) {
    scratch_ = transfers.scratch(scratch_bytes_);
    if (next_ > 0) take_in(next_ - piece_);
    if (next_ >= parts_.largest()) return false;
    for (int i = 1; i < group_.size; ++i) {
      // Every rank begins with its neighbour, so that not all talk to rank 0 first.
      const int peer = (group_.rank + i) % group_.size;
      transfers.receive(slot(peer), bytes(group_.rank, next_), peer);
      transfers.send(at(from_, parts_.begin(peer) + next_), bytes(peer, next_), peer);
    }
    next_ += piece_;
    return true;
  }

 private:
  std::int64_t count(int rank, std::int64_t begin) const {
    return std::clamp<std::int64_t>(parts_.count(rank) - begin, 0, piece_);
  }
  std::size_t bytes(int rank, std::int64_t begin) const {
    return static_cast<std::size_t>(count(rank, begin)) * size_of(from_.dtype());
  }
  std::byte* slot(int peer) {
    const int index = peer < group_.rank ? peer : peer - 1;
    return scratch_ + static_cast<std::size_t>(index * piece_) * size_of(from_.dtype());
  }
  void take_in(std::int64_t begin) {
    std::vector<const void*> terms;
    terms.reserve(static_cast<std::size_t>(group_.size));
    for (int r = 0; r < group_.size; ++r) {
      terms.push_back(r == group_.rank ? at(from_, parts_.begin(r) + begin) : slot(r));
    }
    std::byte* place = to_ + static_cast<std::size_t>(begin) * size_of(from_.dtype());
    reduce_in_order(terms, place, count(group_.rank, begin), from_.dtype(), reduction_);
  }

  Group group_;
  Parts parts_;
  Tensor from_;
  std::byte* to_;
  Reduction reduction_;
  std::int64_t piece_ = 1;
  std::int64_t next_ = 0;
  std::size_t scratch_bytes_ = 0;
  std::byte* scratch_ = nullptr;
};

// Each rank's part of `whole`, in place, to every other rank.
void post_gather(Group group, const Tensor& whole, Transfers& transfers) {
  const Parts parts{whole.elements(), group.size};
  const std::size_t item = size_of(whole.dtype());
  const auto bytes = [&](int rank) { return static_cast<std::size_t>(parts.count(rank)) * item; };
  for (int i = 1; i < group.size; ++i) {
    const int peer = (group.rank + i) % group.size;
    transfers.receive(at(whole, parts.begin(peer)), bytes(peer), peer);
    transfers.send(at(whole, parts.begin(group.rank)), bytes(group.rank), peer);
  }
}

class ReduceScatter final : public Operation {
 public:
  ReduceScatter(Group group, const Tensor& from, const Tensor& to, const TransferPolicy& policy)
      : reduction_(group, from, to.raw(), Reduction::sum, policy) {}

  bool next_round(Transfers& transfers) override { return reduction_.next_round(transfers); }

 private:
  PartReduction reduction_;
};

class AllGather final : public Operation {
 public:
  AllGather(Group group, const Tensor& from, const Tensor& to)
      : group_(group), from_(from), to_(to) {}

  bool next_round(Transfers& transfers) override {
    if (posted_) return false;
    // Only now: an operation before this one may have had to fill `from`.
    std::byte* own = at(to_, from_.elements() * group_.rank);
    if (own != from_.raw() && from_.elements() > 0) std::memcpy(own, from_.raw(), from_.bytes());
    post_gather(group_, to_, transfers);
    return posted_ = true;
  }

 private:
  Group group_;
  Tensor from_;
  Tensor to_;
  bool posted_ = false;
};

// Reduce-scatter into the own part, then all-gather.
class AllReduce final : public Operation {
 public:
  AllReduce(Group group, const Tensor& data, Reduction reduction, const TransferPolicy& policy)
      : group_(group),
        data_(data),
        reduction_(group, data, at(data, Parts{data.elements(), group.size}.begin(group.rank)),
                   reduction, policy) {}

  bool next_round(Transfers& transfers) override {
    if (gathering_) return false;
    if (reduction_.next_round(transfers)) return true;
    post_gather(group_, data_, transfers);
    return gathering_ = true;
  }

 private:
  Group group_;
  Tensor data_;
  PartReduction reduction_;
  bool gathering_ = false;
};

// Everything to everyone: one round for small data.
class DirectAllReduce final : public Operation {
 public:
  DirectAllReduce(Group group, const Tensor& data, Reduction reduction)
      : group_(group), data_(data), reduction_(reduction) {}

  bool next_round(Transfers& transfers) override {
    if (posted_) {
      std::vector<const void*> terms;
      terms.reserve(static_cast<std::size_t>(group_.size));
      for (int r = 0; r < group_.size; ++r) {
        terms.push_back(r == group_.rank ? data_.raw() : slot(r));
      }
      reduce_in_order(terms, data_.raw(), data_.elements(), data_.dtype(), reduction_);
      return false;
    }
    scratch_ = transfers.scratch(data_.bytes() * static_cast<std::size_t>(group_.size));
    for (int i = 1; i < group_.size; ++i) {
      const int peer = (group_.rank + i) % group_.size;
      transfers.receive(slot(peer), data_.bytes(), peer);
      transfers.send(data_.raw(), data_.bytes(), peer);
    }
    return posted_ = true;
  }

 private:
  std::byte* slot(int rank) { return scratch_ + static_cast<std::size_t>(rank) * data_.bytes(); }

  Group group_;
  Tensor data_;
  Reduction reduction_;
  std::byte* scratch_ = nullptr;
  bool posted_ = false;
};

// Down a binomial tree: rank v (counted from the root) receives from v without its lowest set bit,
// and sends to v + 2^k for each 2^k below that bit.
class Broadcast final : public Operation {
 public:
  Broadcast(Group group, const Tensor& data, int root) : group_(group), data_(data), root_(root) {}

  bool next_round(Transfers& transfers) override {
    const int place = (group_.rank - root_ + group_.size) % group_.size;
    const int lowest = place == 0 ? group_.size : place & -place;
    switch (round_++) {
      case 0:
        if (place != 0) transfers.receive(data_.raw(), data_.bytes(), actual(place - lowest));
        return true;
      case 1:
        for (int step = 1; step < lowest && place + step < group_.size; step *= 2) {
          transfers.send(data_.raw(), data_.bytes(), actual(place + step));
        }
        return true;
      default:
        return false;
    }
  }

 private:
  int actual(int place) const { return (place + root_) % group_.size; }

  Group group_;
  Tensor data_;
  int root_;
  int round_ = 0;
};

class AllToAll final : public Operation {
 public:
  AllToAll(Group group, const Tensor& from, const Tensor& to)
      : group_(group), from_(from), to_(to) {}

  bool next_round(Transfers& transfers) override {
    if (posted_) return false;
    const std::int64_t part = from_.elements() / group_.size;
    const std::size_t bytes = static_cast<std::size_t>(part) * size_of(from_.dtype());
    if (bytes > 0) {
      std::memcpy(at(to_, part * group_.rank), at(from_, part * group_.rank), bytes);
    }
    for (int i = 1; i < group_.size; ++i) {
      // In round i of a ring every rank has one to send to and another to receive from.
      const int to = (group_.rank + i) % group_.size;
      const int from = (group_.rank + group_.size - i) % group_.size;
      transfers.receive(at(to_, part * from), bytes, from);
      transfers.send(at(from_, part * to), bytes, to);
    }
    return posted_ = true;
  }

 private:
  Group group_;
  Tensor from_;
  Tensor to_;
  bool posted_ = false;
};

// The length of a message goes before it, and the receiver compares.
class SendReceive final : public Operation {
 public:
  SendReceive(const Tensor& send, int to, const Tensor& receive, int from)
      : send_(send), to_(to), receive_(receive), from_(from) {}

  bool next_round(Transfers& transfers) override {
    switch (round_++) {
      case 0:
        if (from_ != kNobody) transfers.receive(&awaited_, sizeof awaited_, from_);
        if (to_ != kNobody) {
          sent_ = send_.bytes();
          transfers.send(&sent_, sizeof sent_, to_);
        }
        return true;
      case 1:
        if (from_ != kNobody) {
          require<MessageError>(awaited_ == receive_.bytes(), "{} sends {} and not {}",
                                transfers.name(from_), counted(awaited_, "byte"), receive_.bytes());
          transfers.receive(receive_.raw(), receive_.bytes(), from_);
        }
        if (to_ != kNobody) transfers.send(send_.raw(), send_.bytes(), to_);
        return true;
      default:
        return false;
    }
  }

 private:
  Tensor send_;
  int to_;
  Tensor receive_;
  int from_;
  std::uint64_t sent_ = 0;
  std::uint64_t awaited_ = 0;
  int round_ = 0;
};

}  // namespace

std::unique_ptr<Operation> make_all_reduce(Group group, const Tensor& data, Reduction reduction,
                                           const TransferPolicy& policy) {
  if (data.bytes() <= policy.direct_bytes) {
    return std::make_unique<DirectAllReduce>(group, data, reduction);
  }
  return std::make_unique<AllReduce>(group, data, reduction, policy);
}

std::unique_ptr<Operation> make_reduce_scatter(Group group, const Tensor& from, const Tensor& to,
                                               const TransferPolicy& policy) {
  return std::make_unique<ReduceScatter>(group, from, to, policy);
}

std::unique_ptr<Operation> make_all_gather(Group group, const Tensor& from, const Tensor& to) {
  return std::make_unique<AllGather>(group, from, to);
}

std::unique_ptr<Operation> make_broadcast(Group group, const Tensor& data, int root) {
  return std::make_unique<Broadcast>(group, data, root);
}

std::unique_ptr<Operation> make_all_to_all(Group group, const Tensor& from, const Tensor& to) {
  return std::make_unique<AllToAll>(group, from, to);
}

std::unique_ptr<Operation> make_send_receive(const Tensor& send, int to, const Tensor& receive,
                                             int from) {
  return std::make_unique<SendReceive>(send, to, receive, from);
}

}  // namespace gda::dist

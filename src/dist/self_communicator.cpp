#include <cstring>

#include "dist/validate.h"
#include "gda/dist/communicator.h"

namespace gda {
namespace {

void copy(const Tensor& from, const Tensor& to) {
  if (from.raw() != to.raw() && from.elements() > 0) {
    std::memcpy(to.raw(), from.raw(), from.bytes());
  }
}

// What a group of one process does: reductions of one value are that value.
class SelfCommunicator final : public Communicator {
 public:
  using Communicator::all_reduce;
  using Communicator::broadcast;

  int rank() const override { return 0; }
  int size() const override { return 1; }
  int world_rank(int /*rank*/) const override { return 0; }

  Pending all_reduce(const Tensor& data, Reduction /*reduction*/) override {
    dist::validate_on_host("all_reduce", data);
    dist::validate_all_reduce(data);
    return {};
  }
  Pending reduce_scatter(const Tensor& from, const Tensor& to) override {
    dist::validate_on_host("reduce_scatter", from);
    dist::validate_on_host("reduce_scatter", to);
    dist::validate_reduce_scatter(from, to, rank(), size());
    copy(from, to);
    return {};
  }
  Pending all_gather(const Tensor& from, const Tensor& to) override {
    dist::validate_on_host("all_gather", from);
    dist::validate_on_host("all_gather", to);
    dist::validate_all_gather(from, to, rank(), size());
    copy(from, to);
    return {};
  }
  Pending broadcast(const Tensor& data, int root) override {
    dist::validate_on_host("broadcast", data);
    dist::validate_broadcast(data, root, size());
    return {};
  }
  Pending all_to_all(const Tensor& from, const Tensor& to) override {
    dist::validate_on_host("all_to_all", from);
    dist::validate_on_host("all_to_all", to);
    dist::validate_all_to_all(from, to, size());
    copy(from, to);
    return {};
  }
  Pending send_receive(const Tensor& send, int to, const Tensor& receive, int from) override {
    dist::validate_on_host("send_receive", send);
    dist::validate_on_host("send_receive", receive);
    dist::validate_send_receive(send, to, receive, from, rank(), size());
    if (to == rank()) copy(send, receive);
    return {};
  }
  std::unique_ptr<Communicator> split(int colour, const std::string& /*name*/) override {
    dist::validate_split(colour);
    return make_self_communicator();
  }
  void set_step(std::int64_t /*step*/) override {}
};

}  // namespace

std::unique_ptr<Communicator> make_self_communicator() {
  return std::make_unique<SelfCommunicator>();
}

}  // namespace gda

#include "dist/mpi_communicator.h"

#include <fmt/format.h>

#include <future>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dist/collectives.h"
#include "dist/validate.h"

namespace gda::dist {
namespace {

class PendingOperation final : public Pending::State {
 public:
  explicit PendingOperation(std::shared_future<void> done) : done_(std::move(done)) {}
  void wait() override { done_.get(); }

 private:
  std::shared_future<void> done_;
};

// What all groups of a process share.
struct Process {
  std::shared_ptr<MpiThread> thread;
  std::chrono::seconds timeout;
  TransferPolicy policy;
  std::int64_t step = -1;
};

class MpiCommunicator final : public Communicator {
 public:
  using Communicator::all_reduce;
  using Communicator::broadcast;

  MpiCommunicator(std::shared_ptr<Process> process, std::shared_ptr<MpiGroup> group)
      : process_(std::move(process)), group_(std::move(group)) {}

  int rank() const override { return group_->place.rank; }
  int size() const override { return group_->place.size; }
  int world_rank(int rank) const override {
    return group_->world_ranks.at(static_cast<std::size_t>(rank));
  }
  std::string rank_name(int rank) const override {
    return process_->thread->names().name(world_rank(rank));
  }
  void set_rank_places(const std::vector<std::string>& places) override {
    process_->thread->names().set_places(places);
  }
  void set_step(std::int64_t step) override { process_->step = step; }

  Pending all_reduce(const Tensor& data, Reduction reduction) override {
    validate_on_host("all_reduce", data);
    validate_all_reduce(data);
    return submit("all_reduce", data,
                  make_all_reduce(group_->place, data, reduction, process_->policy));
  }
  Pending reduce_scatter(const Tensor& from, const Tensor& to) override {
    validate_on_host("reduce_scatter", from);
    validate_on_host("reduce_scatter", to);
    validate_reduce_scatter(from, to, rank(), size());
    return submit("reduce_scatter", from,
                  make_reduce_scatter(group_->place, from, to, process_->policy));
  }
  Pending all_gather(const Tensor& from, const Tensor& to) override {
    validate_on_host("all_gather", from);
    validate_on_host("all_gather", to);
    validate_all_gather(from, to, rank(), size());
    return submit("all_gather", to, make_all_gather(group_->place, from, to));
  }
  Pending broadcast(const Tensor& data, int root) override {
    validate_on_host("broadcast", data);
    validate_broadcast(data, root, size());
    return submit("broadcast", data, make_broadcast(group_->place, data, root));
  }

  Pending all_to_all(const Tensor& from, const Tensor& to) override {
    validate_on_host("all_to_all", from);
    validate_on_host("all_to_all", to);
    validate_all_to_all(from, to, size());
    return submit("all_to_all", from, make_all_to_all(group_->place, from, to));
  }
  Pending send_receive(const Tensor& send, int to, const Tensor& receive, int from) override {
    validate_on_host("send_receive", send);
    validate_on_host("send_receive", receive);
    validate_send_receive(send, to, receive, from, rank(), size());
    if (to == kNobody && from == kNobody) return {};
    return submit({.what = describe_message(*this, send, to, receive, from),
                   .bytes = message_bytes(send, to, receive, from),
                   .kind = OperationInfo::Kind::message},
                  make_send_receive(send, to, receive, from));
  }
  std::unique_ptr<Communicator> split(int colour, const std::string& name) override {
    validate_split(colour);
    auto group = std::make_shared<MpiGroup>();
    group->name = name;
    const std::size_t bytes = sizeof colour * static_cast<std::size_t>(size());
    submit({.what = "split into groups named " + name, .bytes = bytes},
           make_split(group_, colour, group))
        .wait();
    return std::make_unique<MpiCommunicator>(process_, std::move(group));
  }

 private:
  Pending submit(std::string_view name, const Tensor& whole, std::unique_ptr<Operation> operation) {
    return submit({.what = fmt::format("{} {}", name, whole.str()), .bytes = whole.bytes()},
                  std::move(operation));
  }
  Pending submit(OperationInfo info, std::unique_ptr<Operation> operation) {
    info.step = process_->step;
    return Pending(std::make_shared<PendingOperation>(
        process_->thread->submit(group_, std::move(operation), std::move(info),
                                 {process_->timeout, process_->policy.message_bytes})));
  }

  std::shared_ptr<Process> process_;
  std::shared_ptr<MpiGroup> group_;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(const std::shared_ptr<MpiThread>& thread,
                                                    std::chrono::seconds timeout,
                                                    const TransferPolicy& policy) {
  return std::make_unique<MpiCommunicator>(
      std::make_shared<Process>(Process{.thread = thread, .timeout = timeout, .policy = policy}),
      thread->world());
}

}  // namespace gda::dist

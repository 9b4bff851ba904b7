#include "dist/mpi_communicator.h"

#include <fmt/format.h>

#include <future>
#include <string>
#include <string_view>
#include <utility>

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

class MpiCommunicator final : public Communicator {
 public:
  using Communicator::all_reduce;
  using Communicator::broadcast;

  MpiCommunicator(std::shared_ptr<MpiThread> thread, std::chrono::seconds timeout,
                  const TransferPolicy& policy)
      : thread_(std::move(thread)), group_(thread_->group()), timeout_(timeout), policy_(policy) {}

  int rank() const override { return group_.rank; }
  int size() const override { return group_.size; }
  void set_step(std::int64_t step) override { step_ = step; }

  Pending all_reduce(const Tensor& data, Reduction reduction) override {
    validate_on_host("all_reduce", data);
    validate_all_reduce(data);
    return submit("all_reduce", data, make_all_reduce(group_, data, reduction, policy_));
  }
  Pending reduce_scatter(const Tensor& from, const Tensor& to) override {
    validate_on_host("reduce_scatter", from);
    validate_on_host("reduce_scatter", to);
    validate_reduce_scatter(from, to, group_.rank, group_.size);
    return submit("reduce_scatter", from, make_reduce_scatter(group_, from, to, policy_));
  }
  Pending all_gather(const Tensor& from, const Tensor& to) override {
    validate_on_host("all_gather", from);
    validate_on_host("all_gather", to);
    validate_all_gather(from, to, group_.rank, group_.size);
    return submit("all_gather", to, make_all_gather(group_, from, to));
  }
  Pending broadcast(const Tensor& data, int root) override {
    validate_on_host("broadcast", data);
    validate_broadcast(data, root, group_.size);
    return submit("broadcast", data, make_broadcast(group_, data, root));
  }

 private:
  Pending submit(std::string_view name, const Tensor& whole,
                 std::unique_ptr<Collective> collective) {
    OperationInfo info{fmt::format("{} {}", name, whole.str()), whole.bytes(), step_};
    return Pending(std::make_shared<PendingOperation>(thread_->submit(
        std::move(collective), std::move(info), {timeout_, policy_.message_bytes})));
  }

  std::shared_ptr<MpiThread> thread_;
  Group group_;
  std::chrono::seconds timeout_;
  TransferPolicy policy_;
  std::int64_t step_ = -1;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(std::shared_ptr<MpiThread> thread,
                                                    std::chrono::seconds timeout,
                                                    const TransferPolicy& policy) {
  return std::make_unique<MpiCommunicator>(std::move(thread), timeout, policy);
}

}  // namespace gda::dist

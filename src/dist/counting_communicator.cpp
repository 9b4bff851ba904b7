#include "dist/counting_communicator.h"

#include <chrono>
#include <utility>

#include "dist/forwarding_communicator.h"

namespace gda::dist {
namespace {

// Until it is waited for, or given up by an exception.
class CountedOperation final : public Pending::State {
 public:
  CountedOperation(Pending operation, std::shared_ptr<TrafficCounter> counter)
      : operation_(std::move(operation)), counter_(std::move(counter)) {}

  void wait() override {
    const Stopwatch stopwatch{*counter_};
    operation_.wait();
  }

 private:
  using Clock = std::chrono::steady_clock;
  struct Stopwatch {
    TrafficCounter& counter;
    Clock::time_point begin = Clock::now();
    ~Stopwatch() { counter.waited(std::chrono::duration<double>(Clock::now() - begin).count()); }
  };

  Pending operation_;
  std::shared_ptr<TrafficCounter> counter_;
};

class CountingCommunicator final : public ForwardingCommunicator {
 public:
  CountingCommunicator(std::shared_ptr<Communicator> inner, std::shared_ptr<TrafficCounter> counter)
      : ForwardingCommunicator(std::move(inner)), counter_(std::move(counter)) {}

  using Communicator::all_reduce;
  using Communicator::broadcast;

  Pending all_reduce(const Tensor& data, Reduction reduction) override {
    return count(2 * to_others(data), inner().all_reduce(data, reduction));
  }
  Pending reduce_scatter(const Tensor& from, const Tensor& to) override {
    return count(to_others(from), inner().reduce_scatter(from, to));
  }
  Pending all_gather(const Tensor& from, const Tensor& to) override {
    return count(to_others(to), inner().all_gather(from, to));
  }
  Pending broadcast(const Tensor& data, int root) override {
    return count(to_others(data), inner().broadcast(data, root));
  }
  Pending all_to_all(const Tensor& from, const Tensor& to) override {
    return count(to_others(from), inner().all_to_all(from, to));
  }
  Pending send_receive(const Tensor& send, int to, const Tensor& receive, int from) override {
    const bool sends = to != kNobody && to != rank();
    const double bytes = sends ? static_cast<double>(send.bytes()) : 0;
    return count(bytes, inner().send_receive(send, to, receive, from));
  }
  std::unique_ptr<Communicator> split(int colour, const std::string& name) override {
    return inner().split(colour, name);
  }

 private:
  // Of a whole, the parts that are not this rank's own.
  double to_others(const Tensor& whole) const {
    return static_cast<double>(whole.bytes()) * (size() - 1) / size();
  }
  Pending count(double bytes, Pending operation) {
    counter_->sent(bytes);
    return Pending(std::make_shared<CountedOperation>(std::move(operation), counter_));
  }

  std::shared_ptr<TrafficCounter> counter_;
};

}  // namespace

std::unique_ptr<Communicator> make_counting_communicator(std::shared_ptr<Communicator> inner,
                                                         std::shared_ptr<TrafficCounter> counter) {
  return std::make_unique<CountingCommunicator>(std::move(inner), std::move(counter));
}

}  // namespace gda::dist

#include "dist/counting_communicator.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "gda/core/error.h"
#include "support/stub_communicator.h"

namespace gda::dist {
namespace {

constexpr std::chrono::milliseconds kWait{20};

class LatePending final : public Pending::State {
 public:
  explicit LatePending(bool fails) : fails_(fails) {}
  void wait() override {
    std::this_thread::sleep_for(kWait);
    if (fails_) throw DistError("too late");
  }

 private:
  bool fails_;
};

// Every operation is done a while after it is waited for; or fails then.
class LateGroup final : public test::StubCommunicator {
 public:
  explicit LateGroup(bool fails = false) : StubCommunicator(1, 4), fails_(fails) {}

  Pending all_reduce(const Tensor& /*data*/, Reduction /*reduction*/) override { return late(); }
  Pending reduce_scatter(const Tensor& /*from*/, const Tensor& /*to*/) override { return late(); }
  Pending all_gather(const Tensor& /*from*/, const Tensor& /*to*/) override { return late(); }
  Pending broadcast(const Tensor& /*data*/, int /*root*/) override { return late(); }
  Pending all_to_all(const Tensor& /*from*/, const Tensor& /*to*/) override { return late(); }
  Pending send_receive(const Tensor& /*send*/, int /*to*/, const Tensor& /*receive*/,
                       int /*from*/) override {
    return late();
  }
  std::unique_ptr<Communicator> split(int /*colour*/, const std::string& /*name*/) override {
    return make_self_communicator();
  }

 private:
  Pending late() const { return Pending(std::make_shared<LatePending>(fails_)); }

  bool fails_;
};

class CountingCommunicatorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    group_ = make_counting_communicator(std::make_shared<LateGroup>(), counter_);
  }

  // Bytes that were sent since it was last asked.
  double sent() {
    const double before = std::exchange(sent_, counter_->total().bytes_sent);
    return sent_ - before;
  }

  std::shared_ptr<TrafficCounter> counter_ = std::make_shared<TrafficCounter>();
  std::unique_ptr<Communicator> group_;
  std::vector<double> memory_ = std::vector<double>(200);
  Tensor whole_{memory_.data(), DType::f64, {4, 25}};  // 800 bytes
  Tensor part_ = whole_.rows(0, 1);

 private:
  double sent_ = 0;
};

// Of 800 bytes a rank of four keeps 200.
TEST_F(CountingCommunicatorTest, CountsWhatARingSends) {
  group_->all_reduce(whole_, Reduction::max);
  EXPECT_EQ(sent(), 1200);
  group_->reduce_scatter(whole_, part_);
  EXPECT_EQ(sent(), 600);
  group_->all_gather(part_, whole_);
  EXPECT_EQ(sent(), 600);
  group_->broadcast(whole_, 3);
  EXPECT_EQ(sent(), 600);
  group_->all_to_all(whole_, whole_);
  EXPECT_EQ(sent(), 600);
}

TEST_F(CountingCommunicatorTest, CountsMessagesToOthers) {
  group_->send(whole_, 2);
  EXPECT_EQ(sent(), 800);
  group_->receive(whole_, 2);
  EXPECT_EQ(sent(), 0);
  group_->send_receive(part_, 0, whole_, 2);
  EXPECT_EQ(sent(), 200);
  group_->send_receive(part_, 1, whole_, 1);  // itself
  EXPECT_EQ(sent(), 0);
}

TEST_F(CountingCommunicatorTest, CountsTheTimeThatSomebodyWaits) {
  const Pending reduced = group_->all_reduce(whole_, Reduction::sum);
  EXPECT_EQ(counter_->total().seconds_waited, 0);
  reduced.wait();
  const double once = counter_->total().seconds_waited;
  EXPECT_GE(once, 0.02);
  reduced.wait();
  EXPECT_GE(counter_->total().seconds_waited, once + 0.02);
}

TEST_F(CountingCommunicatorTest, CountsTheTimeUntilAFailure) {
  const auto failing = make_counting_communicator(std::make_shared<LateGroup>(true), counter_);
  EXPECT_THROW(failing->broadcast(whole_, 0).wait(), DistError);
  EXPECT_GE(counter_->total().seconds_waited, 0.02);
}

TEST_F(CountingCommunicatorTest, IsTheOtherGroup) {
  EXPECT_EQ(group_->rank(), 1);
  EXPECT_EQ(group_->size(), 4);
  EXPECT_EQ(group_->rank_name(3), "rank 3");
  EXPECT_EQ(group_->split(0, "part")->size(), 1);
}

}  // namespace
}  // namespace gda::dist

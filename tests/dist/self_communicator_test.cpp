#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gda/core/error.h"
#include "gda/dist/communicator.h"

namespace gda {
namespace {

template <class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const DistError& error) {
    return error.what();
  }
  return "no error";
}

TEST(SelfCommunicatorTest, IsRankZeroOfOne) {
  const auto self = make_self_communicator();
  EXPECT_EQ(self->rank(), 0);
  EXPECT_EQ(self->size(), 1);
  self->barrier();
  self->set_step(3);
  EXPECT_EQ(self->all_reduce(2.5, Reduction::sum), 2.5);
  EXPECT_EQ(self->all_reduce(std::int64_t{1} << 40, Reduction::min), std::int64_t{1} << 40);
  EXPECT_TRUE(self->any(true));
  EXPECT_FALSE(self->any(false));
  EXPECT_EQ(self->broadcast("text", 0), "text");
  EXPECT_EQ(self->broadcast(std::string(), 0), "");
}

TEST(SelfCommunicatorTest, CollectivesKeepOrCopy) {
  const auto self = make_self_communicator();
  std::vector<float> a{1, 2, 3};
  std::vector<float> b(3);
  self->all_reduce(Tensor(a.data(), DType::f32, {3}), Reduction::sum).wait();
  EXPECT_EQ(a, (std::vector<float>{1, 2, 3}));
  self->reduce_scatter(Tensor(a.data(), DType::f32, {3}), Tensor(b.data(), DType::f32, {3})).wait();
  EXPECT_EQ(b, a);
  b.assign(3, 0);
  const Pending gathered =
      self->all_gather(Tensor(a.data(), DType::f32, {3}), Tensor(b.data(), DType::f32, {3}));
  gathered.wait();
  gathered.wait();  // may be called again
  EXPECT_EQ(b, a);
  self->broadcast(Tensor(b.data(), DType::f32, {3}), 0).wait();
  EXPECT_EQ(b, a);
  // In place.
  self->all_gather(Tensor(a.data(), DType::f32, {3}), Tensor(a.data(), DType::f32, {3})).wait();
  EXPECT_EQ(a, b);
}

TEST(SelfCommunicatorTest, MessagesToItselfAreCopies) {
  const auto self = make_self_communicator();
  std::vector<float> a{1, 2, 3};
  std::vector<float> b(3);
  const Tensor from(a.data(), DType::f32, {3});
  const Tensor to(b.data(), DType::f32, {3});
  self->all_to_all(from, to).wait();
  EXPECT_EQ(b, a);
  b.assign(3, 0);
  self->send_receive(from, 0, to, 0).wait();
  EXPECT_EQ(b, a);
  self->send_receive({}, kNobody, {}, kNobody).wait();
  const auto part = self->split(7, "tensor");
  EXPECT_EQ(part->size(), 1);
  EXPECT_EQ(part->world_rank(0), 0);
}

TEST(SelfCommunicatorTest, BadMessagesAreRefused) {
  const auto self = make_self_communicator();
  std::vector<float> data(12);
  const Tensor whole(data.data(), DType::f32, {12});
  const Tensor front = whole.rows(0, 6);
  const Tensor back = whole.rows(6, 6);
  const Tensor integers(back.raw(), DType::i32, {6});
  const auto refused = [&](const Tensor& send, int to, const Tensor& receive, int from) {
    return message_of([&] { self->send_receive(send, to, receive, from); });
  };
  EXPECT_EQ(refused(front, 1, {}, kNobody), "[send_receive] rank 1 is not in this group of 1 rank");
  EXPECT_EQ(refused({}, kNobody, front, -2),
            "[send_receive] rank -2 is not in this group of 1 rank");
  EXPECT_EQ(refused(front, kNobody, back, 0), "[send_receive] fp32[6] has nobody at the other end");
  EXPECT_EQ(refused({}, 0, back, 0), "[send_receive] fp32[] has no memory");
  EXPECT_EQ(refused(front, 0, {}, kNobody),
            "[send_receive] rank 0 would wait for itself: it sends to itself and does not receive");
  EXPECT_EQ(refused({}, kNobody, front, 0),
            "[send_receive] rank 0 would wait for itself: it receives from itself and does not "
            "send");
  EXPECT_EQ(refused(front, 0, whole.rows(5, 6), 0), "[send_receive] fp32[6] overlaps fp32[6]");
  EXPECT_EQ(refused(front, 0, back.rows(0, 5), 0),
            "[send_receive] fp32[6] and fp32[5] must be of one size");
  EXPECT_EQ(refused(front, 0, integers, 0),
            "[send_receive] fp32[6] and int32[6] must be of one dtype");
  EXPECT_EQ(message_of([&] { self->all_to_all(front, back.rows(0, 5)); }),
            "[all_to_all] fp32[6] and fp32[5] must be of one size");
  EXPECT_EQ(message_of([&] { self->all_to_all(front, integers); }),
            "[all_to_all] fp32[6] and int32[6] must be of one dtype");
  EXPECT_EQ(message_of([&] { self->all_to_all(front, front); }),
            "[all_to_all] fp32[6] overlaps fp32[6]");
  EXPECT_EQ(message_of([&] { self->split(-1, "tensor"); }), "[split] colour -1 is negative");
}

TEST(SelfCommunicatorTest, BadTensorsAreRefused) {
  const auto self = make_self_communicator();
  std::vector<float> data(12);
  const Tensor whole(data.data(), DType::f32, {12});
  const Device gpu{DeviceType::cuda, 1};
  EXPECT_EQ(message_of([&] {
              self->all_reduce(Tensor(data.data(), DType::f32, {3}, gpu), Reduction::sum);
            }),
            "[all_reduce] fp32[3] is on cuda:1: this group of processes moves CPU memory only");
  EXPECT_EQ(
      message_of([&] {
        self->all_reduce(Tensor(data.data(), DType::f32, {3, 2}, 4, Device{}), Reduction::sum);
      }),
      "[all_reduce] fp32[3, 2] must be contiguous, its row stride is 4");
  EXPECT_EQ(message_of([&] { self->all_reduce(Tensor(nullptr, DType::f32, {3}), Reduction::sum); }),
            "[all_reduce] fp32[3] has no memory");
  EXPECT_EQ(message_of([&] { self->all_gather(whole.rows(0, 5), whole); }),
            "[all_gather] fp32[5] must have 1/1 of the 12 elements of fp32[12]: one part for each "
            "rank");
  EXPECT_EQ(message_of([&] { self->all_gather(Tensor(data.data(), DType::i32, {12}), whole); }),
            "[all_gather] int32[12] and fp32[12] must be of one dtype");
  EXPECT_EQ(message_of([&] { self->all_gather(whole.rows(0, 7), whole.rows(5, 7)); }),
            "[all_gather] fp32[7] overlaps fp32[7] but is not the part of rank 0 there");
  EXPECT_EQ(message_of([&] { self->broadcast(whole, 1); }),
            "[broadcast] root 1 is not in this group of 1 rank");
}

TEST(MpiSessionTest, PlainProgramHasAGroupOfOne) {
  const MpiSession session;
  EXPECT_FALSE(session.active());
  EXPECT_EQ(session.world(std::chrono::seconds(1))->size(), 1);
}

}  // namespace
}  // namespace gda

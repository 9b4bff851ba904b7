// The emulated device's memory and streams show what a real one may only do now and then.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <string>
#include <thread>

#include "core/device_runtime.h"
#include "execution.cuh"
#include "gda/core/stream.h"

namespace gda::cuda {
namespace {

const Device kDevice{DeviceType::cuda, 0};

// value += 1, by a kernel on the stream.
void increment(const Stream& stream, const Tensor& value) {
  Arena arena(kDevice);
  launch(
      {.stream = stream, .arena = arena}, "increment", +[](float* x) { *x += 1; },
      {.blocks = {1, 1, 1}, .threads = 1}, value.data<float>());
}

float value_of(const Stream& stream, const Tensor& value) {
  return *HostCopy(stream, value).tensor().data<float>();
}

TEST(CudaRuntime, WorkIsDoneWhenSomebodyWaits) {
  const OwnedStream stream(kDevice);
  auto* shared = static_cast<float*>(allocate(sizeof(float), 0, true));
  increment(stream.get(), Tensor(shared, DType::f32, {1}, kDevice));
  EXPECT_EQ(*shared, 0);
  gda::synchronize(stream.get());
  EXPECT_EQ(*shared, 1);
  release(shared, 0);
}

TEST(CudaRuntimeDeathTest, TheHostCannotTouchTheDevice) {
  const OwnedTensor tensor(DType::f32, {1}, kDevice);
  EXPECT_DEATH(*tensor.tensor.data<float>() = 1, "");
  // Nor can a kernel write behind the end of what it was given.
  const auto behind = [&] {
    const OwnedTensor page(DType::f32, {1024}, kDevice);
    increment({.device = kDevice},
              Tensor(page.tensor.data<float>() + 1024, DType::f32, {1}, kDevice));
    gda::synchronize({.device = kDevice});
  };
  EXPECT_DEATH(behind(), "");
}

TEST(CudaRuntime, EventsOrderStreams) {
  const OwnedStream first(kDevice);
  const OwnedStream second(kDevice);
  const OwnedTensor value(DType::f32, {1}, kDevice);
  const OwnedTensor seen(DType::f32, {1}, kDevice);
  Event incremented(kDevice);
  EXPECT_TRUE(incremented.reached());  // not recorded yet
  increment(first.get(), value.tensor);
  incremented.record(first.get());
  increment(first.get(), value.tensor);
  // Without a wait the streams know nothing of each other.
  copy(second.get(), value.tensor, seen.tensor);
  EXPECT_EQ(value_of(second.get(), seen.tensor), 0);
  incremented.stream_wait(second.get());
  copy(second.get(), value.tensor, seen.tensor);
  EXPECT_EQ(value_of(second.get(), seen.tensor), 1);
  EXPECT_EQ(value_of(first.get(), value.tensor), 2);
  EXPECT_TRUE(incremented.reached());
}

// Neither kind of memory is free again when a copy returns, nor has one to it arrived.
TEST(CudaRuntime, CopiesAreDoneLate) {
  const OwnedStream stream(kDevice);
  const OwnedTensor value(DType::f32, {1}, kDevice);
  float pageable = 5;
  auto* const pinned = static_cast<float*>(allocate_pinned(sizeof(float), 0));
  for (float* const host : {&pageable, pinned}) {
    *host = 5;
    cuda::copy(stream.get(), value.tensor.raw(), host, sizeof *host);
    *host = 6;
    EXPECT_EQ(value_of(stream.get(), value.tensor), 6);
    *host = 7;
    cuda::copy(stream.get(), host, value.tensor.raw(), sizeof *host);
    EXPECT_EQ(*host, 7);
    cuda::synchronize(stream.get());
    EXPECT_EQ(*host, 6);
  }
  release_pinned(pinned);
}

// Of the program's own copies memory of the host is free on return, and has what was copied to it.
TEST(CudaRuntime, TensorsOfTheHostAreCopiedOnReturn) {
  const OwnedStream stream(kDevice);
  const OwnedTensor values(DType::f32, {600}, kDevice);
  float host = 0;
  const Tensor there(&host, DType::f32, {1}, {});
  for (int i = 0; i < 600; ++i) {  // more than can be under way
    host = static_cast<float>(i);
    gda::copy(stream.get(), there, values.tensor.rows(i, 1));
  }
  const OwnedTensor back(DType::f32, {600});
  gda::copy(stream.get(), values.tensor, back.tensor);
  for (int i = 0; i < 600; ++i) ASSERT_EQ(back.tensor.data<float>()[i], i);
}

// Larger ones than there is pinned memory, by turns on two streams.
TEST(CudaRuntime, TensorsOfAnySizeAreCopied) {
  constexpr std::int64_t kElements = (std::int64_t{7} << 20) + 3;  // 28 MiB and a little
  const OwnedTensor host(DType::i32, {kElements});
  const OwnedTensor back(DType::i32, {kElements});
  const OwnedStream first(kDevice);
  const OwnedStream second(kDevice);
  for (const OwnedStream* stream : {&first, &second, &first}) {
    const OwnedTensor numbers(DType::i32, {kElements}, kDevice);
    auto* const data = host.tensor.data<std::int32_t>();
    std::iota(data, data + kElements, stream == &first ? 0 : 17);
    gda::copy(stream->get(), host.tensor, numbers.tensor);
    std::fill_n(data, kElements, -1);
    gda::copy(stream->get(), numbers.tensor, back.tensor);
    std::iota(data, data + kElements, stream == &first ? 0 : 17);
    EXPECT_EQ(std::memcmp(back.tensor.raw(), data, host.tensor.bytes()), 0);
  }
}

TEST(CudaRuntime, AThreadChoosesItsDevice) {
  const OwnedStream stream(kDevice);
  const OwnedTensor value(DType::f32, {1}, kDevice);
  std::string message;
  std::thread([&] {
    Arena arena(kDevice);
    const auto touch = [&] {
      launch(
          {.stream = stream.get(), .arena = arena}, "increment", +[](float* x) { *x += 1; },
          {.blocks = {1, 1, 1}, .threads = 1}, value.tensor.data<float>());
    };
    try {
      touch();
    } catch (const Error& error) {
      message = error.what();
    }
    use_device(0);
    touch();
  }).join();
  EXPECT_EQ(message, "the emulated device: this thread has not chosen its device");
  EXPECT_EQ(value_of(stream.get(), value.tensor), 1);
}

TEST(CudaRuntime, GraphsAreDoneAsOftenAsTheyAreLaunched) {
  const OwnedStream stream(kDevice);
  const OwnedTensor value(DType::f32, {1}, kDevice);
  Graph graph;
  EXPECT_TRUE(graph.empty());
  graph.record(stream.get(), [&] { increment(stream.get(), value.tensor); });
  EXPECT_EQ(value_of(stream.get(), value.tensor), 0);
  for (int i = 0; i < 3; ++i) graph.launch(stream.get());
  EXPECT_EQ(value_of(stream.get(), value.tensor), 3);
  const auto message = [&](const std::function<void()>& work) {
    try {
      graph.record(stream.get(), work);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(message([&] { gda::synchronize(stream.get()); }),
            "the emulated device: a stream is waited for while it is captured");
  EXPECT_EQ(
      message([&] { value_of(stream.get(), value.tensor); }),
      "[copy] fp32[1] on cuda:0 to cpu: a graph that is recorded cannot read or write memory of "
      "the host");
  float pageable = 0;
  EXPECT_EQ(
      message([&] { cuda::copy(stream.get(), &pageable, value.tensor.raw(), sizeof pageable); }),
      "the emulated device: pageable memory is copied while a stream is captured");
  EXPECT_EQ(message([&] {
              Event event(kDevice);
              event.record(stream.get());
              event.wait();
            }),
            "the emulated device: an event of a capture is waited for or asked");
  EXPECT_EQ(message([&] { const Buffer buffer(1, kDevice); }),
            "the emulated device: memory is taken while a stream is captured");
  ::setenv("GDA_EMULATION_FAILS_CAPTURES", "1", 1);
  EXPECT_EQ(message([&] { increment(stream.get(), value.tensor); }),
            "the emulated device: a capture failed, as it was told to");
  ::unsetenv("GDA_EMULATION_FAILS_CAPTURES");
  EXPECT_TRUE(graph.empty());
  EXPECT_EQ(value_of(stream.get(), value.tensor), 3);  // the stream can be used again
}

TEST(CudaRuntime, TellsWhatFillsTheMemory) {
  const OwnedTensor held(DType::f32, {1 << 20}, kDevice, "a test's numbers");
  try {
    const Buffer buffer(facts_of(0).memory_bytes, kDevice, "too much");
    FAIL() << "expected OutOfMemory";
  } catch (const OutOfMemory& error) {
    EXPECT_STREQ(error.what(),
                 "cuda:0 is out of memory: 2048.0 MiB were asked for (too much), 2044.0 MiB are "
                 "free, this process holds a test's numbers 4.0 MiB");
  }
}

TEST(CudaRuntime, ReadsATensorPieceByPiece) {
  const OwnedStream stream(kDevice);
  constexpr std::int64_t kElements = (std::int64_t{5} << 20) + 3;  // 20 MiB and a little
  const OwnedTensor numbers(DType::i32, {kElements}, kDevice);
  fill_from_host(stream.get(), numbers.tensor, [&](const Tensor& host) {
    for (std::int64_t i = 0; i < kElements; ++i) {
      host.data<std::int32_t>()[i] = static_cast<std::int32_t>(i);
    }
  });
  std::int64_t next = 0;
  read_bytes(stream.get(), numbers.tensor, [&](std::span<const std::byte> bytes) {
    for (std::size_t at = 0; at < bytes.size(); at += sizeof(std::int32_t)) {
      std::int32_t number = 0;
      std::memcpy(&number, bytes.data() + at, sizeof number);
      ASSERT_EQ(number, next++);
    }
  });
  EXPECT_EQ(next, kElements);
}

}  // namespace
}  // namespace gda::cuda

// The device that tests of operators run on: GDA_TEST_DEVICE=cuda, or the CPU.
#pragma once

#include <cstdlib>
#include <memory>
#include <string_view>
#include <vector>

#include "core/device_runtime.h"
#include "gda/core/environment.h"
#include "gda/core/stream.h"
#include "gda/ops/context.h"

namespace gda::test {

inline Device test_device() {
  static const char* const name = environment("GDA_TEST_DEVICE");
  return name != nullptr && std::string_view(name) == "cuda" ? Device{DeviceType::cuda, 0}
                                                             : Device{};
}

inline bool on_cuda() {
  return test_device().type == DeviceType::cuda;
}

// While there is one, tensors and contexts are made on the CPU: its plain loops in f64 judge
// operators on every device, which else would be judged by themselves.
class OnCpu {
 public:
  OnCpu() { ++count(); }
  ~OnCpu() { --count(); }
  OnCpu(const OnCpu&) = delete;
  OnCpu& operator=(const OnCpu&) = delete;

  static int& count() {
    static int count = 0;
    return count;
  }
};

// Where tensors and contexts are made.
inline Device current_device() {
  return OnCpu::count() > 0 ? Device{} : test_device();
}

// After it the host may read what operators have written.
inline void wait_for(Device device) {
  if (device.type == DeviceType::cuda) cuda::synchronize({.device = device});
}

// What a tensor holds, wherever it is.
inline std::vector<std::byte> bytes_of(const Tensor& tensor) {
  if (!tensor) return {};
  const HostCopy host({.device = tensor.device()}, tensor);
  const auto* data = static_cast<const std::byte*>(host.tensor().raw());
  return {data, data + tensor.bytes()};
}

// A tensor on the current device that the host can read and write.
struct TestTensor {
  TestTensor() = default;
  TestTensor(TestTensor&&) = default;
  TestTensor& operator=(TestTensor&&) = default;
  TestTensor(const TestTensor&) = delete;  // it would be the same memory
  TestTensor& operator=(const TestTensor&) = delete;
  TestTensor(DType dtype, Shape shape) {
    const Device device = current_device();
    const std::size_t bytes = static_cast<std::size_t>(shape.elements()) * size_of(dtype);
    if (device.type == DeviceType::cpu) {
      memory = std::make_shared<Buffer>(bytes);
      tensor = static_cast<Buffer*>(memory.get())->tensor(dtype, shape);
    } else {
      memory = std::shared_ptr<void>(cuda::allocate(bytes, device.index, true),
                                     [device](void* data) { cuda::release(data, device.index); });
      tensor = Tensor(memory.get(), dtype, shape, device);
    }
  }

  std::shared_ptr<void> memory;
  Tensor tensor;
};

// Where operators of a test run, with an arena of its own.
class TestContext {
 public:
  TestContext() : context_{.stream = {.device = arena_.device()}, .arena = arena_} {}
  TestContext(const TestContext&) = delete;
  TestContext& operator=(const TestContext&) = delete;

  const Context& get() const { return context_; }
  operator const Context&() const { return context_; }
  Arena& arena() { return arena_; }

 private:
  Arena arena_{current_device(), std::size_t{1} << 20};
  Context context_;
};

}  // namespace gda::test

// Tensors of every type, as rows of matrices that begin somewhere in their memory, on however many
// ranks mpirun started.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "dist/backends.h"
#include "dist/numbers.h"
#include "gda/dist/mesh.h"
#include "support/mpi.h"

namespace gda {
namespace {

using test::number;
using test::world;

constexpr std::int64_t kRows = 5;  // of a part
constexpr std::int64_t kColumns = 7;
constexpr std::int64_t kBefore = 3;  // rows of the memory before the tensor

// kRows rows for each of `parts` in memory of its own.
template <class T>
class Matrix {
 public:
  Matrix(const Stream& stream, int parts)
      : stream_(stream),
        memory_(dtype_of<T>, {kBefore + kRows * parts + 1, kColumns}, stream.device),
        tensor_(memory_.tensor.rows(kBefore, kRows * parts)) {}

  const Tensor& tensor() const { return tensor_; }
  Tensor part(int number) const { return tensor_.rows(number * kRows, kRows); }

  void fill(const std::function<T(std::int64_t)>& element) const {
    fill_from_host(stream_, tensor_, [&](const Tensor& host) {
      for (std::int64_t i = 0; i < host.elements(); ++i) host.data<T>()[i] = element(i);
    });
  }
  // Nothing around it was touched: memory is zeroed at first.
  void expect(const std::function<float(std::int64_t)>& expected) const {
    const HostCopy host(stream_, memory_.tensor);
    const std::int64_t begin = kBefore * kColumns;
    for (std::int64_t i = 0; i < memory_.tensor.elements(); ++i) {
      const bool inside = i >= begin && i < begin + tensor_.elements();
      ASSERT_EQ(static_cast<float>(host.tensor().template data<T>()[i]),
                inside ? expected(i - begin) : 0.0F)
          << memory_.tensor.str() << " element " << i;
    }
  }

 private:
  Stream stream_;
  OwnedTensor memory_;
  Tensor tensor_;
};

template <class T>
void check_collectives(Communicator& group, const Stream& stream) {
  const int size = group.size();
  const int rank = group.rank();
  const std::int64_t part = kRows * kColumns;
  const auto own = [&](std::int64_t i) { return test::value<T>(rank, i); };
  const auto sum = [&](std::int64_t i) {
    float total = 0;
    for (int r = 0; r < size; ++r) total += number<T>(r, i);
    return total;
  };
  const Matrix<T> from(stream, size);
  const Matrix<T> to(stream, size);
  const Matrix<T> single(stream, 1);
  from.fill(own);
  group.all_to_all(from.tensor(), to.tensor()).wait();
  to.expect([&](std::int64_t i) {
    return number<T>(static_cast<int>(i / part), rank * part + i % part);
  });
  group.reduce_scatter(from.tensor(), single.tensor()).wait();
  single.expect([&](std::int64_t i) { return sum(rank * part + i); });
  group.all_gather(single.tensor(), to.tensor()).wait();
  to.expect(sum);
  group.reduce_scatter(from.tensor(), from.part(rank)).wait();
  group.all_gather(from.part(rank), from.tensor()).wait();
  from.expect(sum);
  from.fill(own);
  group.all_reduce(from.tensor(), Reduction::sum).wait();
  from.expect(sum);
  single.fill(own);
  group.send_receive(single.tensor(), (rank + 1) % size, to.part(0), (rank + size - 1) % size)
      .wait();
  to.expect(
      [&](std::int64_t i) { return i < part ? number<T>((rank + size - 1) % size, i) : sum(i); });
}

class TensorsTest : public test::BackendTest {
 protected:
  void check(Communicator& group) const {
    check_collectives<float>(group, stream());
    check_collectives<double>(group, stream());
    check_collectives<bfloat16>(group, stream());
    check_collectives<std::int32_t>(group, stream());
  }
};

TEST_P(TensorsTest, OfAllRanks) {
  check(group());
}

// The group of the mesh that has all ranks, and those of one.
TEST_P(TensorsTest, OfAxes) {
  const Mesh mesh(group(), {.context = world().size()});
  check(mesh.group(Axis::context));
  check(mesh.group(Axis::tensor));
  check(mesh.replicas());
}

INSTANTIATE_TEST_SUITE_P(Backends, TensorsTest, test::all_backends(), test::name_of_backend);

}  // namespace
}  // namespace gda

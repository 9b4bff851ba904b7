// Collective operations between the processes of a run.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "gda/core/tensor.h"

namespace gda {

enum class Reduction { sum, min, max };

// A collective under way. Tensors given to it must live until wait() returns.
class Pending {
 public:
  class State {
   public:
    virtual ~State() = default;
    virtual void wait() = 0;
  };

  Pending() = default;  // nothing under way
  explicit Pending(std::shared_ptr<State> state) : state_(std::move(state)) {}

  // Blocks until it is done; rethrows its error. May be called again.
  void wait() const {
    if (state_) state_->wait();
  }

 private:
  std::shared_ptr<State> state_;
};

// Every process of the group calls the same operations in the same order. Operations run one after
// another in the background, in the order of the calls; several may be under way while the caller
// computes. Tensors are contiguous and on the CPU. Sums are taken in rank order, so they are the
// same bits on every rank and in every run of the same size; f32 sums round once (added in f64).
//
// An operation that does not finish within the timeout throws DistError that names the rank, the
// operation, its size and number, the step, and the ranks that did not answer. The group can do
// nothing more then: end the process with MpiSession::abort.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // data of every rank, combined, in place. f32, f64 or i32. min and max of a NaN are NaN.
  virtual Pending all_reduce(const Tensor& data, Reduction reduction) = 0;
  // from [n] summed over ranks; rank r receives elements [r*n/size, (r+1)*n/size) in to [n/size].
  // n is a multiple of size; f32 or f64. `to` may be that very part of `from`.
  virtual Pending reduce_scatter(const Tensor& from, const Tensor& to) = 0;
  // to [n] = the concatenation of from [n/size] of every rank. Any dtype. `from` may be its own
  // part of `to`.
  virtual Pending all_gather(const Tensor& from, const Tensor& to) = 0;
  virtual Pending broadcast(const Tensor& data, int root) = 0;

  void barrier();
  double all_reduce(double value, Reduction reduction);
  std::int64_t all_reduce(std::int64_t value, Reduction reduction);
  // True everywhere if true anywhere.
  bool any(bool value) { return all_reduce(std::int64_t{value}, Reduction::max) != 0; }
  // The text of `root` on every rank.
  std::string broadcast(const std::string& text, int root);

  // Shown in messages about operations that do not finish.
  virtual void set_step(std::int64_t step) = 0;
};

// The group of one process.
std::unique_ptr<Communicator> make_self_communicator();

class MpiThread;

// Starts MPI when the program was launched by mpirun or srun (and only then), ends it on
// destruction. Throws ConfigError when srun started several tasks without an MPI plugin. One in a
// process; communicators are used while it lives. Destroyed by an exception it does not wait for
// the other ranks: the handler then calls abort.
class MpiSession {
 public:
  MpiSession();
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  bool active() const { return active_; }
  // The group of all processes: of one process when MPI is not active.
  std::unique_ptr<Communicator> world(std::chrono::seconds timeout) const;

  // Ends all processes at once, after an error that the others cannot know of.
  [[noreturn]] static void abort(int exit_code);

 private:
  bool active_ = false;
  std::shared_ptr<MpiThread> thread_;
  int exceptions_ = 0;  // under way when the session was made
};

}  // namespace gda

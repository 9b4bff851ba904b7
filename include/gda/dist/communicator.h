// Operations between the processes of a run: collectives, messages, and groups of some of them.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

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

// The peer of a message that is not sent, or not awaited.
constexpr int kNobody = -1;

// Every process of the group calls the same operations in the same order, messages aside, which
// only their two ends call. All operations of a process, of whatever group, run one after another
// in the background, in the order of the calls; several may be under way while the caller computes.
// So operations of several groups are called in one order, of which every rank leaves out those of
// groups that it is not in: another may end in a ring of ranks that wait for each other. A message,
// received as well as sent, has its place in it, too: the moment at which what it carries is there.
//
// Tensors are contiguous, of any dtype and number of dimensions, and on the CPU. Sums are taken in
// rank order, so they are the same bits on every rank and in every run of the same size. Those of
// f32 are added in f64, those of bf16 in f32, and the result is rounded once.
//
// An operation that does not finish within the timeout throws DistError that names the rank, the
// operation, its group, size and number, the step, and the ranks that did not answer. What every
// rank does, each in its own words, is in the log by then. Nothing more can be done with any group:
// end the process with MpiSession::abort.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  bool is_root() const { return rank() == 0; }
  // The number that a rank of this group has among all processes.
  virtual int world_rank(int rank) const = 0;
  // What errors call a rank of this group: "rank 5", by its number among all processes, and in a
  // mesh of several axes "rank 5 (pipeline 1, data 0, context 0, tensor 1)".
  virtual std::string rank_name(int rank) const;
  // Where each of all processes is, in words; errors of every group tell it from now on. Nothing:
  // they speak of numbers alone.
  virtual void set_rank_places(const std::vector<std::string>& /*places*/) {}

  // data of every rank, combined, in place. min and max of a NaN are NaN.
  virtual Pending all_reduce(const Tensor& data, Reduction reduction) = 0;
  // from [n] summed over ranks; rank r receives elements [r*n/size, (r+1)*n/size) in to [n/size].
  // n is a multiple of size. `to` may be that very part of `from`.
  virtual Pending reduce_scatter(const Tensor& from, const Tensor& to) = 0;
  // to [n] = the concatenation of from [n/size] of every rank. `from` may be its own part of `to`.
  virtual Pending all_gather(const Tensor& from, const Tensor& to) = 0;
  virtual Pending broadcast(const Tensor& data, int root) = 0;
  // from [n] and to [n] in size parts of n/size: part p of `from` becomes part rank() of `to` on
  // rank p. The two do not overlap.
  virtual Pending all_to_all(const Tensor& from, const Tensor& to) = 0;
  // Sends `send` to rank `to` and receives `receive` from rank `from`, at the same time. Either may
  // be kNobody, with an empty tensor. The k-th message that one rank sends to another is the k-th
  // that is received there, and has its dtype and size; the two do not overlap. Ranks that send to
  // each other, or around a ring, say so in one call: in two, each would wait for the next. Both
  // may be this rank.
  virtual Pending send_receive(const Tensor& send, int to, const Tensor& receive, int from) = 0;
  Pending send(const Tensor& data, int to) { return send_receive(data, to, {}, kNobody); }
  Pending receive(const Tensor& data, int from) { return send_receive({}, kNobody, data, from); }

  // Cuts the group into one for each colour: ranks of the same colour, in the order that they have
  // here. The name, "tensor", is for errors. This group outlives them.
  virtual std::unique_ptr<Communicator> split(int colour, const std::string& name) = 0;

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

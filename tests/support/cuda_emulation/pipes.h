// Named pipes between the ranks of a group, for the emulated NCCL.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <string>
#include <vector>

namespace gda::emulation {

// What both ends of a message know of it.
struct Label {
  int operation = 0;
  int type = 0;
  std::size_t bytes = 0;

  bool operator==(const Label&) const = default;
};

// One message, a part of which may be through.
struct Message {
  Label label;
  std::byte* data = nullptr;  // only read where it is sent
  Label arrived = {};
  std::size_t label_done = 0;
  std::size_t done = 0;
};

// To and from each other rank. Messages go in the order of the calls.
class Pipes {
 public:
  // Makes those that are not there yet.
  Pipes(std::string folder, int rank, int size);
  ~Pipes();
  Pipes(const Pipes&) = delete;
  Pipes& operator=(const Pipes&) = delete;

  int rank() const { return rank_; }
  int size() const { return static_cast<int>(ends_.size()); }

  void send(int peer, const void* data, const Label& label);
  void receive(int peer, void* data, const Label& label);
  // Moves what can be moved without waiting. True when nothing is left. Throws DistError when what
  // comes is not what is awaited.
  bool advance();
  // The pipes' names go once both ends are open.
  void forget_names();

 private:
  struct End {
    int in = -1;
    int out = -1;
    std::deque<Message> awaited;
    std::deque<Message> sent;
  };

  std::string name(int from, int to) const;
  static bool write_some(int pipe, Message& message);
  static bool read_some(int pipe, Message& message);

  std::string folder_;
  int rank_;
  std::vector<End> ends_;
};

}  // namespace gda::emulation

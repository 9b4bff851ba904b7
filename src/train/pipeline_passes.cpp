#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "gda/core/error.h"
#include "gda/core/stream.h"
#include "gda/eval/loss.h"
#include "gda/train/step_passes.h"
#include "train/pass_hooks.h"

namespace gda {
namespace {

// Arenas that micro-batches in flight have one each of, used again.
class ArenaPool {
 public:
  explicit ArenaPool(Device device) : device_(device) {}

  Arena* take() {
    if (free_.empty()) free_.push_back(&all_.emplace_back(device_));
    return std::exchange(free_.back(), free_.back()), pop();
  }
  void give_back(Arena* arena) { free_.push_back(arena); }

 private:
  Arena* pop() {
    Arena* arena = free_.back();
    free_.pop_back();
    return arena;
  }

  Device device_;
  std::deque<Arena> all_;
  std::vector<Arena*> free_;
};

}  // namespace
}  // namespace gda

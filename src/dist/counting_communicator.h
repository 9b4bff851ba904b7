// Groups that count what goes through them.
#pragma once

#include <atomic>
#include <memory>

#include "gda/dist/communicator.h"
#include "gda/dist/mesh.h"

namespace gda::dist {

// For any thread.
class TrafficCounter {
 public:
  void sent(double bytes) { bytes_sent_ += bytes; }
  void waited(double seconds) { seconds_waited_ += seconds; }
  Traffic total() const { return {bytes_sent_, seconds_waited_}; }

 private:
  std::atomic<double> bytes_sent_ = 0;
  std::atomic<double> seconds_waited_ = 0;
};

// The group of `inner`. Groups that are cut from it do not count.
std::unique_ptr<Communicator> make_counting_communicator(std::shared_ptr<Communicator> inner,
                                                         std::shared_ptr<TrafficCounter> counter);

}  // namespace gda::dist

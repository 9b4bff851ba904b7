// What the devices of a run can do at most, and what its steps do of it.
#include <functional>

#include "gda/core/log.h"
#include "gda/dist/device_communicator.h"
#include "gda/train/data_sheet.h"
#include "gda/train/trainer.h"

namespace gda {

// Of all ranks, which are measured at the same time: they may share what they run on.
double Trainer::measure_products() {
  const int processes = place_on_host(world_).ranks;
  world_.barrier();
  return world_.all_reduce(measure_peak_flops(context(), compute_, processes), Reduction::sum);
}

// Before the model takes the memory.
void Trainer::find_peak() {
  peak_ = {};
  if (config_.logging.peak_tflops) {
    peak_.source = Peak::Source::given;
    peak_.flops = *config_.logging.peak_tflops * 1e12 * world_.size();
    return;
  }
  peak_.flops = peak_.measured = measure_products();
  if (device_.type == DeviceType::cpu) return;  // on every rank, then
  const DeviceFacts facts = facts_of(device_);
  const std::optional<double> sheet = data_sheet_flops(facts, compute_);
  const int sharing = ranks_of_device(device_, world_);
  if (world_.any(!sheet.has_value())) return;
  const std::string name(short_name(facts.name));
  const std::string first = world_.broadcast(name, 0);
  peak_.source = Peak::Source::data_sheet;
  peak_.device = world_.any(name != first) ? first + " and others" : first;
  peak_.flops = world_.all_reduce(*sheet / sharing, Reduction::sum);
}

// A GPU is not measured again: the run has its memory, and needs its time.
void Trainer::judge_speed(double full, double causal) {
  std::function<double()> again;
  if (device_.type == DeviceType::cpu) {
    again = [this] {
      const double rate = measure_products();
      timer_.take();  // is no step's
      return rate;
    };
  }
  // Clocks differ; rank 0's decides for all what is measured.
  if (peak_.measured > 0) {
    causal = world_.all_reduce(world_.rank() == 0 ? causal : 0, Reduction::sum);
  }
  const std::string word = peak_.learn(full, causal, again);
  if (!word.empty() && world_.rank() == 0) log::warning("step {}: {}", state_.step, word);
}

}  // namespace gda

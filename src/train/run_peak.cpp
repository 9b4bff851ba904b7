#include "train/run_peak.h"

#include <functional>
#include <optional>
#include <string>

#include "gda/core/log.h"
#include "gda/dist/device_communicator.h"
#include "gda/report/data_sheet.h"

namespace gda {
namespace {

// Of all ranks, which are measured at the same time: they may share what they run on.
double measure_products(Run& run) {
  Communicator& world = run.world();
  const int processes = place_on_host(world).ranks;
  world.barrier();
  return world.all_reduce(measure_peak_flops(run.context(), run.compute(), processes),
                          Reduction::sum);
}

}  // namespace

Peak find_peak(Run& run) {
  Communicator& world = run.world();
  Peak peak;
  if (run.config().logging.peak_tflops) {
    peak.source = Peak::Source::given;
    peak.flops = *run.config().logging.peak_tflops * 1e12 * world.size();
    return peak;
  }
  peak.flops = peak.measured = measure_products(run);
  if (run.device().type == DeviceType::cpu) return peak;  // on every rank, then
  const DeviceFacts facts = facts_of(run.device());
  const std::optional<double> sheet = data_sheet_flops(facts, run.compute());
  const int sharing = ranks_of_device(run.device(), world);
  if (world.any(!sheet.has_value())) return peak;
  const std::string name(short_name(facts.name));
  const std::string first = world.broadcast(name, 0);
  peak.source = Peak::Source::data_sheet;
  peak.device = world.any(name != first) ? first + " and others" : first;
  peak.flops = world.all_reduce(*sheet / sharing, Reduction::sum);
  return peak;
}

void judge_speed(Run& run, std::int64_t step, double full, double causal, PhaseTimer& timer,
                 Peak& peak) {
  std::function<double()> again;
  // A GPU is not measured again: the run has its memory, and needs its time.
  if (run.device().type == DeviceType::cpu) {
    again = [&] {
      const double rate = measure_products(run);
      timer.take();  // is no step's
      return rate;
    };
  }
  // Clocks differ; the root's decides for all what is measured.
  if (peak.measured > 0) {
    causal = run.world().all_reduce(run.is_root() ? causal : 0, Reduction::sum);
  }
  const std::string word = peak.learn(full, causal, again);
  if (!word.empty() && run.is_root()) log::warning("step {}: {}", step, word);
}

}  // namespace gda

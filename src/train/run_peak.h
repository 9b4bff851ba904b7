// Peak FLOP/s of a run's devices, and its steps' FLOP/s judged by it.
#pragma once

#include <cstdint>

#include "gda/report/peak_flops.h"
#include "gda/report/phase_timer.h"
#include "gda/train/run.h"

namespace gda {

// Of all ranks, before the model takes the memory. Collective.
Peak find_peak(Run& run);

// Takes note of what the steps up to `step` did in FLOP/s of all ranks, and warns of what does not
// fit the peak. Time that is spent on measuring anew is taken out of `timer`. Collective.
void judge_speed(Run& run, std::int64_t step, double full, double causal, PhaseTimer& timer,
                 Peak& peak);

}  // namespace gda

// Whole runs in tests.
#pragma once

#include "gda/train/stop_request.h"
#include "gda/train/trainer.h"

namespace gda::test {

// Begins or resumes, and trains to the end of the configuration's steps.
inline RunOutcome train(Trainer& trainer, bool resume = false) {
  const StopRequest stop;
  if (resume) {
    trainer.resume();
  } else {
    trainer.begin();
  }
  return trainer.run(stop);
}

}  // namespace gda::test

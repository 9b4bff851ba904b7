#!/usr/bin/env bash
# Runs a training run until it has reported a step, and ends it there, for scripts/gpu_check.sh: a run that
# comes to its own end writes a checkpoint, which for a large model takes longer than the steps.
#
#   until_step.sh STEP METRICS_FILE COMMAND...
set -uo pipefail
step=$1 metrics=$2
shift 2
"$@" &
run=$!
while kill -0 "$run" 2> /dev/null; do
  if grep -q "\"step\":$step," "$metrics" 2> /dev/null; then
    kill -KILL "$run"
    wait "$run" 2> /dev/null
    exit 0
  fi
  sleep 0.1
done
code=0
wait "$run" || code=$?
grep -q "\"step\":$step," "$metrics" 2> /dev/null && exit "$code"
printf 'until_step.sh: ended with code %d before step %d\n' "$code" "$step"
exit $((code == 0 ? 1 : code))

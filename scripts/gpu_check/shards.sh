#!/usr/bin/env bash
# Runs a program of GoogleTest in shards side by side, for scripts/gpu_check.sh:
#
#   shards.sh NUMBER FOLDER PROGRAM ARGUMENT...
#
# FOLDER gets what each shard said; the failures of all and one line with their numbers are printed.
set -uo pipefail
count=$1 folder=$2
shift 2
mkdir -p "$folder"
started=()
for ((i = 0; i < count; ++i)); do
  GTEST_TOTAL_SHARDS=$count GTEST_SHARD_INDEX=$i "$@" > "$folder/shard-$i.log" 2>&1 &
  started+=("$!")
done
failed=0
for ((i = 0; i < count; ++i)); do
  code=0
  wait "${started[i]}" || code=$?
  if ((code != 0)); then
    failed=1
    # Without a list of failures it ended in the middle of a test.
    grep -E '^\[  FAILED  \] [^ ]+ \(|Failure$' "$folder/shard-$i.log" | head -n 20 || true
    grep -q 'listed below' "$folder/shard-$i.log" ||
      printf 'shard %d: exit code %d, last words: %s\n' "$i" "$code" "$(tail -n 2 "$folder/shard-$i.log" | tr '\n' ' ')"
  fi
done
awk '/^\[       OK \]/ { ok++ } /^\[  FAILED  \] [^ ]+ \([0-9]+ ms\)/ { bad++ } /^\[  SKIPPED \] [^ ]+ \([0-9]+ ms\)/ { skipped++ }
  END { printf "%d tests passed, %d failed, %d skipped\n", ok, bad, skipped; exit ok == 0 }' "$folder"/shard-*.log || failed=1
grep -h 'no CUDA device' "$folder"/shard-*.log | head -n 1
exit "$failed"

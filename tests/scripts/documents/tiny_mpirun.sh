#!/usr/bin/env bash
# mpirun with two ranks at most, for documents_test.sh.
set -euo pipefail
arguments=()
while (($# > 0)); do
  arguments+=("$1")
  if [[ $1 == -np ]]; then
    arguments+=($(($2 < 2 ? $2 : 2)))
    shift
  fi
  shift
done
exec "${MPIRUN_PROGRAM:?}" --oversubscribe "${arguments[@]}"

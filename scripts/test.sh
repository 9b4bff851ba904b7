#!/usr/bin/env bash
# Installs what is missing, builds and runs the tests.
#
#   scripts/test.sh                     the default tests, on the CPU
#   scripts/test.sh --interop           also those that compare with NumPy
#   scripts/test.sh --preset asan       with another preset: debug, asan, tsan, cuda
#   scripts/test.sh -R regex ...        other options go to ctest
set -euo pipefail
cd "$(dirname "$0")/.."

usage_error() {
  printf 'test.sh: error: %s\n' "$1" >&2
  exit 2
}

preset=cpu
interop=false
options=()
while (($# > 0)); do
  case $1 in
    --preset)
      (($# > 1)) || usage_error "$1 needs a value"
      ;;&
    --preset)
      preset=$2
      shift
      ;;
    --interop) interop=true ;;
    -h | --help)
      sed -n '2,7s/^# \{0,1\}//p' scripts/test.sh
      exit 0
      ;;
    *) options+=("$1") ;;
  esac
  shift
done

scripts/build.sh --preset "$preset"
if $interop; then
  scripts/setup.sh --interop
  # Debian's Python, which finds Debian's NumPy.
  cmake --preset "$preset" -D GDA_PYTHON=/usr/bin/python3 > /dev/null
else
  options+=(--label-exclude interop)
fi
# Open MPI refuses to start as root, and more ranks than cores, unless told that both are meant.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
ctest --preset "$preset" --parallel "$(nproc)" --no-tests=error "${options[@]}"

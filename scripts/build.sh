#!/usr/bin/env bash
# Installs what is missing, configures and builds.
#
#   scripts/build.sh                    everything, optimised for the CPU: build/cpu/gda
#   scripts/build.sh --preset debug     another preset: cuda, debug, asan, tsan
#   scripts/build.sh --program          the program alone, without tests and benchmarks
set -euo pipefail
cd "$(dirname "$0")/.."

preset=cpu
target=all
while (($# > 0)); do
  case $1 in
    --preset)
      preset=${2:?build.sh: error: --preset needs a name}
      shift
      ;;
    --program) target=gda ;;
    -h | --help)
      sed -n '2,6s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *)
      printf 'build.sh: error: unknown option %s; known: --preset, --program, --help\n' "$1" >&2
      exit 2
      ;;
  esac
  shift
done

scripts/setup.sh
started=$SECONDS
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! cmake --preset "$preset" > "$log" 2>&1; then
  cat "$log" >&2
  printf 'build.sh: error: configuring preset %s failed; the lines above say why\n' "$preset" >&2
  exit 1
fi
cmake --build --preset "$preset" --target "$target" -- --quiet
printf 'build.sh: build/%s is up to date (%d s)\n' "$preset" $((SECONDS - started))

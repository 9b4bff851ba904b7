#!/usr/bin/env bash
# Installs what is missing, configures and builds.
#
#   scripts/build.sh                    everything, optimised for the CPU: build/cpu/gda
#   scripts/build.sh --preset debug     another preset: cuda, debug, asan, tsan
#   scripts/build.sh --target gda       the program alone, without tests and benchmarks
set -euo pipefail
cd "$(dirname "$0")/.."

usage_error() {
  printf 'build.sh: error: %s\n' "$1" >&2
  exit 2
}

preset=cpu
targets=()
while (($# > 0)); do
  case $1 in
    --preset | --target)
      (($# > 1)) || usage_error "$1 needs a value"
      ;;&
    --preset)
      preset=$2
      shift
      ;;
    --target)
      targets+=("$2")
      shift
      ;;
    -h | --help)
      sed -n '2,6s/^# \{0,1\}//p' scripts/build.sh
      exit 0
      ;;
    *)
      usage_error "unknown option $1; known: --preset, --target, --help"
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
cmake --build --preset "$preset" --target "${targets[@]:-all}" -- --quiet
printf 'build.sh: build/%s is up to date (%d s)\n' "$preset" $((SECONDS - started))
if [[ $(command -v gda) != "$PWD/build/$preset/gda" ]]; then
  # shellcheck disable=SC2016
  printf 'build.sh: gda for this shell: export PATH="%s/build/%s:$PATH"; for good: docs/install.md\n' "$PWD" "$preset"
fi

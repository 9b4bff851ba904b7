#!/usr/bin/env bash
# Checks and measures gda on a machine with a GPU and little else, in at most 7 minutes: whether it starts,
# losses beside a CPU's, operators' tests, speeds beside the device's own, training steps, profiles,
# PyTorch's attention and step, compute-sanitizer, two NCCL ranks on the one GPU, whole runs. Each stage
# has its limit of time, and none stops the next. Ends with a table for docs/performance.md.
#
#   scripts/gpu_check.sh --pack DIR       where there is a compiler: builds (preset cuda), and puts
#                                         the programs and their libraries into DIR and DIR.tar.gz
#   scripts/gpu_check.sh --bundle DIR     where there is a GPU: with what was packed, either of them
#   scripts/gpu_check.sh                  where there are both
#   scripts/gpu_check.sh --only STAGE     one stage; may be repeated
#   scripts/gpu_check.sh --variant NAME   other settings, and the stages that they matter to:
#                                         scripts/gpu_check/variants.txt
#   scripts/gpu_check.sh --limit STAGE=SECONDS   another limit; may be repeated
#   scripts/gpu_check.sh --logs DIR       gets table.md, and said.tar.gz with all that programs said
#                                         (build/gpu-check-logs)
#   scripts/gpu_check.sh --make-losses    prints scripts/gpu_check/losses-124m.txt anew, from a CPU
#
# Needs the driver and CUDA's cuBLASLt and NCCL. ncu, compute-sanitizer and a python3 with torch are used
# where they are there; PYTHON=... names another python3. Exit code 1: something failed; what could not be
# run because its tool is missing is no failure, and in the table.
set -euo pipefail
command_line="$0 $*"
cd "$(dirname "$0")/.."
source scripts/gpu_check/run.sh
source scripts/gpu_check/stages.sh

usage_error() {
  printf 'gpu_check.sh: error: %s\n' "$1" >&2
  exit 2
}

bundle=
pack=
logs=build/gpu-check-logs
parts=()
settings=()
python=${PYTHON:-python3}

check_stage() {
  [[ -n ${limits[$2]:-} ]] || usage_error "$1 $2: known are ${stages[*]}"
}

# Sets `settings`, the environment, and the stages unless they are chosen already.
use_variant() {
  local name chosen words word known
  known=$(sed -nE 's/^([a-z-]+) \|.*/\1/p' scripts/gpu_check/variants.txt | tr '\n' ' ')
  while IFS='|' read -r name chosen words; do
    [[ $name == "$1 " ]] || continue
    for word in $words; do
      if [[ ${word%%=*} == *.* ]]; then settings+=("$word"); else export "${word?}"; fi
    done
    ((${#parts[@]} > 0)) || read -ra parts <<< "$chosen"
    return
  done < scripts/gpu_check/variants.txt
  usage_error "--variant $1: known are $known"
}

variant=
make_losses=false
while (($# > 0)); do
  case $1 in
    --pack | --bundle | --only | --logs | --variant | --limit)
      (($# > 1)) || usage_error "$1 needs a value"
      ;;&
    --pack)
      pack=$2
      shift
      ;;
    --bundle)
      bundle=$2
      shift
      ;;
    --logs)
      logs=$2
      shift
      ;;
    --only)
      check_stage --only "$2"
      parts+=("$2")
      shift
      ;;
    --variant)
      variant=$2
      shift
      ;;
    --limit)
      check_stage --limit "${2%%=*}"
      [[ ${2#*=} =~ ^[0-9]+$ ]] || usage_error "--limit $2: expected STAGE=SECONDS"
      limits[${2%%=*}]=${2#*=}
      shift
      ;;
    --make-losses) make_losses=true ;;
    -h | --help)
      sed -n '2,23s/^# \{0,1\}//p' scripts/gpu_check.sh
      exit 0
      ;;
    *)
      usage_error "unknown option $1; known: --pack, --bundle, --only, --variant, --limit, --logs, --make-losses, --help"
      ;;
  esac
  shift
done
[[ -z $variant ]] || use_variant "$variant"
((${#parts[@]} > 0)) || parts=("${stages[@]}")

work=$(mktemp -d)
# Runs write into memory, where there are 8 GiB: a checkpoint on a slow disk would be timed with them.
scratch=$work/runs
if [[ $(df --output=avail /dev/shm 2> /dev/null | tail -n 1) -ge 8388608 ]]; then scratch=$(mktemp -d -p /dev/shm); fi
mkdir -p "$scratch"
session=
# shellcheck disable=SC2317
leave() {
  [[ -z $session ]] || end_session "$session"
  [[ ! -d $work/said ]] || pack_said
  rm -rf "$work" "$scratch"
}
trap leave EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
trap 'exit 129' HUP

# A shard of random tokens in llm.c's format: a header of 256 numbers, then 16-bit tokens. The same everywhere.
make_tokens() {
  perl -e 'srand 1; my $n = 600000;
    print pack("l<256", 20240520, 1, $n, (0) x 253), pack("S<*", map { int rand 32000 } 1 .. $n)' > "$1"
}

if $make_losses; then
  make_tokens "$work/random.bin"
  scripts/build.sh --preset cpu --target gda >&2
  build/cpu/gda train scripts/bench/gda-124m.yaml device=cpu precision.compute=fp32 run_dir="$work/run" \
    "data.sources=[{name: random, path: $work/random.bin, weight: 1}]" >&2
  grep -E '^(#|tolerance)' scripts/gpu_check/losses-124m.txt
  sed -E 's/.*"step":([0-9]+),.*"loss":([0-9.]+),"lr.*"grad_norm":([0-9.]+),.*/\1 \2 \3/' "$work/run/metrics.jsonl"
  exit 0
fi

tests=(ops/gda_ops_test ops/gda_each_kernel train/gda_train_test train/gda_train_mpi_test dist/gda_dist_mpi_test
  dist/gda_dist_failing_program bench/gda_ops_bench)
if [[ -n $pack ]]; then
  [[ ! -e $pack/bin/check-libraries ]] || rm -rf "$pack" "$pack.tar.gz"  # an older one
  targets=(--target gda)
  programs=()
  for test in "${tests[@]}"; do
    targets+=(--target "${test##*/}")
    programs+=(--with "build/cuda/tests/$test")
  done
  scripts/build.sh --preset cuda "${targets[@]}"
  make_tokens "$work/random.bin"
  scripts/bundle.sh --preset cuda --to "$pack" --tar "$pack.tar.gz" "${programs[@]}" --data "$work/random.bin"
  exit 0
fi

if [[ -z $bundle ]]; then
  bundle=build/bundle-gpu-check
  "$0" --pack "$bundle"
fi
[[ -e $bundle ]] || usage_error "$bundle is not there; make it with scripts/gpu_check.sh --pack"
if [[ -f $bundle ]]; then
  mkdir "$work/bundle"
  tar -xzf "$bundle" -C "$work/bundle" --strip-components 1
  bundle=$work/bundle
fi
bundle=$(cd "$bundle" && pwd)
bin=$bundle/bin
data=$bundle/share
[[ -x $bin/gda_each_kernel && -e $data/random.bin ]] ||
  usage_error "$bundle holds no tests or no tokens; make it with scripts/gpu_check.sh --pack"
mkdir -p "$logs" "$work/said"
logs=$(cd "$logs" && pwd)
said=$work/said
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export GTEST_COLOR=no

# What PyTorch needs of the disk is in memory when its turn comes.
(setsid "$python" -c 'import torch' &) > /dev/null 2>&1 < /dev/null || true

gpu=$(timeout 5 nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2> /dev/null | head -n 1 || true)
cuda=$(timeout 5 nvidia-smi 2> /dev/null | sed -nE 's/.*CUDA Version: *([0-9.]+).*/\1/p' | head -n 1 || true)
heading=("${gpu:-no nvidia-smi}, CUDA ${cuda:-unknown}, $(date -u +%Y-%m-%d), variant: ${variant:-none}:")
printf '%s\n' "${heading[@]}"
for part in "${parts[@]}"; do
  begin "$part" "${limits[$part]}"
  "stage_${part//-/_}" || true  # what failed is in the table
  pack_said
done

printf '\n'
cat "$logs/table.md"
printf '\n%d s; what the programs said: %s/said.tar.gz\n' "$SECONDS" "$logs"
exit $((failures > 0))

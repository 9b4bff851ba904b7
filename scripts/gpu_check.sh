#!/usr/bin/env bash
# Checks gda on a machine with a GPU and little else: the CUDA tests, compute-sanitizer, two NCCL
# ranks on the one GPU, then the benchmarks beside PyTorch's. Prints one table; under 9 minutes.
#
#   scripts/gpu_check.sh --pack DIR       where there is a compiler: builds (preset cuda), and puts
#                                         the programs and their libraries into DIR and DIR.tar.gz
#   scripts/gpu_check.sh --bundle DIR     where there is a GPU: with what was packed, either of them
#   scripts/gpu_check.sh                  where there are both
#   scripts/gpu_check.sh --only tests     tests, sanitizer, nccl or bench alone; may be repeated
#   scripts/gpu_check.sh --logs DIR       keeps what every program said (build/gpu-check)
#
# Needs the driver and CUDA's cuBLASLt and NCCL. compute-sanitizer and a python3 with torch are used
# where they are there; PYTHON=... names another python3.
set -euo pipefail
cd "$(dirname "$0")/.."

usage_error() {
  printf 'gpu_check.sh: error: %s\n' "$1" >&2
  exit 2
}

bundle=
pack=
logs=build/gpu-check
parts=()
while (($# > 0)); do
  case $1 in
    --pack | --bundle | --only | --logs)
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
      case $2 in
        tests | sanitizer | nccl | bench) parts+=("$2") ;;
        *) usage_error "--only $2: known are tests, sanitizer, nccl and bench" ;;
      esac
      shift
      ;;
    -h | --help)
      sed -n '2,13s/^# \{0,1\}//p' scripts/gpu_check.sh
      exit 0
      ;;
    *)
      usage_error "unknown option $1; known: --pack, --bundle, --only, --logs, --help"
      ;;
  esac
  shift
done
((${#parts[@]} > 0)) || parts=(tests sanitizer nccl bench)

tests=(ops/gda_ops_test train/gda_train_test train/gda_train_mpi_test dist/gda_dist_mpi_test dist/gda_dist_failing_program
  bench/gda_ops_bench)
if [[ -n $pack ]]; then
  scripts/build.sh --preset cuda --target all --target gda_ops_bench
  programs=()
  for test in "${tests[@]}"; do programs+=(--with "build/cuda/tests/$test"); done
  exec scripts/bundle.sh --preset cuda --to "$pack" --tar "$pack.tar.gz" "${programs[@]}"
fi

command -v nvidia-smi > /dev/null || usage_error "there is no nvidia-smi here, so no NVIDIA driver"
if [[ -z $bundle ]]; then
  bundle=build/bundle-gpu-check
  rm -rf "$bundle" "$bundle.tar.gz"
  "$0" --pack "$bundle"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [[ -f $bundle ]]; then
  mkdir "$work/bundle"
  tar -xzf "$bundle" -C "$work/bundle" --strip-components 1
  bundle=$work/bundle
fi
bin=$bundle/bin
[[ -x $bin/gda_ops_test ]] || usage_error "$bundle holds no tests; make it with scripts/gpu_check.sh --pack"
bin=$(cd "$bin" && pwd)
mkdir -p "$logs"
python=${PYTHON:-python3}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1

wants() { [[ " ${parts[*]} " == *" $1 "* ]]; }
table=()
failures=0
# check NAME SECONDS COMMAND...: runs it under a limit of time, keeps its output, notes the outcome.
check() {
  local name=$1 limit=$2 started=$SECONDS code=0 result
  shift 2
  timeout "$limit" "$@" > "$logs/$name.log" 2>&1 || code=$?
  # Tests without a device are skipped, which is no success here.
  if ((code == 0)) && grep -q 'no CUDA device' "$logs/$name.log"; then code=1; fi
  case $code in
    0) result=passed ;;
    124) result="FAILED: not done in $limit s" ;;
    *) result="FAILED: exit code $code" ;;
  esac
  if ((code != 0)); then
    failures=$((failures + 1))
    tail -n 25 "$logs/$name.log"
  fi
  table+=("$(printf '%-26s %-30s %4d s' "$name" "$result" $((SECONDS - started)))")
  printf '%s\n' "${table[-1]}"
}
skip() { table+=("$(printf '%-26s skipped: %s' "$1" "$2")"); }

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
if wants tests; then
  check operators 150 env GDA_TEST_DEVICE=cuda "$bin/gda_ops_test" '--gtest_filter=-Vector*'
  check whole-runs 120 env GDA_TEST_DEVICE=cuda "$bin/gda_train_test" \
    '--gtest_filter=DeviceTest.*:TrainerTest.*:FreezingTest.*:GrowthRampTest.*:GrowthStagesTest.*-*.EvaluatesWithTheMaskOfTheStep'
fi
if wants nccl; then
  mpirun=("$bin/mpirun" --oversubscribe --bind-to none -np 2)
  check nccl-collectives 60 env GDA_TEST_DEVICE=cuda "${mpirun[@]}" "$bin/gda_dist_mpi_test" '--gtest_filter=*Device*'
  # One rank comes late: the watchdog of the other ends both with code 1.
  check nccl-watchdog 60 bash -c '"$@"; (($? == 1))' - "${mpirun[@]}" "$bin/gda_dist_failing_program" 'late on a device'
  check nccl-runs 90 env GDA_TEST_DEVICE=cuda OMP_NUM_THREADS=2 "${mpirun[@]}" "$bin/gda_train_mpi_test" \
    '--gtest_filter=RanksTest.OneRankOrMany:RanksTest.ACheckpoint*:RanksTest.ResumingChangesNothing'
fi
if wants sanitizer; then
  sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2> /dev/null || true)
  if [[ -n $sanitizer ]]; then
    for tool in memcheck racecheck; do
      check "$tool" 60 env GDA_TEST_DEVICE=cuda "$sanitizer" --tool "$tool" --error-exitcode 9 --target-processes all \
        "$bin/gda_ops_test" '--gtest_filter=RmsNorm.*:Swiglu.*:Rope.*:Attention.WidthsOfTensorCores:Attention.StridedRows'
    done
  else
    skip sanitizer 'no compute-sanitizer here'
  fi
fi

# The value of a key in lines of JSON, one a line, and the median of numbers.
values() { sed -nE "s/.*\"$1\": ?([0-9.eE+-]+).*/\1/p"; }
median() { sort -g | awk '{ v[NR] = $1 } END { if (NR) print v[int((NR + 1) / 2)] }'; }

# A training step of a model of scripts/bench: tokens a second, and MFU against 989 TFLOP/s (bf16, H100 and H200).
bench_model() {
  local name=$1 run=$work/$1
  check "step-$name" 90 "$bin/gda" train "scripts/bench/$name.yaml" device=cuda logging.dir="$run" \
    "data.sources=[{name: random, path: $work/random.bin, weight: 1}]"
  [[ -f $run/metrics.jsonl ]] || return 0
  figures+=("$(printf '%-26s %9.0f tokens/s, MFU %s (causal)' "$name" \
    "$(tail -n +3 "$run/metrics.jsonl" | values tokens_per_second | median)" \
    "$(tail -n +3 "$run/metrics.jsonl" | values mfu_causal | median)")")
}

figures=()
if wants bench; then
  check operator-speeds 100 env GDA_BENCH_DEVICE=cuda "$bin/gda_ops_bench" --benchmark_min_time=0.05
  # A shard in llm.c's format: a header of 256 numbers, then 16-bit tokens.
  perl -e 'srand 1; my $n = 600000;
           print pack("l<256", 20240520, 1, $n, (0) x 253), pack("S<*", map { int rand 32000 } 1 .. $n)' > "$work/random.bin"
  bench_model gda-1.5b
  bench_model softmax-1.5b
  if "$python" -c 'import torch; assert torch.cuda.is_available()' 2> /dev/null; then
    check torch-attention 60 "$python" scripts/bench/torch_attention.py
    check torch-gda-1.5b 120 "$python" scripts/bench/torch_step.py --device cuda --model gda-1.5b --length 4096 \
      --batch 4 --steps 4 --warmup 3 --compile
    if [[ -s $logs/torch-gda-1.5b.log ]]; then
      figures+=("$(printf '%-26s %9.0f tokens/s' 'torch.compile gda-1.5b' \
        "$(sed -E 's/.*"seconds": \[([^]]*)\].*/\1/' "$logs/torch-gda-1.5b.log" | tail -n 1 | tr -d ' ' | tr ',' '\n' |
          median | awk '{ print 4 * 4096 / $1 }')")")
    fi
  else
    skip torch "$python has no torch with CUDA: no peer"
  fi
  sed -nE '/^(attention|differential|rms_norm|swiglu|adamw|convert|add_f32)/p' "$logs/operator-speeds.log"
  cat "$logs/torch-attention.log" 2> /dev/null || true
fi

printf '\n'
printf '%s\n' "${table[@]}" "${figures[@]}"
printf 'what the programs said: %s\n' "$logs"
exit $((failures > 0))

#!/usr/bin/env bash
# Measures gda on this machine's CPU: each operator beside the machine's own peak, then whole
# training steps of a 124M-parameter model (softmax, and GDA 3:1 of the same size) beside PyTorch's.
#
#   scripts/bench_cpu.sh                    all of it
#   scripts/bench_cpu.sh --ops              operators only
#   scripts/bench_cpu.sh --steps            training steps only
#   scripts/bench_cpu.sh --rounds 5         more rounds of each program, in turns (3)
#   PYTHON=venv/bin/python scripts/bench_cpu.sh     the Python that has torch (python3)
#
# Programs take turns, so that they meet the same neighbours on a shared machine; figures are
# medians over the steps of all rounds. THREADS=2 sets the threads of each program.
set -euo pipefail
cd "$(dirname "$0")/.."

usage_error() {
  printf 'bench_cpu.sh: error: %s\n' "$1" >&2
  exit 2
}

ops=true
steps=true
rounds=3
steps_a_round=4
threads=${THREADS:-2}
python=${PYTHON:-python3}
while (($# > 0)); do
  case $1 in
    --rounds)
      (($# > 1)) || usage_error "$1 needs a value"
      ;;&
    --ops) steps=false ;;
    --steps) ops=false ;;
    --rounds)
      rounds=$2
      shift
      ;;
    -h | --help)
      sed -n '2,12s/^# \{0,1\}//p' scripts/bench_cpu.sh
      exit 0
      ;;
    *)
      usage_error "unknown option $1; known: --ops, --steps, --rounds, --help"
      ;;
  esac
  shift
done

scripts/build.sh --target gda --target gda_ops_bench
export OMP_NUM_THREADS=$threads
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

printf '\n%s, %s threads, %s, %s\n' "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" \
  "$threads" "$(git rev-parse --short HEAD)" "$(date -u +%F)"
$ops && build/cpu/tests/bench/gda_ops_bench --benchmark_min_time=0.3
$steps || exit 0

# A shard in llm.c's format: a header of 256 numbers, then 16-bit tokens.
perl -e 'srand 1; my $n = 200000;
         print pack("l<256", 20240520, 1, $n, (0) x 253), pack("S<*", map { int rand 50304 } 1 .. $n)' \
  > "$work/random.bin"

# The value of a key in lines of JSON, one a line.
values() { sed -nE "s/.*\"$1\": ?([0-9.eE+-]+).*/\1/p"; }
median() { sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# Appends the seconds of each step but the first, and peak memory in GiB.
run_gda() {
  local name=$1 run=$work/$1-run
  rm -rf "$run"
  if ! build/cpu/gda train "scripts/bench/$name.yaml" "data.sources=[{name: random, path: $work/random.bin, weight: 1}]" \
    train.steps=$((steps_a_round + 1)) run_dir="$run" > "$work/$name.log" 2>&1; then
    cat "$work/$name.log" >&2
    printf 'bench_cpu.sh: error: gda train scripts/bench/%s.yaml failed\n' "$name" >&2
    exit 1
  fi
  tail -n +2 "$run/metrics.jsonl" | values tokens_per_second | awk '{ print 1024 / $1 }' >> "$work/$name.seconds"
  values peak_resident_bytes < "$run/metrics.jsonl" | awk '{ print $1 / 2^30 }' | tail -n 1 >> "$work/$name.gib"
  rm -rf "$run"
}

run_torch() {
  "$python" scripts/bench/torch_step.py --threads "$threads" --steps $steps_a_round > "$work/torch.json"
  sed -E 's/.*"seconds": \[([^]]*)\].*/\1/' "$work/torch.json" | tr -d ' ' | tr ',' '\n' >> "$work/torch.seconds"
  values peak_gib < "$work/torch.json" >> "$work/torch.gib"
}

programs=(softmax-124m gda-124m)
if "$python" -c 'import torch' 2> /dev/null; then
  programs=(torch "${programs[@]}")
else
  printf 'bench_cpu.sh: %s has no torch: the peer is skipped; PYTHON=... names one that has it\n' "$python"
fi
for ((round = 1; round <= rounds; ++round)); do
  printf 'round %d of %d\n' "$round" "$rounds"
  for program in "${programs[@]}"; do
    if [[ $program == torch ]]; then run_torch; else run_gda "$program"; fi
  done
done

seconds_of() { median < "$work/$1.seconds"; }
baseline=
printf '\ntraining step, B 4, T 256           s/step  tokens/s  speed  peak GiB   fastest–slowest step\n'
for program in "${programs[@]}"; do
  seconds=$(seconds_of "$program")
  baseline=${baseline:-$seconds}
  case $program in
    torch) title="PyTorch $(sed -E 's/.*"torch": "([^"]*)".*"compute": "([^"]*)".*/\1 \2/' "$work/torch.json")" ;;
    softmax-124m) title='gda, softmax 124M' ;;
    gda-124m) title='gda, GDA 3:1 124M' ;;
  esac
  awk -v title="$title" -v s="$seconds" -v base="$baseline" -v gib="$(median < "$work/$program.gib")" \
    -v range="$(sort -g "$work/$program.seconds" | sed -n '1p;$p' | tr '\n' ' ')" 'BEGIN {
      split(range, r, " ")
      printf "%-34s %7.3f %9.0f %5.2fx %9.2f   %.3f–%.3f\n", title, s, 1024 / s, base / s, gib, r[1], r[2]
    }'
done
awk -v g="$(seconds_of gda-124m)" -v s="$(seconds_of softmax-124m)" \
  'BEGIN { printf "GDA 3:1 takes %.3f times as long as softmax with as many parameters\n", g / s }'

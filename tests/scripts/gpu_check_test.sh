#!/usr/bin/env bash
# shellcheck disable=SC2016
# Tests scripts/gpu_check.sh with programs and tools that only pretend: the order of its stages, their limits
# of time, what a stage that hangs, fails or lacks its tool does to the others, and what is left behind.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# expect WHAT CONDITION...: a command that has to succeed.
expect() {
  local what=$1
  shift
  "$@" && return
  printf 'FAILED: %s: %s\n' "$what" "$*"
  failures=$((failures + 1))
}
has() { grep -qE -- "$2" "$1"; }
# Dead, though perhaps nobody has waited for it.
gone() { [[ ! -e /proc/$1 || $(awk '/^State/ { print $2 }' "/proc/$1/status") == Z ]]; }
is() { [[ $1 == "$2" ]]; }

# pretend FILE: a program of these lines, which notes how it was called.
pretend() {
  mkdir -p "${1%/*}"
  {
    printf '#!/usr/bin/env bash\nprintf "%%s %%s\\n" "${0##*/}" "$*" >> "%s/calls"\n' "$work"
    cat
  } > "$1"
  chmod +x "$1"
}

make_bundle() {
  local bin=$work/bundle/bin name
  mkdir -p "$work/bundle/share"
  : > "$work/bundle/share/random.bin"
  pretend "$bin/check-libraries" <<< ''
  pretend "$bin/gda_each_kernel" <<< 'echo "rms_norm   finite"'
  for name in gda_ops_test gda_train_test gda_train_mpi_test gda_dist_mpi_test; do
    pretend "$bin/$name" <<< 'echo "[       OK ] A.Test (1 ms)"'
  done
  pretend "$bin/gda_dist_failing_program" <<< 'exit 1'
  pretend "$bin/mpirun" <<< 'while [[ $1 == -* ]]; do case $1 in -np | --bind-to) shift ;; esac; shift; done; "$@"'
  pretend "$bin/gda_ops_bench" <<< 'echo "bf16 peak: 790.0 GFLOP/s"
echo "attention_forward_pass/bf16/B:4/T:4096/manual_time  1.50 ms  1.60 ms  10 GFLOP/s=1k/s causal_TFLOP/s=123.4/s peak_%=20/s"
echo "adamw/bf16_copy/manual_time  9.1 ms  9.2 ms  1 GB/s=2.5k/s peak_%=90/s"
echo "forward/bf16/manual_time  1.1 ms  1.2 ms  1 GFLOP/s=950k/s peak_%=119/s"'
  # The losses that are expected, as a run would give them.
  pretend "$bin/gda" << GDA
for word; do case \$word in run_dir=*) dir=\${word#*=} ;; esac; done
mkdir -p "\$dir"
awk 'NF == 3 && !/^[#t]/ { printf "{\"step\":%d,\"loss\":%s,\"grad_norm\":%s,\"tokens_per_second\":1000,\"mfu_causal\":0.5,\"peak_flops\":989.4e12,\"measured_flops\":8.0e14,\"share_of_measured\":0.62}\n", \$1, \$2, \$3 }' \
  $PWD/scripts/gpu_check/losses-124m.txt > "\$dir/metrics.jsonl"
[[ -e $work/half || \$* == *steps=2* ]] || sleep 100 # as a checkpoint may take
GDA
  pretend "$work/tools/nvidia-smi" <<< 'echo "NVIDIA Pretence, 570.1, 80000 MiB"; echo "| CUDA Version: 13.0 |"'
  pretend "$work/tools/ncu" << 'NCU'
while (($# > 0)); do
  case $1 in
    --export) echo report > "$2.ncu-rep" ;;
    --import) printf '  void gda::cuda::tiled::forward_tiles<128>(int) (64, 1, 1)x(128, 1, 1), Context 1, Stream 7\n    Duration us 812.5\n' ;;
    --log-file)
      printf '"ID","Kernel Name","gpu__time_duration.sum"\n"","","ns"\n' > "$2"
      for name in rms_norm rms_norm gda::cuda::update rms_norm rms_norm gda::cuda::update zero; do printf '"0","void %s<float>(int, int)","1,500"\n' $name; done >> "$2" ;;
    */bin/*) break ;;
  esac
  shift
done
(($# == 0)) || "$@"
NCU
  pretend "$work/tools/compute-sanitizer" <<< 'while [[ $1 != */bin/* ]]; do shift; done; "$@"; echo "========= ERROR SUMMARY: 0 errors"
echo "========= Error: Race reported between Read access at nvjet_tst+0xab0"; echo "=========     and Write access at ${RACE:-nvjet_tst+0x2e30}"'
  pretend "$work/tools/python3" <<< 'case $1 in *attention.py) echo "torch 2" ;; *step.py) echo "tokens/s 30000: PyTorch" ;; esac'
}

# check ARGUMENT...: its exit code is $code, what it printed $work/printed, its table $work/logs/table.md.
check() {
  rm -rf "$work/logs" "$work/calls"
  code=0
  PATH=$work/tools:$PATH scripts/gpu_check.sh --bundle "$work/bundle" --logs "$work/logs" "$@" > "$work/printed" 2>&1 || code=$?
  ! [[ -v VERBOSE ]] || cat "$work/printed"
}

everything_passes() {
  local order limits
  check
  expect 'all pass' is $code 0
  order=$(sed -nE 's/^== ([a-z-]+), at most.*/\1/p' "$work/printed" | tr '\n' ' ')
  expect 'order' is "$order" 'device losses tests speeds train profile torch-attention sanitizer nccl torch-step runs '
  limits=$(sed -nE 's/^== .*, at most ([0-9]+) s/\1/p' "$work/printed" | awk '{ sum += $1 } END { print sum }')
  expect 'limits together' test "$limits" -le 420
  expect 'one archive and the table' is "$(find "$work/logs" -type f | wc -l)" 2
  expect 'the archive is whole' tar -tzf "$work/logs/said.tar.gz" ./libraries.log ./durations.csv > /dev/null
  for line in '^NVIDIA Pretence, 570.1, 80000 MiB, CUDA 13.0, 20' '^\| losses-as-on-a-cpu \| passed, . s \| .*loss 0 \(of' \
    '^\| tests-attention \| passed.* 8 tests passed, 0 failed' '^\| speeds-attention \|.*peak: 790.0 GFLOP/s' \
    '^\| +\| +\| attention_forward_pass/bf16/B:4/T:4096: 1.50 ms, 123.4 causal TFLOP/s, 20 % of peak \|$' \
    '^\| speeds-others \| passed' '^\| +\| +\| adamw/bf16_copy: 9.1 ms, 2.5 TB/s, 90 % of peak' 'forward/bf16: 1.1 ms, 950 TFLOP/s, more than was measured as the peak' '^\| train-1.5b \|.* 1000 tokens/s, MFU 0.5 \(causal, of 989 TFLOP/s\), 0.62 of the measured 800, ' '^\| profile-attention \|.*forward_tiles<128>.*Duration 812.5 us' \
    '^\| profile-micro-batch \|.* 3 us in 2 of rms_norm' '^\| torch-attention \|.* torch 2' '^\| memcheck \| passed' 'memcheck: ERROR SUMMARY: 0 errors \|$' 'racecheck: 1 operators finite' '^\| races-of-our-own \| passed' \
    '^\| nccl-watchdog \| passed' '^\| torch-step \|.*tokens/s 30000' '^\| runs \| passed'; do
    expect 'the table' has "$work/logs/table.md" "$line"
  done
  expect 'a kernel in every other step' has "$work/logs/table.md" '1 us in 0.5 of zero'
}

a_stage_hangs_another_fails() {
  # It does not heed SIGTERM, and has a child in a group of its own, as mpirun's are.
  pretend "$work/bundle/bin/gda_ops_test" << HANG
trap '' TERM
set -m
sleep 300 &
echo "\$!" >> "$work/children"
wait
HANG
  pretend "$work/bundle/bin/gda_each_kernel" <<< 'echo "it fell over"; exit 3'
  sed -i 's/printf "{/NR % 2 { next } &/' "$work/bundle/bin/gda" # half of the steps
  : > "$work/half"
  PYTHON=$work/none check --only device --only tests --only losses --only torch-step --only speeds --limit tests=2
  expect 'something failed' is $code 1
  expect 'a failure is shown' has "$work/printed" 'it fell over'
  for line in '\| managed-kilobyte \| FAILED: exit code 3 ' '\| tests-attention \| FAILED: not done in 2 s' \
    '\| tests-others \| FAILED: the time of its stage was over' '\| losses-as-on-a-cpu \| FAILED: exit code 1' ' of 5 steps are there \|$' \
    '\| torch-step \| skipped: .*none has no torch' '\| speeds-others \| passed'; do
    expect 'the table' has "$work/logs/table.md" "$line"
  done
  expect 'there were children' is "$(wc -l < "$work/children")" 8
  while read -r child; do expect 'no child is left' gone "$child"; done < "$work/children"
}

it_is_stopped() {
  local pid
  rm -rf "$work/logs" "$work/children"
  PATH=$work/tools:$PATH scripts/gpu_check.sh --bundle "$work/bundle" --logs "$work/logs" --only device --only tests > "$work/printed" 2>&1 &
  pid=$!
  for _ in {1..100}; do
    [[ -e $work/children && $(wc -l < "$work/children") == 8 ]] && break
    sleep 0.1
  done
  kill "$pid"
  code=0
  wait "$pid" || code=$?
  expect 'its code' is $code 143
  expect 'what was done is kept' has "$work/logs/table.md" '\| libraries \| passed'
  expect 'what was said is kept' tar -tzf "$work/logs/said.tar.gz" ./libraries.log ./tests-attention.log > /dev/null
  while read -r child; do expect 'no child is left' gone "$child"; done < "$work/children"
}

variants_and_mistakes() {
  check --variant graphs
  expect 'only its stages' is "$(sed -nE 's/^== ([a-z-]+), at most.*/\1/p' "$work/printed" | tr '\n' ' ')" 'train '
  expect 'its setting' has "$work/calls" '^gda train .*gda-1.5b.yaml .* train.cuda_graphs=true$'
  pretend "$work/bundle/bin/gda_ops_bench" <<< 'echo "GPU: with $GDA_ATTENTION"'
  check --variant portable --only speeds
  expect 'its environment' has "$work/logs/table.md" 'speeds-attention .*GPU: with portable'
  RACE='void gda::cuda::forward(int)+0x10' check --only sanitizer
  expect 'a race of our own' has "$work/logs/table.md" '^\| races-of-our-own \| FAILED'
  check --variant none
  expect 'an unknown variant' is $code 2
  expect 'the known ones' has "$work/printed" 'known are graphs recompute no-recompute portable'
  check --only nothing
  expect 'an unknown stage' is $code 2
  expect 'the known ones' has "$work/printed" 'known are device losses'
}

make_bundle
everything_passes
variants_and_mistakes
a_stage_hangs_another_fails
it_is_stopped
if ((failures > 0)); then
  printf '%d failures\n' "$failures"
  exit 1
fi
echo 'gpu_check_test.sh: passed'

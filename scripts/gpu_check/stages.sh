# shellcheck shell=bash disable=SC2154,SC2034
# The stages of scripts/gpu_check.sh, which sets bin, data, said, python and settings (of gda train). Each
# is a function stage_NAME; limits are the seconds that a stage may take in all.

stages=(device losses tests speeds train profile torch-attention sanitizer nccl torch-step runs)
declare -A limits=(
  [device]=10 [losses]=15 [tests]=65 [speeds]=45 [train]=65 [profile]=40 [torch-attention]=20
  [sanitizer]=45 [nccl]=35 [torch-step]=60 [runs]=20)

# The first of these programs that is there; nothing without one.
first_of() {
  local candidate
  for candidate in "$@"; do
    if command -v "$candidate" 2> /dev/null; then return; fi
  done
}

# The value of a key in lines of JSON, one a line, and the median of numbers.
values() { sed -nE "s/.*\"$1\": ?([0-9.eE+-]+).*/\1/p"; }
median() { sort -g | awk '{ v[NR] = $1 } END { if (NR) print v[int((NR + 1) / 2)] }'; }

stage_device() {
  step libraries 5 "$bin/check-libraries"
  if command -v nvidia-smi > /dev/null; then
    step nvidia-smi 5 nvidia-smi
    figures_of timeout 3 nvidia-smi --query-gpu=memory.total,clocks.max.sm,power.limit,mig.mode.current --format=csv,noheader
  else
    skip nvidia-smi 'there is none here'
  fi
  step managed-kilobyte 12 "$bin/gda_each_kernel" managed
}

# train NAME SECONDS LAST MODEL SETTING...: a run of scripts/bench/MODEL.yaml on the GPU until it has reported
# step LAST; with LAST 0 to its own end, checkpoint and all. What it reported is in $said/NAME/metrics.jsonl.
launcher=()  # what starts it
train() {
  local name=$1 limit=$2 last=$3 model=$4 until=()
  shift 4
  ((last == 0)) || until=(bash scripts/gpu_check/until_step.sh "$last" "$scratch/$name/metrics.jsonl")
  step "$name" "$limit" "${until[@]}" "${launcher[@]}" "$bin/gda" train "scripts/bench/$model.yaml" device=cuda \
    run_dir="$scratch/$name" "data.sources=[{name: random, path: $data/random.bin, weight: 1}]" train.steps=1000 "$@" "${settings[@]}"
  mkdir -p "$said/$name"
  cp "$scratch/$name/metrics.jsonl" "$scratch/$name/config.yaml" "$said/$name/" 2> /dev/null || true
  rm -rf "${scratch:?}/$name"
}

stage_losses() {
  train losses-124m 19 5 gda-124m precision.compute=bf16
  step losses-as-on-a-cpu 5 awk -f scripts/gpu_check/losses.awk scripts/gpu_check/losses-124m.txt \
    "$said/losses-124m/metrics.jsonl"
  figures_of head -n 3 "$said/losses-as-on-a-cpu.log"
}

# shards NAME SECONDS PROGRAM FILTER
shards() {
  step "$1" "$2" env GDA_TEST_DEVICE=cuda OMP_NUM_THREADS=2 bash scripts/gpu_check/shards.sh 8 "$said/$1" "$bin/$3" "--gtest_filter=$4"
  figures_of grep 'tests passed' "$said/$1.log"
}

stage_tests() {
  shards tests-attention 50 gda_ops_test '*Attention*'
  shards tests-others 60 gda_ops_test '-*Attention*:Vector*'
}

# Lines of Google Benchmark as figures: name, time, and the rates that it counts, whose thousands it writes k.
speeds_of() {
  awk '/manual_time/ {
      sub(/\/manual_time/, "", $1)
      line = $1 ": " $2 " " $3
      for (i = 4; i <= NF; ++i) {
        if (split($i, part, "=") != 2) continue
        sub(/\/s$/, "", part[2])
        kilo = sub(/k$/, "", part[2])
        if (part[1] == "causal_TFLOP/s") line = line ", " part[2] " causal TFLOP/s"
        if (part[1] == "GFLOP/s" && !/causal/) line = line ", " part[2] (kilo ? " TFLOP/s" : " GFLOP/s")
        if (part[1] == "GB/s") line = line ", " part[2] (kilo ? " TB/s" : " GB/s")
        if (part[1] == "peak_%") line = line (part[2] + 0 > 100 ? ", more than was measured as the peak" : ", " part[2] " % of peak")
      }
      print line
    }
    /^(GPU|bf16 peak|memory peak): / { print }' "$1"
}

stage_speeds() {
  local bench=(env GDA_BENCH_DEVICE=cuda "$bin/gda_ops_bench" --benchmark_min_time=0.001)
  step speeds-attention 25 "${bench[@]}" '--benchmark_filter=attention_(forward|backward)_pass/bf16'
  figures_of speeds_of "$said/speeds-attention.log"
  step speeds-others 25 "${bench[@]}" \
    '--benchmark_filter=^((forward|forward_onto_residual|input_gradient|weight_gradient|loss_and_gradients)/bf16|rms_norm_.*/bf16|adamw/bf16|differential_.*/bf16|swiglu_.*/bf16)'
  figures_of speeds_of "$said/speeds-others.log"
}

tera() { values "$1" < "$2" | tail -n 1 | awk '{ printf "%.0f", $1 / 1e12 }'; }

# Of a run of gda the medians of what comes after the first two steps.
rates_of() {
  local metrics=$said/$1/metrics.jsonl
  [[ -s $metrics ]] || return 0
  printf '%.0f tokens/s, MFU %s (causal, of %s TFLOP/s), %s of the measured %s, losses %s\n' \
    "$(tail -n +3 "$metrics" | values tokens_per_second | median)" \
    "$(tail -n +3 "$metrics" | values mfu_causal | median | cut -c 1-5)" "$(tera peak_flops "$metrics")" \
    "$(tail -n +3 "$metrics" | values share_of_measured | median | cut -c 1-5)" "$(tera measured_flops "$metrics")" \
    "$(values loss < "$metrics" | cut -c 1-7 | tr '\n' ' ')"
}

stage_train() {
  train train-1.5b 30 5 gda-1.5b
  figures_of rates_of train-1.5b
  [[ " ${settings[*]}" != *cuda_graphs* ]] || return 0  # it was with them, or is to be without
  train train-1.5b-softmax 30 5 softmax-1.5b
  figures_of rates_of train-1.5b-softmax
  train train-1.5b-graphs 30 5 gda-1.5b train.cuda_graphs=true
  figures_of rates_of train-1.5b-graphs
}

# Of ncu's page of details what tells most, a line a kernel.
details_of() {
  awk '/^  [^ ].*Context/ {
      if (line != "") print line
      line = $0
      gsub(/^ *(void )?|gda::cuda::|<unnamed>::|\(anonymous namespace\)::/, "", line)
      sub(/\(.*/, "", line)
      line = substr(line, 1, 80)
    }
    /^ +(Duration|Registers Per Thread|Achieved Occupancy|SM Busy|Executed Ipc Active|DRAM Throughput) / {
      name = $1
      for (i = 2; i <= NF - 2; ++i) name = name " " $i
      line = line ", " name " " $NF " " $(NF - 1)
    }
    END { if (line != "") print line }' "$1"
}

stage_profile() {
  local ncu
  ncu=$(first_of ncu /usr/local/cuda/bin/ncu /opt/nvidia/nsight-compute/*/ncu)
  if [[ -z $ncu ]]; then
    skip profile 'no ncu here'
    return
  fi
  local always=(--clock-control none --target-processes all --kernel-name-base demangled)
  step profile-attention 22 "$ncu" "${always[@]}" --set full --kernel-name 'regex:attention|tiled|hopper' --launch-count 4 \
    --force-overwrite --export "$said/attention" "$bin/gda_each_kernel" attention 4096 4
  if [[ -s $said/attention.ncu-rep ]]; then
    limited 8 "$said/attention-details.log" "$ncu" --import "$said/attention.ncu-rep" --page details || true
    figures_of details_of "$said/attention-details.log"
  fi
  # Two layers, and algorithms of cuBLASLt that are not chosen by timing them under a profiler.
  launcher=("$ncu" "${always[@]}" --print-kernel-base demangled --metrics gpu__time_duration.sum --csv --page raw
    --print-units base --log-file "$said/durations.csv")
  train profile-micro-batch 25 0 gda-1.5b train.steps=2 train.global_batch_size=4 model.num_hidden_layers=2 train.reproducible=true
  launcher=()
  awk -f scripts/gpu_check/kernels.awk "$said/durations.csv" > "$said/durations.txt" 2> /dev/null || true
  figures_of head -n 12 "$said/durations.txt"
}

stage_torch_attention() {
  has_torch torch-attention || return 0
  step torch-attention 29 "$python" scripts/bench/torch_attention.py
  figures_of grep -E '^(torch|cudnn|softmax)' "$said/torch-attention.log"
}

has_torch() {
  command -v "$python" > /dev/null &&
    limited 10 "$said/torch.log" "$python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)' &&
    return
  skip "$1" "$python has no torch: no peer"
  return 1
}

stage_torch_step() {
  has_torch torch-step || return 0
  step torch-step 60 "$python" scripts/bench/torch_step.py --device cuda --model gda-1.5b --length 4096 --batch 4 \
    --steps 3 --warmup 2 --layers 2 6 --compile layers
  figures_of grep '^tokens' "$said/torch-step.log"
}

stage_sanitizer() {
  local sanitizer tool
  sanitizer=$(first_of compute-sanitizer /usr/local/cuda/bin/compute-sanitizer /usr/local/cuda/compute-sanitizer/compute-sanitizer)
  if [[ -z $sanitizer ]]; then
    skip sanitizer 'no compute-sanitizer here'
    return
  fi
  local always=(--target-processes all "$bin/gda_each_kernel" all)
  step memcheck 20 "$sanitizer" --tool memcheck --error-exitcode 9 "${always[@]}"
  step racecheck 40 "$sanitizer" --tool racecheck "${always[@]}"
  for tool in memcheck racecheck; do
    figure "$tool: $(grep -hE 'ERROR SUMMARY|RACECHECK SUMMARY' "$said/$tool.log" | tail -n 1 | sed 's/^=* *//')"
    figure "$tool: $(awk '/ finite$/ { ++n } END { print n + 0 " operators finite" }' "$said/$tool.log")"
  done
  # It does not know all that NVIDIA's own kernels wait by; gda's have to be free of hazards.
  # shellcheck disable=SC2016
  step races-of-our-own 5 bash -c '! grep -E "(Read|Write) access at" "$1" | grep -vE "access at (void )?(nvjet|cublas|cutlass)"' \
    - "$said/racecheck.log"
}

stage_nccl() {
  local ranks=("$bin/mpirun" --oversubscribe --bind-to none -np 2)
  # Two ranks on one GPU take turns, so all of it is small. The machine need not have a network.
  local environment=(env GDA_TEST_DEVICE=cuda OMP_NUM_THREADS=2 NCCL_SOCKET_IFNAME=lo NCCL_IB_DISABLE=1 NCCL_DEBUG=WARN)
  step nccl-all-reduce 25 "${environment[@]}" "${ranks[@]}" "$bin/gda_dist_mpi_test" '--gtest_filter=*Device*AllReduce*'
  step nccl-run 25 "${environment[@]}" "${ranks[@]}" "$bin/gda_train_mpi_test" '--gtest_filter=RanksTest.OneRankOrMany'
  # One rank comes late: the watchdog of the other ends both with code 1.
  step nccl-watchdog 20 "${environment[@]}" bash -c '"$@"; (($? == 1))' - "${ranks[@]}" "$bin/gda_dist_failing_program" \
    'late on a device'
  step nccl-others 40 "${environment[@]}" "${ranks[@]}" "$bin/gda_dist_mpi_test" '--gtest_filter=*Device*-*AllReduce*'
}

stage_runs() {
  shards runs 20 gda_train_test \
    'DeviceTest.*:TrainerTest.*:FreezingTest.*:GrowthRampTest.*:GrowthStagesTest.*-*.EvaluatesWithTheMaskOfTheStep'
}

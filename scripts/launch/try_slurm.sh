#!/usr/bin/env bash
# Tries slurm.sbatch on one machine: starts munged, slurmctld and slurmd with a configuration of its own, submits a tiny
# run on the CPU with a short time limit, and looks whether it saves at the signal, is requeued, resumes and finishes;
# that an error is not requeued; and that scancel saves. One to two minutes, as root; what it makes and starts is gone
# afterwards. Another Slurm on the machine is left alone.
#
#   scripts/launch/try_slurm.sh               with gda of PATH or of build/
#   scripts/launch/try_slurm.sh --gda FILE    with another
#   scripts/launch/try_slurm.sh --keep        leave the folder with the run and the logs
#
# Packages of Debian: munge slurmctld slurmd slurm-client, which have the plugin for --mpi=pmix. Limits of memory and
# cores (cgroups) are off, and there is one node. GPUs and NCCL are not tried.
set -euo pipefail

usage_error() {
  printf 'try_slurm.sh: error: %s\n' "$1" >&2
  exit 2
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=tiny_run.sh
source "$here/tiny_run.sh"
gda='' keep=false
while (($# > 0)); do
  case $1 in
    --gda)
      (($# > 1)) || usage_error "$1 needs a value"
      gda=$2
      shift
      ;;
    --keep) keep=true ;;
    -h | --help)
      sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    *) usage_error "unknown option $1; known: --gda, --keep, --help" ;;
  esac
  shift
done
[[ $(id -u) -eq 0 ]] || usage_error "the daemons of Slurm need root here"
for program in munged slurmctld slurmd srun; do
  command -v $program > /dev/null || usage_error "$program not found (Debian: munge slurmctld slurmd slurm-client)"
done
gda=${gda:-$(find_gda "$here/../..")}
[[ -n $gda && -x $gda ]] || usage_error "no program ${gda:-gda}: build it by scripts/build.sh, or give --gda FILE"
gda=$(realpath "$gda")

dir=$(mktemp -d)
chmod 755 "$dir" # munged wants its socket within reach of everybody
daemons=()
clean_up() {
  local daemon waited=0
  if ((${#daemons[@]} == 3)); then
    scancel --full --user=root > /dev/null 2>&1 || true
    scancel --signal=KILL --user=root > /dev/null 2>&1 || true
    while [[ -n $(squeue --noheader 2> /dev/null) ]] && ((++waited < 60)); do
      sleep 0.5
    done
  fi
  for daemon in "${daemons[@]}"; do
    kill "$daemon" 2> /dev/null || true
    wait "$daemon" 2> /dev/null || true
  done
  if $keep; then
    echo "try_slurm.sh: kept: $dir"
  else
    rm -rf "$dir"
  fi
}
trap clean_up EXIT
trap 'exit 130' INT TERM

fail() {
  printf 'try_slurm.sh: error: %s\n' "$1" >&2
  tail -n 20 "$dir"/*.log >&2 || true
  exit 1
}

name=$(hostname -s)
cpus=$(nproc)
port=$((20000 + $$ % 20000))
mkdir "$dir/state" "$dir/spool"
dd if=/dev/urandom of="$dir/munge.key" bs=1024 count=1 status=none
chmod 400 "$dir/munge.key"
cat > "$dir/slurm.conf" << EOF
ClusterName=try
SlurmctldHost=$name(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket
SlurmctldPort=$port
SlurmdPort=$((port + 1))
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
# What works without cgroups, as in a container, and without a database.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerType=sched/builtin
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=20
# The number of CPUs is the one given here, at least two.
SlurmdParameters=config_overrides
NodeName=$name NodeAddr=127.0.0.1 CPUs=$((cpus < 2 ? 2 : cpus)) State=UNKNOWN
PartitionName=try Nodes=ALL Default=YES MaxTime=INFINITE State=UP
EOF
export SLURM_CONF=$dir/slurm.conf
cd "$dir"
munged --foreground --key-file="$dir/munge.key" --socket="$dir/munge.socket" --pid-file="$dir/munged.pid" \
  --seed-file="$dir/munged.seed" > munged.log 2>&1 &
daemons+=($!)
sleep 1
slurmctld -D > slurmctld.out 2>&1 &
daemons+=($!)
sleep 1
slurmd -D > slurmd.out 2>&1 &
daemons+=($!)
for ((i = 0; i < 100; ++i)); do
  [[ $(sinfo --noheader --format=%T 2> /dev/null) != idle ]] || break
  sleep 0.2
done
[[ $(sinfo --noheader --format=%T 2> /dev/null) == idle ]] || fail "the node did not come up"
srun --mpi=list 2>&1 | grep -q pmix || fail "this Slurm has no plugin pmix"
echo "try_slurm.sh: $(srun --version) on $name with $cpus CPUs, folder $dir"

# state JOB, exit_code JOB, restarts JOB: what Slurm says of a job.
field() { scontrol show job --oneliner "$1" | grep -oE "(^| )$2=[^ ]*" | cut -d = -f 2; }
# await JOB STATES SECONDS
await() {
  local waited=0
  until [[ " $2 " == *" $(field "$1" JobState) "* ]]; do
    ((++waited < $3 * 5)) || fail "job $1 is $(field "$1" JobState) after $3 s, not $2"
    sleep 0.2
  done
}
# await_step N
await_step() {
  local waited=0
  until (($(newest_step run) >= $1)); do
    ((++waited < 300)) || fail "no checkpoint of step $1 within a minute"
    sleep 0.2
  done
}
submit() {
  GDA=$gda OMP_NUM_THREADS=1 sbatch --parsable --nodes=1 --ntasks-per-node=2 --cpus-per-task=1 --gpus-per-node=0 \
    --time=2 --signal=B:USR1@60 --output=job-%j.log "$here/slurm.sbatch" "$@"
}

make_tiny_run "$dir" "$gda"

job=$(submit tiny.yaml train.stepz=3)
await "$job" FAILED 30
[[ $(field "$job" ExitCode) == 2:0 && $(field "$job" Restarts) == 0 ]] ||
  fail "a wrong setting: exit code $(field "$job" ExitCode), not 2:0"
job=$(submit tiny.yaml 'data.sources=[{name: en, path: missing}]')
await "$job" FAILED 30
[[ $(field "$job" ExitCode) == 1:0 && $(field "$job" Restarts) == 0 ]] ||
  fail "missing data: exit code $(field "$job" ExitCode), not 1:0"
echo "1. a wrong setting fails with exit code 2, missing data with 1; neither is requeued"

# More steps than there is time for.
sed -i 's/steps: 1500/steps: 1000000/' tiny.yaml
job=$(submit tiny.yaml)
await_step 100
scancel "$job"
await "$job" CANCELLED 30
grep -q 'stopped by SIGTERM' "job-$job.log" || fail "gda did not save at scancel"
step=$(newest_step run)
sleep 1
[[ $(field "$job" JobState) == CANCELLED ]] || fail "the cancelled job is $(field "$job" JobState)"
echo "2. scancel: saved step $step, cancelled"

job=$(submit tiny.yaml)
await "$job" RUNNING 30
await "$job" PENDING 150
grep -q "(step $step, written by 2 ranks)" "job-$job.log" || fail "the job did not resume from step $step"
grep -q 'stopped by SIGUSR1' "job-$job.log" || fail "gda did not save at the signal before the time limit"
step=$(newest_step run)
[[ $(field "$job" Restarts) == 1 ]] || fail "job $job was not requeued"
echo "3. the same command went on, was told to save before the time limit (step $step), and is requeued"

# The rest in a few seconds, and now: Slurm waits two minutes before it starts a requeued job.
sed -i "s/^  steps: 1000000/  steps: $((step + 300))/" run/config.yaml
scontrol update JobId="$job" StartTime=now
await "$job" COMPLETED 120
grep -q "(step $step, written by 2 ranks)" "job-$job.log" || fail "the requeued job did not resume from step $step"
(($(newest_step run) == step + 300)) || fail "the last checkpoint is of step $(newest_step run)"
[[ $(field "$job" ExitCode) == 0:0 ]] || fail "exit code $(field "$job" ExitCode)"
echo "4. the requeued job went on from there and finished at step $((step + 300)), exit code 0"
echo "try_slurm.sh: all went well"

#!/usr/bin/env bash
# Starts gda on hosts by Open MPI's mpirun, one rank for each slot of a host (one for each GPU).
#
#   scripts/launch/mpirun.sh [OPTIONS] train CONFIG [OVERRIDES...]
#   scripts/launch/mpirun.sh [OPTIONS] resume RUN_DIR [OVERRIDES...]
#
#   --hosts "a:4,b:4"       hosts and their slots
#   --hostfile FILE         the same from a file, a host a line: a slots=4
#   --ranks-per-host N      that many ranks on each host; the slots are then not needed
#   --network NAME          the TCP network between the hosts, an interface (eth0) or its addresses (10.0.0.0/8), where
#                           they have several
#   --resume-if-there       train: go on with the run if its folder holds a checkpoint, begin it otherwise
#   --gda FILE              the program, at the same path on every host; by default gda of PATH or of build/
#   --dry-run               print the command instead of running it
#   --help
#
# Without hosts mpirun takes those of the batch system, or this one. Folder, program, data and run folder have to be the
# same on every host. NCCL_*, UCX_*, OMP_NUM_THREADS, CUDA_VISIBLE_DEVICES, PATH and LD_LIBRARY_PATH are handed to the
# ranks where they are set; OMPI_MCA_* to mpirun and its daemons. The exit code is mpirun's. Ctrl-C, SIGTERM, SIGHUP and
# SIGUSR1 to this process save and end the run; a second Ctrl-C ends it at once.
set -euo pipefail

usage_error() {
  printf 'mpirun.sh: error: %s\n' "$1" >&2
  exit 2
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
hosts='' hostfile='' ranks_per_host='' network='' gda=''
resume_if_there=false dry_run=false
while (($# > 0)); do
  case $1 in
    --hosts | --hostfile | --ranks-per-host | --network | --gda)
      (($# > 1)) || usage_error "$1 needs a value"
      ;;&
    --hosts)
      hosts=$2
      shift
      ;;
    --hostfile)
      hostfile=$2
      shift
      ;;
    --ranks-per-host)
      ranks_per_host=$2
      shift
      ;;
    --network)
      network=$2
      shift
      ;;
    --gda)
      gda=$2
      shift
      ;;
    --resume-if-there) resume_if_there=true ;;
    --dry-run) dry_run=true ;;
    -h | --help)
      sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    -*)
      usage_error "unknown option $1; mpirun.sh --help lists them"
      ;;
    *) break ;;
  esac
  shift
done

[[ ${1:-} == train || ${1:-} == resume ]] || usage_error "after the options: train CONFIG or resume RUN_DIR"
(($# > 1)) || usage_error "$1 needs a $([[ $1 == train ]] && echo 'configuration file' || echo 'run folder')"
command=$1 target=$2
shift 2
[[ -z $hosts || -z $hostfile ]] || usage_error "--hosts and --hostfile say the same: give one of them"
[[ -z $hostfile || -r $hostfile ]] || usage_error "--hostfile: cannot read $hostfile"
[[ -z $hosts || $hosts =~ ^[^,[:space:]]+(,[^,[:space:]]+)*$ ]] ||
  usage_error "--hosts $hosts: host:slots, separated by commas without spaces"
[[ -z $ranks_per_host || $ranks_per_host =~ ^[1-9][0-9]*$ ]] ||
  usage_error "--ranks-per-host $ranks_per_host: a whole number above 0"
if $resume_if_there && [[ $command != train ]]; then
  usage_error "--resume-if-there is for train; resume always resumes the run"
fi
if [[ $command == train ]]; then
  [[ -r $target ]] || usage_error "cannot read the configuration $target"
else
  [[ -d $target ]] || usage_error "there is no run folder $target"
fi
command -v mpirun > /dev/null || usage_error "mpirun is not in PATH: install Open MPI, or load its module"
if [[ -z $gda ]]; then
  for candidate in "$(command -v gda || true)" "$root/build/cuda/gda" "$root/build/cpu/gda"; do
    if [[ -x $candidate ]]; then
      gda=$candidate
      break
    fi
  done
  [[ -n $gda ]] || usage_error "no program gda in PATH or in build/: build it by scripts/build.sh, or give --gda FILE"
fi
[[ -x $gda && -f $gda ]] || usage_error "--gda: $gda is not a program"
gda=$(realpath "$gda")

# Whether a run folder holds a whole checkpoint: one with its manifest.
has_checkpoint() { compgen -G "$1/checkpoints/step-*/manifest.json" > /dev/null; }

if $resume_if_there; then
  overrides=()
  for argument in "$@"; do
    [[ $argument == -* || $argument != *=* ]] || overrides+=("$argument")
  done
  run=$("$gda" config "$target" "${overrides[@]}" --get run_dir) || exit
  if has_checkpoint "$run"; then
    command=resume target=$run
  fi
fi

# One rank a slot, and the ranks of a host in a row: NCCL builds its rings in that order.
launch=(mpirun --bind-to none)
if [[ -n $ranks_per_host ]]; then
  launch+=(--map-by "ppr:$ranks_per_host:node")
  # A host without a number of slots would have one.
  if [[ -n $hosts ]]; then
    list=''
    for host in ${hosts//,/ }; do
      [[ $host == *:* ]] || host+=:$ranks_per_host
      list+=${list:+,}$host
    done
    hosts=$list
  fi
else
  launch+=(--map-by slot)
fi
[[ -z $hosts ]] || launch+=(--host "$hosts")
[[ -z $hostfile ]] || launch+=(--hostfile "$hostfile")
# For the daemons of mpirun (oob) and for the ranks (btl).
[[ -z $network ]] || launch+=(--mca oob_tcp_if_include "$network" --mca btl_tcp_if_include "$network")
for name in $(compgen -e); do
  case $name in
    NCCL_* | UCX_* | OMP_NUM_THREADS | CUDA_VISIBLE_DEVICES | PATH | LD_LIBRARY_PATH) launch+=(-x "$name") ;;
  esac
done
launch+=("$gda" "$command" "$target" "$@")

if $dry_run; then
  for argument in "${launch[@]}"; do
    [[ $argument =~ ^[[:alnum:]_./:=,@%+-]+$ ]] || argument=${argument@Q}
    printf '%s ' "$argument"
  done
  echo
  exit 0
fi
# Told to end, mpirun leaves its ranks a second, too little to save. It hands SIGUSR1 on to them, so that is what it gets
# for whatever ends this script, which a process group of its own keeps from it. The second Ctrl-C ends it at once.
set -m
"${launch[@]}" < /dev/null &
mpirun=$!
set +m
interrupts=0
# shellcheck disable=SC2317  # called by the traps
pass_on() {
  [[ $1 != INT ]] || interrupts=$((interrupts + 1))
  if ((interrupts > 1)); then kill -TERM "$mpirun"; else kill -USR1 "$mpirun"; fi 2> /dev/null || true
}
for signal in INT TERM HUP USR1; do
  # shellcheck disable=SC2064  # the signal's name is put in now
  trap "pass_on $signal" "$signal"
done
while :; do
  wait "$mpirun" && code=0 || code=$?
  kill -0 "$mpirun" 2> /dev/null || break
done
exit "$code"

#!/usr/bin/env bash
# Tries a launch over two hosts on one machine: two Linux network namespaces, each with its own name and address, joined
# by a virtual cable (veth). Begins a tiny run on the CPU with a rank on each, kills a rank, goes on, stops it by
# SIGUSR1, and ends it with two ranks on each. Half a minute, as root; what it makes and starts is gone afterwards.
#
#   scripts/launch/try_netns.sh               with gda of PATH or of build/
#   scripts/launch/try_netns.sh --gda FILE    with another
#   scripts/launch/try_netns.sh --keep        leave the folder with the run and the logs
#
# It shows that daemons and ranks find each other by TCP, that the end of one rank ends all, and that a run goes on at
# another number of ranks. The file system is the same on both "hosts". GPUs and NCCL are not tried.
set -euo pipefail

usage_error() {
  printf 'try_netns.sh: error: %s\n' "$1" >&2
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
[[ $(id -u) -eq 0 ]] || usage_error "network namespaces need root"
for program in ip mpirun unshare; do
  command -v $program > /dev/null || usage_error "$program not found (Debian: iproute2, openmpi-bin, util-linux)"
done
gda=${gda:-$(find_gda "$here/../..")}
[[ -n $gda && -x $gda ]] || usage_error "no program ${gda:-gda}: build it by scripts/build.sh, or give --gda FILE"
gda=$(realpath "$gda")

dir=$(mktemp -d)
# Both hosts are namespaces of this script alone, and so is every process in them.
a=gda-$$-a b=gda-$$-b
address_a=10.77.0.1 address_b=10.77.0.2 network=10.77.0.0/24

pids_on() { ip netns pids "$1" 2> /dev/null || true; }
clean_up() {
  local host pid
  for host in "$a" "$b"; do
    for pid in $(pids_on "$host"); do
      kill -KILL "$pid" 2> /dev/null || true
    done
    ip netns del "$host" 2> /dev/null || true
  done
  wait 2> /dev/null || true
  if $keep; then
    echo "try_netns.sh: kept: $dir"
  else
    rm -rf "$dir"
  fi
}
trap clean_up EXIT
trap 'exit 130' INT TERM

fail() {
  printf 'try_netns.sh: error: %s\n' "$1" >&2
  [[ ! -e $dir/launch.log ]] || tail -n 30 "$dir/launch.log" >&2
  exit 1
}

ip netns add "$a"
ip netns add "$b"
ip link add name port-a netns "$a" type veth peer name port-b netns "$b"
ip -n "$a" address add "$address_a/24" dev port-a
ip -n "$b" address add "$address_b/24" dev port-b
for host in "$a" "$b"; do
  ip -n "$host" link set lo up
  ip -n "$host" link set "port-${host##*-}" up
done

# Runs a command on a host: what ssh is on a cluster. mpirun calls it with an address and a line for the shell.
cat > "$dir/agent" << EOF
#!/bin/sh
case \$1 in
  $address_a) host=$a ;;
  $address_b) host=$b ;;
  *) echo "agent: unknown host \$1" >&2; exit 1 ;;
esac
shift
exec ip netns exec \$host unshare --uts sh -c 'hostname "\$1" && exec sh -c "\$2"' sh \$host "\$*"
EOF
chmod +x "$dir/agent"
# shellcheck disable=SC2016
on_a() { exec ip netns exec "$a" unshare --uts sh -c 'hostname "$1" && shift && exec "$@"' sh "$a" "$@"; }

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
export OMPI_MCA_plm_rsh_agent=$dir/agent OMPI_MCA_orte_tmpdir_base=$dir
launch=("$here/mpirun.sh" --gda "$gda" --network "$network" --resume-if-there)
make_tiny_run "$dir" "$gda"
cd "$dir"

# launch RANKS: begins the run or goes on with it, in the background.
launch() {
  on_a "${launch[@]}" --hosts "$address_a,$address_b" --ranks-per-host "$1" train "$dir/tiny.yaml" \
    > "$dir/launch.log" 2>&1 &
  mpirun=$!
}
# await_step N: waits for a checkpoint of that step or a later one.
await_step() {
  local waited=0
  while (($(newest_step "$dir/run") < $1)); do
    kill -0 "$mpirun" 2> /dev/null || fail "the run ended before step $1"
    ((++waited < 600)) || fail "no checkpoint of step $1 within a minute"
    sleep 0.1
  done
}
# ranks_on HOST: the processes of gda there.
ranks_on() {
  local pid
  for pid in $(pids_on "$1"); do
    [[ $(readlink "/proc/$pid/exe" 2> /dev/null) != "$gda" ]] || echo "$pid"
  done
}
bytes_sent() { ip netns exec "$1" cat "/sys/class/net/port-${1##*-}/statistics/tx_bytes"; }

echo "try_netns.sh: $a ($address_a) and $b ($address_b), folder $dir"
launch 1
await_step 100
[[ $(ranks_on "$a" | wc -l) -eq 1 && $(ranks_on "$b" | wc -l) -eq 1 ]] || fail "the ranks are not on both hosts"
kill -KILL "$(ranks_on "$b")"
code=0
wait "$mpirun" || code=$?
((code != 0)) || fail "mpirun's exit code is 0 though a rank was killed"
[[ -z $(ranks_on "$a") ]] || fail "a rank outlived the other"
step=$(newest_step "$dir/run")
echo "1. began with a rank on each; killed the one on $b: the other ended too, exit code $code, saved: step $step"

launch 1
await_step $((step + 100))
kill -USR1 "$mpirun"
wait "$mpirun" || fail "SIGUSR1 to mpirun did not end the run with exit code 0"
grep -q "(step $step, written by 2 ranks)" "$dir/launch.log" || fail "it did not resume from step $step"
grep -q 'stopped by SIGUSR1' "$dir/launch.log" || fail "it was not SIGUSR1 that ended it"
step=$(newest_step "$dir/run")
echo "2. went on by the same command; SIGUSR1 to mpirun saved step $step, exit code 0"

launch 2
wait "$mpirun" || fail "the last launch failed"
grep -q "(step $step, written by 2 ranks)" "$dir/launch.log" || fail "it did not resume from step $step"
grep -qE 'ranks +4 ' "$dir/launch.log" || fail "it had not 4 ranks"
(($(newest_step "$dir/run") == 1500)) || fail "it did not come to step 1500"
echo "3. went on with two ranks on each to the end, step 1500"
sent_a=$(bytes_sent "$a") sent_b=$(bytes_sent "$b")
((sent_a > 10000000 && sent_b > 10000000)) || fail "hardly anything was sent: $sent_a and $sent_b bytes"
echo "   sent over the cable: $((sent_a / 1000000)) MB by $a, $((sent_b / 1000000)) MB by $b"
echo "try_netns.sh: all went well"

#!/usr/bin/env bash
# Stands for every program of a command block that documents_test.sh does not run: says whether the program called
# $0 knows the subcommand, options and settings that it is given, and does nothing.
set -euo pipefail
PATH=${GDA_TOOLS:?}
gda=${GDA_PROGRAM:?}
root=${GDA_ROOT:?}
name=${0##*/}

fail() {
  printf '%s: %s\n' "$name" "$1" >&2
  exit 1
}

# check_gda ARGUMENTS...: an upper-case word stands for one of the reader's.
check_gda() {
  local words=() help argument
  [[ ${1-} != --* ]] || return 0
  words=("${1-}")
  help=$("$gda" "${words[@]}" --help) || fail "no subcommand ${words[*]}"
  if [[ $# -gt 1 && $2 != --* ]] && grep -q '^Subcommands:' <<< "$help"; then
    words+=("$2")
    # Any of them for an OPERATOR.
    [[ $2 == *[a-z]* ]] || words[1]=$(awk '/^Subcommands:/ { getline; print $1 }' <<< "$help")
    help=$("$gda" "${words[@]}" --help) || fail "no subcommand ${words[*]}"
  fi
  for argument in "${@:2}"; do
    [[ $argument != --* ]] || grep -qE -- "^ +(-[a-z],)?${argument%%=*}( |\$)" <<< "$help" ||
      fail "gda ${words[*]} has no option $argument"
  done
  if [[ $1 == train && -e ${2-} ]]; then check_settings "${@:2}"; fi
}

# check_settings CONFIG OVERRIDES...
check_settings() {
  local settings=() argument
  for argument; do [[ $argument == --* ]] || settings+=("$argument"); done
  "$gda" config "${settings[@]}" > /dev/null
}

# check_script FILE ARGUMENTS...: its options are in its text.
check_script() {
  local file=$1 argument
  [[ -x $file || $file == *.sbatch ]] || fail "there is no program $file"
  for argument in "${@:2}"; do
    [[ $argument != --* ]] || grep -qE -- "(^|[^-a-z])${argument%%=*}([^-a-z]|\$)" "$file" ||
      fail "${file#"$root"/} does not know $argument"
  done
}

# check_launch ARGUMENTS...: a launcher's options, then a program that is checked in its turn.
check_launch() {
  while (($# > 0)); do
    case $1 in
      gda | */gda | scripts/*)
        PATH=${0%/*} "$@"
        return
        ;;
    esac
    shift
  done
}

check_presets() {
  local argument next=
  for argument; do
    [[ $next != --preset ]] || grep -q "\"name\": \"$argument\"" "$root/CMakePresets.json" ||
      fail "there is no preset $argument"
    next=$argument
  done
}

case $0 in
  */gda) check_gda "$@" ;;
  */scripts/launch/mpirun.sh)
    options=()
    while (($# > 0)) && [[ $1 != train && $1 != resume ]]; do options+=("$1") && shift; done
    check_script "$root/scripts/launch/mpirun.sh" "${options[@]}"
    check_gda "$@"
    ;;
  */scripts/launch/slurm.sbatch) check_gda train "$@" ;;
  */scripts/*) check_script "$root/scripts/${0#*/scripts/}" "$@" ;;
  */mpirun | */srun | */sbatch) check_launch "$@" ;;
  */cmake | */ctest) check_presets "$@" ;;
  *) ;;
esac

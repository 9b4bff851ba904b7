#!/usr/bin/env bash
# shellcheck disable=SC2016,SC2317
# Runs the command blocks of README.md, CONTRIBUTING.md and docs/ as a reader would who begins with README.md:
#
#   documents_test.sh GDA_PROGRAM [PAGE...]
#
# page after page in one folder that holds scripts/, configs/, build/cpu/gda and a corpus.txt. gda and mpirun are
# documents/tiny_*.sh, which cut sizes down. A block below <!-- not run: WHY --> is only rehearsed: every program in it is
# documents/check_command.sh, which checks what it is called with. So are commands in running text. YAML blocks are read
# by `gda config`. Files of configs/ and scripts/ and settings (`train.steps`) that are named have to be there.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
parts=$root/tests/scripts/documents
(($# > 0)) || {
  echo "usage: documents_test.sh GDA_PROGRAM [PAGE...]" >&2
  exit 2
}
GDA_PROGRAM=$(realpath "$1")
MPIRUN_PROGRAM=$(command -v mpirun)
export GDA_PROGRAM MPIRUN_PROGRAM GDA_ROOT=$root
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
shift
cd "$root"
pages=("$@")
((${#pages[@]} > 0)) || pages=(README.md docs/*.md CONTRIBUTING.md)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMPI_MCA_orte_tmpdir_base=$work/sessions  # see tests/support/own_session.sh
reader=$work/reader rehearsal=$work/rehearsal

# The reader's folder; building takes minutes and is checked, not done.
mkdir -p "$reader/build/cpu" "$work/bin" "$work/blocks"
cp -rs "$root/scripts" "$reader/scripts"
ln -s "$root/configs" "$root/docs" "$reader"
ln -sf "$parts/check_command.sh" "$reader/scripts/build.sh"
ln -s "$parts/tiny_gda.sh" "$reader/build/cpu/gda"
ln -s "$parts/tiny_mpirun.sh" "$work/bin/mpirun"
cat "$root"/README.md "$root"/docs/*.md "$root"/CHANGELOG.md > "$reader/corpus.txt"

# The folder of rehearsals, where nothing does anything.
mkdir -p "$rehearsal/bin" "$rehearsal/build/cpu/tests/ops"
ln -s "$root/configs" "$rehearsal/configs"
for program in gda mpirun srun sbatch cmake ctest cpack sudo zstd python3; do
  ln -s "$parts/check_command.sh" "$rehearsal/bin/$program"
done
ln -s "$parts/check_command.sh" "$rehearsal/build/cpu/gda"
ln -s "$parts/check_command.sh" "$rehearsal/build/cpu/tests/ops/gda_ops_test"
(cd "$root" && find scripts -type f -perm -u+x -o -name '*.sbatch') | while read -r script; do
  mkdir -p "$rehearsal/${script%/*}"
  ln -s "$parts/check_command.sh" "$rehearsal/$script"
done
# No other program can be called, so that one that does not exist is found.
ln -s "$(command -v bash)" "$rehearsal/bin/bash"
export GDA_TOOLS=$PATH rehearsal

rehearse() { (cd "$rehearsal" && PATH=$rehearsal/bin bash -euo pipefail "$@"); }
export -f rehearse

# check_yaml FILE: sections of a configuration, or a plan, that fit one of configs/.
check_yaml() {
  local config
  for config in configs/*.yaml; do
    if grep -q '^steps:' "$1"; then
      "$GDA_PROGRAM" config "$config" "growth={stages: [{step: 1, plan_file: $1}]}" 2>> errors && return
    else
      # A section of the block takes the place of the same one of the file.
      awk 'FNR == NR { if (/^[a-z_]+:/) mine[$1] = 1; print; next }
           /^[a-z_]+:/ { skip = $1 in mine } !skip' "$1" "$config" | "$GDA_PROGRAM" config - 2>> errors && return
    fi
  done
  cat errors
  return 1
}
export -f check_yaml

# check_key KEY: a setting, or a section of some.
check_key() {
  "$GDA_PROGRAM" config configs/quickstart.yaml --get "$1" 2> errors > /dev/null || grep 'is a section' errors
}
export -f check_key

# script_of PAGE: the page's blocks as one script, since a later one counts on what an earlier one set.
script_of() {
  local page=$1 kind line command folder=$work/blocks/${1//\//-}
  mkdir -p "$folder"
  awk -v page="$page" -v out="$folder" -f "$parts/blocks.awk" "$page" > "$folder/list"
  echo "trap 'echo \"\$at: failed: \$BASH_COMMAND\" >&2' ERR"
  while read -r kind line command; do
    printf 'at=%q\necho "== $at"\n' "$page:$line"
    case $kind in
      sh) cat "$folder/$line.sh" ;;
      rehearse) printf 'rehearse %q\n' "$folder/$line.sh" ;;
      yaml) printf 'check_yaml %q > /dev/null\n' "$folder/$line.yaml" ;;
      path) printf 'test -e %q\n' "$command" ;;
      key) printf 'check_key %q\n' "$command" ;;
      inline) printf 'rehearse -c %q\n' "$(inline "$command")" ;;
    esac
  done < "$folder/list"
}

# inline COMMAND: words of running text as a shell takes them: "A | B" and "[X]" are the manual's, not a shell's.
inline() { sed -E 's/[][|<>()*…]|\.\.\.//g' <<< "$1"; }

failures=0
for page in "${pages[@]}"; do
  script_of "$page" > "$work/script"
  started=$SECONDS
  # README.md says how gda gets on the PATH.
  path=$work/bin:$PATH
  [[ $page == README.md ]] || path=$reader/build/cpu:$path
  if (cd "$reader" && PATH=$path bash -Eeuo pipefail "$work/script") > "$work/log" 2>&1; then
    printf '%-28s %3d s\n' "$page" $((SECONDS - started))
  else
    printf '%s\n' "$page FAILED"
    tail -n "${GDA_DOCUMENTS_LINES:-15}" "$work/log"
    failures=$((failures + 1))
  fi
done
exit $((failures > 0))

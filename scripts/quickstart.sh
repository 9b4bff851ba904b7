#!/usr/bin/env bash
# The whole main job on this machine, from nothing: installs, builds, trains a tokenizer and a small
# model with Grouped Differential Attention on English and Korean text, stops and resumes it, grows
# its signal heads, trains on, and lets it write.
#
#   scripts/quickstart.sh [--dir DIR] [--text DIR] [--minutes N]
#
#   --dir DIR      where everything is put (quickstart)
#   --text DIR     your own text instead of LibreOffice's help: each .txt, .md, .jsonl file (or .gz
#                  of one) and each folder of them in DIR is one source of the mix
#   --minutes N    time for training in all (5)
#
# Run again with the same options it continues after the last stage that was finished.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/quickstart/stages.sh
. "$here/scripts/quickstart/stages.sh"
# shellcheck source=scripts/quickstart/summary.sh
. "$here/scripts/quickstart/summary.sh"

dir=quickstart
text=
minutes=5
usage_error() {
  printf 'quickstart.sh: error: %s\n' "$1" >&2
  exit 2
}
while (($# > 0)); do
  case $1 in
    --dir | --text | --minutes) (($# > 1)) || usage_error "$1 needs a value" ;;&
    --dir)
      dir=$2
      shift
      ;;
    --text)
      text=$2
      shift
      ;;
    --minutes)
      minutes=$2
      shift
      ;;
    -h | --help)
      sed -n '2,14s/^# \{0,1\}//p' "$here/scripts/quickstart.sh"
      exit 0
      ;;
    *) usage_error "unknown option $1; known: --dir, --text, --minutes, --help" ;;
  esac
  shift
done
[[ $minutes =~ ^[0-9]+$ && $minutes -gt 0 ]] || usage_error "--minutes is '$minutes'; expected a whole number from 1 up"
[[ -z $text || -d $text ]] || usage_error "--text is '$text', which is not a folder"
[[ $dir != *[[:space:],\{\}\[\]]* ]] || usage_error "--dir is '$dir'; give a path without spaces, commas and brackets"

mkdir -p "$dir/log" "$dir/done" || usage_error "cannot make the folder $dir"
dir=$(cd "$dir" && pwd)
[[ -z $text ]] || text=$(cd "$text" && pwd)
options="text=$text minutes=$minutes"
if [[ -e $dir/options && $(cat "$dir/options") != "$options" ]]; then
  usage_error "$dir was made with other options ($(cat "$dir/options")); give another --dir, or remove it"
fi
echo "$options" > "$dir/options"

gda=$here/build/cpu/gda
ranks=2
launch=(mpirun -np "$ranks" --bind-to none "$gda")
# Open MPI refuses to start as root, or with more ranks than cores, unless told that both are meant.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1

stage packages 'Install what is missing' 'Is the network there? scripts/setup.sh --list prints the packages.'
stage build 'Build gda' 'scripts/build.sh shows the complete output; an old build/ may be in the way: remove it.'
stage text 'Gather text in two languages' 'Without the help packages, give your own text: --text DIR.'
stage tokenizer 'Train a tokenizer of 8,192 pieces' 'Is there enough text? About 1 MB is the least for so many pieces.'
stage tokenize 'Turn text into tokens' 'Does the disk have room? Tokens take about half of what the text does.'
stage measure 'Measure how fast this machine trains' 'Is another program using the cores or the memory?'
stage pretrain "Pretrain on $ranks processes, and stop half-way (SIGTERM)" "The run's own log is in $dir/run/log."
stage resume 'Resume and finish' "gda inspect $dir/run tells which checkpoints are complete."
stage evaluate_trained 'Evaluate on validation text' "gda inspect $dir/run tells whether its checkpoint is complete."
stage grow 'Grow: twice as many signal heads, the same function' "Is there room on the disk for $dir/grown?"
stage evaluate_grown 'Evaluate the grown model, untouched' "gda inspect $dir/grown tells whether its checkpoint is complete."
stage continue 'Train the grown model on' "The run's own log is in $dir/grown/log."
stage evaluate_continued 'Evaluate again' "gda inspect $dir/grown tells whether its checkpoint is complete."
stage generate 'Let it write' "Try: $gda generate --help"
summary | tee "$dir/summary.txt"

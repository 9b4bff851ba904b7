#!/usr/bin/env bash
# The entire workflow on this machine, from scratch: installs, builds, trains a tokenizer and a small
# model with Grouped Differential Attention on English and Korean text, stops and resumes it, grows
# its signal heads, trains further, and generates text.
#
#   scripts/quickstart.sh [--dir DIR] [--text PATH] [--minutes N]
#
#   --dir DIR      where everything is put (quickstart)
#   --text PATH    your own text instead of LibreOffice's help: a file (.txt, .md, .jsonl, or one of these with .gz),
#                  or a folder, in which each file and each folder is one source of the mix; more than eight files
#                  together are one source
#   --minutes N    training time in all (5)
#
# Run again with the same options, it continues after the last stage that was finished.
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
[[ $minutes =~ ^[0-9]+$ && $minutes -gt 0 ]] || usage_error "--minutes is '$minutes'; expected an integer, at least 1"
[[ -z $text || -d $text || -f $text ]] || usage_error "--text is '$text', which is neither a folder nor a file"
[[ $dir != *[[:space:],\{\}\[\]]* ]] || usage_error "--dir is '$dir'; give a path without spaces, commas and brackets"

mkdir -p "$dir/log" "$dir/done" || usage_error "cannot make the folder $dir"
dir=$(cd "$dir" && pwd)
[[ -z $text ]] || text=$(realpath "$text")
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
stage build 'Build gda' 'scripts/build.sh shows the whole output; an old build/ may be in the way: remove it.'
stage text 'Gather text' 'Give your own text: --text PATH, a file or a folder of .txt, .md or .jsonl files.'
stage tokenizer 'Train a tokenizer' 'Is there enough text? 100 kB is little, 1 MB is better.'
stage tokenize 'Turn text into tokens' 'Does the disk have room? Tokens take about half of what the text does.'
stage measure 'Measure how fast this machine trains' 'Too small a source has to be joined with another one. Is another program using the memory?'
stage pretrain "Pretrain on $ranks processes, and stop halfway (SIGTERM)" "The run's own log is in $dir/run/log."
stage resume 'Resume and finish' "gda inspect $dir/run tells which checkpoints are complete."
stage evaluate_trained 'Evaluate on validation text' "gda inspect $dir/run tells whether its checkpoint is complete."
stage grow 'Grow: twice as many signal heads, the same function' "Is there room on the disk for $dir/grown?"
stage evaluate_grown 'Evaluate the grown model, untouched' "gda inspect $dir/grown tells whether its checkpoint is complete."
stage continue 'Train the grown model further' "The run's own log is in $dir/grown/log."
stage evaluate_continued 'Evaluate again' "gda inspect $dir/grown tells whether its checkpoint is complete."
stage generate 'Generate text' "Try: $gda generate --help"
summary | tee "$dir/summary.txt"

#!/usr/bin/env bash
# quickstart_test.sh GDA_PROGRAM: scripts/quickstart.sh from its third stage on with documents/tiny_gda.sh, on each kind
# of text that a reader may have.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
GDA_PROGRAM=$(realpath "$1")
export GDA_PROGRAM OMP_NUM_THREADS=1 TINY_STEP=100
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/build/cpu"
cp -rs "$root/scripts" "$work/scripts"
ln -s "$root/configs" "$work/configs"
ln -sf "$(type -P true)" "$work/scripts/setup.sh"
ln -sf "$(type -P true)" "$work/scripts/build.sh"
ln -s "$root/tests/scripts/documents/tiny_gda.sh" "$work/build/cpu/gda"
failures=0

# quickstart NAME: runs it on $work/NAME; its output is in $work/NAME.log.
quickstart() {
  "$work/scripts/quickstart.sh" --dir "$work/$1.run" --text "$work/$1" > "$work/$1.log" 2>&1
}
fail() {
  printf 'FAILED: %s: %s\n' "$1" "$2"
  tail -n 20 "$work/$1.log"
  failures=$((failures + 1))
}
succeeds() {
  if ! quickstart "$1" || ! grep -q 'What to try next' "$work/$1.log"; then fail "$1" 'it did not end well'; fi
}
# has NAME TEXT
has() { grep -qF -- "$2" "$work/$1.log" || fail "$1" "its output lacks: $2"; }
# sources NAME SOURCES: their names.
sources() {
  [[ $(cut -f 1 "$work/$1.run/sources" | tr '\n' ' ') == "$2 " ]] || fail "$1" "its sources are not $2"
}

text() { cat "$root"/docs/*.md "$root"/README.md; }
json_lines() { text | sed 's/["\\]//g; /^ *$/d; s/^[[:space:]]*\(.*\)$/{"id": 7, "text": "\1\\nof a page"}/'; }

# One document.
text > "$work/book.txt"
succeeds book.txt
sources book.txt book
has book.txt 'one document: a run validates on its last tokens'

# Files whose beginning is read and the rest is not, compressed or not; names that are no words of YAML.
mkdir "$work/two"
for _ in 1 2 3 4; do json_lines; done > "$work/two/a b.jsonl"
gzip -c "$work/two/a b.jsonl" > "$work/two/a-b.jsonl.gz"
touch "$work/two/none.txt" "$work/two/paper.pdf"
succeeds two
sources two 'a-b a-b-2'
has two "left out: $work/two/none.txt (empty)"
has two "left out: $work/two/paper.pdf (not .txt"

# Many files are one source; a folder is another.
mkdir -p "$work/many/book, part {1}"
text | split -l 100 --additional-suffix=.txt - "$work/many/page "
text > "$work/many/book, part {1}/all.md"
succeeds many
sources many 'book--part--1- files'

# What is wrong is said where it is wrong.
printf '\211PNG\r\n\032\n\0\0\0\rIHDR' > "$work/image.txt"
if quickstart image.txt; then fail image.txt 'an image is no text'; fi
has image.txt 'stage "Train a tokenizer" failed'
has image.txt "$work/image.txt: "
mkdir "$work/nothing"
if quickstart nothing; then fail nothing 'there is no text'; fi
has nothing 'stage "Gather text" failed'
exit $((failures > 0))

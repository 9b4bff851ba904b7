# shellcheck shell=bash disable=SC2154
# The stages of scripts/quickstart.sh, which sets dir, gda and the like. Each run_NAME works in $dir
# and may assume the ones before.

if [[ -t 1 ]]; then
  bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' plain=$'\e[0m'
else
  bold='' dim='' red='' plain=''
fi
stages=14
stage_number=0

# stage NAME TITLE HINT: announces and runs run_NAME, unless it was finished by an earlier run. Its
# output is shown and kept in log/NAME.log; the hint is for when it fails.
stage() {
  local name=$1 title=$2 hint=$3 started=$SECONDS status
  stage_number=$((stage_number + 1))
  if [[ -e $dir/done/$name && $name != packages && $name != build ]]; then
    printf '%s%2d/%d  %s%s %s(done before, %s s)%s\n' "$bold" $stage_number $stages "$title" "$plain" \
      "$dim" "$(cat "$dir/done/$name")" "$plain"
    return
  fi
  printf '%s%2d/%d  %s%s\n' "$bold" $stage_number $stages "$title" "$plain"
  set +e
  (
    set -e
    "run_$name"
  ) 2>&1 | tee "$dir/log/$name.log" | sed -u "s/^/       $dim/; s/\$/$plain/"
  status=${PIPESTATUS[0]}
  set -e
  if ((status != 0)); then
    printf '\n%squickstart.sh: stage "%s" failed (exit code %d).%s\n' "$red" "$title" "$status" "$plain" >&2
    printf '%s\nThe complete output: %s\nThen run the same command again: it continues from here.\n' "$hint" \
      "$dir/log/$name.log" >&2
    exit 1
  fi
  echo $((SECONDS - started)) > "$dir/done/$name"
  printf '       %s%d s%s\n' "$dim" $((SECONDS - started)) "$plain"
}

run_packages() { "$here/scripts/setup.sh"; }
run_build() { "$here/scripts/build.sh" --target gda; }

# LibreOffice's help pages in a language: installed, or unpacked from the package into $dir.
help_pages() {
  local package=libreoffice-help-$1 folder=usr/share/libreoffice/help/$2
  if [[ ! -d /$folder/text ]]; then
    if [[ ! -d $dir/help/$folder/text ]]; then
      mkdir -p "$dir/help"
      # The lists may be missing or old: then fetch them and try once more.
      (cd "$dir/help" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download "$package" > /dev/null 2>&1) || {
        if [[ $(id -u) -eq 0 ]]; then apt-get -qq update; else sudo apt-get -qq update; fi
        (cd "$dir/help" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download "$package")
      }
      dpkg-deb --extract "$dir/help/$package"_*.deb "$dir/help"
    fi
    folder=$dir/help/$folder
  else
    folder=/$folder
  fi
  find "$folder/text" -name '*.html' | LC_ALL=C sort > "$dir/help-$1.txt"
}

# The help pages of LibreOffice as two sources.
gather_help() {
  local english korean
  help_pages en-us en-US
  help_pages ko ko
  mapfile -t english < "$dir/help-en-us.txt"
  mapfile -t korean < "$dir/help-ko.txt"
  # Byte by byte, so that every awk does the same.
  LC_ALL=C awk -v out="$dir/text" -f "$here/scripts/quickstart/help_text.awk" \
    language=en "${english[@]}" language=ko "${korean[@]}"
  rm -rf "$dir/help" "$dir"/help-*.txt
  add_source "$dir/text/en.jsonl"
  add_source "$dir/text/ko.jsonl"
}

# More files than these beside each other are one source.
most_single_files=8

# The sources of --text: a file; else each file and each folder in the folder.
gather_own() {
  local entry file files=()
  if [[ -f $text ]]; then
    add_source "$text"
    return
  fi
  for entry in "$text"/*; do
    if [[ -d $entry ]]; then
      add_source "$entry"
    elif [[ ! $entry =~ \.(txt|text|md|jsonl|ndjson|json)(\.gz|\.GZ)?$ ]]; then
      echo "left out: $entry (not .txt, .text, .md, .jsonl, .ndjson or .json, nor one of these with .gz)"
    elif [[ ! -s $entry ]]; then
      echo "left out: $entry (empty)"
    else
      files+=("$entry")
    fi
  done
  if ((${#files[@]} > most_single_files)); then
    mkdir "$dir/text/files"
    ln -s "${files[@]}" "$dir/text/files/"
    add_source "$dir/text/files"
  else
    for file in "${files[@]}"; do add_source "$file"; done
  fi
}

# add_source PATH: names it by the file, and notes "NAME<tab>PATH" in $dir/sources. The name is one word of YAML.
add_source() {
  local base name number=2
  base=$(basename "$1" | sed -E 's/(\.(txt|text|md|jsonl|ndjson|json))?(\.gz|\.GZ)?$//')
  base=$(printf %s "$base" | LC_ALL=C tr -c '[:alnum:]_\200-\377-' -)
  name=$base
  while cut -f 1 "$dir/sources" | grep -qxF -- "$name"; do
    name=$base-$number
    number=$((number + 1))
  done
  printf '%s\t%s\n' "$name" "$1" >> "$dir/sources"
}

run_text() {
  local name path
  rm -rf "$dir/text"
  mkdir -p "$dir/text"
  : > "$dir/sources"
  if [[ -n $text ]]; then gather_own; else gather_help; fi
  [[ -s $dir/sources ]] || {
    echo "no text found: no folder and no text file in $text"
    return 1
  }
  while IFS=$'\t' read -r name path; do
    printf '%-24s %8s kB\n' "$name" "$(du -Lk "$path" | tail -n 1 | cut -f 1)"
  done < "$dir/sources"
}

# Pieces for so many bytes of text: those of configs/quickstart.yaml from 400 kB on.
pieces_for() { echo $(($1 > 50 * 8192 ? 8192 : $1 < 50 * 600 ? 600 : $1 / 50)); }

run_tokenizer() {
  local paths bytes
  mapfile -t paths < <(cut -f 2 "$dir/sources")
  bytes=$(du -Lbc "${paths[@]}" | tail -n 1 | cut -f 1)
  "$gda" tokenizer train --input "${paths[@]}" --vocab-size "$(pieces_for "$bytes")" --output "$dir/tokenizer" --force
}

run_tokenize() {
  local name path
  mkdir -p "$dir/tokens"
  while IFS=$'\t' read -r name path; do
    "$gda" tokenize --input "$path" --tokenizer "$dir/tokenizer.model" --output "$dir/tokens/$name" --force
  done < "$dir/sources"
}

# Settings of every run here that configs/quickstart.yaml cannot know.
settings() {
  local name list=
  while IFS=$'\t' read -r name _; do
    list+="${list:+, }{name: \"$name\", path: $dir/tokens/$name, weight: 1}"
  done < "$dir/sources"
  printf '%s\n' "data.sources=[$list]" "data.tokenizer=$dir/tokenizer.model"
}

train() { "${launch[@]}" "$@"; }

# The last value of a key in a run's metrics.jsonl.
metric() { grep "\"$2\"" "$1/metrics.jsonl" | tail -n 1 | sed -nE "s/.*\"$2\": ?([0-9.eE+-]+).*/\1/p"; }

# How many steps fit the time that was asked for: two thirds for the model, the rest for the grown
# one. Written to plan: the last step of each.
run_measure() {
  local overrides rate tokens first last
  mapfile -t overrides < <(settings)
  rm -rf "$dir/measure"
  train train "$here/configs/quickstart.yaml" "${overrides[@]}" run_dir="$dir/measure" train.steps=12 \
    schedule.warmup_steps=0 logging.every_steps=4 logging.tensorboard=false eval.every_steps=0 checkpoint.every_steps=0 \
    > "$dir/log/measure-run.log" 2>&1 || {
    tail -n 20 "$dir/log/measure-run.log"
    return 1
  }
  rate=$(metric "$dir/measure" tokens_per_second)
  tokens=$(metric "$dir/measure" tokens)
  rm -rf "$dir/measure"
  read -r first last < <(awk -v rate="$rate" -v step="$((tokens / 12))" -v minutes="$minutes" 'BEGIN {
    steps = minutes * 60 * rate / step
    if (steps < 60) steps = 60
    if (steps > 3000) steps = 3000
    first = 20 * int(steps * 2 / 3 / 20)
    print first, 10 * int((first + (steps - first) * 0.9) / 10)
  }')
  echo "$first $last" > "$dir/plan"
  awk -v rate="$rate" -v first="$first" -v last="$last" -v minutes="$minutes" 'BEGIN {
    printf "%d tokens a second: %d steps, and %d more after growing, in about %d minutes\n", rate, first,
      last - first, minutes
  }'
}

run_pretrain() {
  local overrides first pid half step rank
  read -r first _ < "$dir/plan"
  half=$((first / 2))
  mapfile -t overrides < <(settings)
  rm -rf "$dir/run"
  # The rate stays at its peak here; the grown model's run ends with the decay.
  "${launch[@]}" train "$here/configs/quickstart.yaml" "${overrides[@]}" run_dir="$dir/run" \
    train.steps="$first" schedule.decay_fraction=0 logging.every_steps=$((first / 20)) \
    eval.every_steps="$first" checkpoint.every_steps="$first" &
  pid=$!
  trap 'kill $pid 2> /dev/null || true' EXIT
  while kill -0 $pid 2> /dev/null; do
    step=$( (metric "$dir/run" step) 2> /dev/null || true)
    if ((${step:-0} >= half)); then
      # A signal to one process is enough. To mpirun itself it would be SIGUSR1, which it passes on;
      # of SIGTERM it makes an end within a second.
      rank=$(cut -d ' ' -f 1 "/proc/$pid/task/$pid/children")
      echo "kill -TERM $rank"
      kill -TERM "$rank"
      break
    fi
    sleep 0.2
  done
  wait $pid
  trap - EXIT
}

run_resume() { train resume "$dir/run"; }

# evaluate NAME RUN: perplexity on the validation part of each source, as a table and in eval-NAME.json.
evaluate() {
  "$gda" eval ppl "$2" --json > "$dir/eval-$1.json"
  eval_rows "$dir/eval-$1.json" | awk '{ printf "%-12s loss %.4f   perplexity %.1f   (%d tokens)\n", $1, $3, $4, $2 }'
}

# Rows of "set tokens loss perplexity" of an evaluation.
eval_rows() {
  grep -oE '"set":"[^"]*","tokens":[0-9]+,"loss":[^,]+,"perplexity":[^,}]+' "$1" |
    sed -E 's/"set":"([^"]*)","tokens":([0-9]+),"loss":([^,]+),"perplexity":(.*)/\1 \2 \3 \4/'
}

run_evaluate_trained() { evaluate trained "$dir/run"; }
run_evaluate_grown() { evaluate grown "$dir/grown"; }
run_evaluate_continued() { evaluate continued "$dir/grown"; }

# The first words of the first line of a source, to be continued; of JSON lines, of the text. Nothing is read further
# than needed, so what writes may be told that nobody reads: that is no failure.
first_words() {
  local file words
  file=$({ find -L "$1" -type f -size +0 || true; } | LC_ALL=C sort | sed -n 1p)
  words=$({ zcat -f "$file" || true; } 2> /dev/null |
    LC_ALL=C sed -n '/[^[:space:]]/{s/^{.*"text": *"//;s/\\.*//;s/"[,}].*//;p;q}' | cut -d ' ' -f 1-4)
  # Some languages have no spaces between words.
  LC_ALL=C.UTF-8
  printf %s "${words:0:40}"
}

run_generate() {
  local prompts=() path
  if [[ -z $text ]]; then
    prompts=('To insert a table into a text document,' '문서에 표를 삽입하려면')
  else
    while IFS=$'\t' read -r _ path; do
      ((${#prompts[@]} >= 4)) || prompts+=("$(first_words "$path")")
    done < "$dir/sources"
  fi
  "$gda" generate "$dir/grown" --prompt "${prompts[@]}" --max-tokens 60 --temperature 0.7 --top-p 0.9 \
    --seed 3 | tee "$dir/sample.txt"
}

run_grow() {
  rm -rf "$dir/grown"
  "$gda" grow signal-heads --from "$dir/run" --to "$dir/grown" --factor 2
}

run_continue() {
  local first last
  read -r first last < "$dir/plan"
  train resume "$dir/grown" train.steps="$last" schedule.decay_fraction="$(awk -v a="$first" -v b="$last" \
    'BEGIN { printf "%.3f", 0.8 * (b - a) / b }')" \
    logging.every_steps=$(((last - first) / 10)) eval.every_steps="$last" checkpoint.every_steps="$last"
}

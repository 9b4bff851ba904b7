# shellcheck shell=bash disable=SC2154
# What scripts/quickstart.sh says at its end, from the files of its stages.

# "step loss" of each line of a run that reports training.
step_losses() { sed -nE 's/.*"step":([0-9]+),.*"loss":([0-9.]+),"lr".*/\1 \2/p' "$1/metrics.jsonl"; }

# summary_row TITLE STEPS EVALUATION PARAMETERS
summary_row() {
  printf '  %-34s %6s' "$1" "$2"
  eval_rows "$3" | awk '{ printf " %9.1f", $4 }'
  printf ' %13s\n' "$4"
}

spent() {
  local name seconds=0
  for name in "$@"; do seconds=$((seconds + $(cat "$dir/done/$name"))); done
  printf '%d min %02d s' $((seconds / 60)) $((seconds % 60))
}

summary() {
  local first last parameters grown_parameters exactness before after heads as_root=
  read -r first last < "$dir/plan"
  read -r parameters grown_parameters < <(sed -nE 's/^parameters +([0-9,.]+) -> ([0-9,.]+).*/\1 \2/p' "$dir/log/grow.log")
  heads=$(sed -nE 's/^signal heads +([0-9]+) -> ([0-9]+).*/\1 to \2/p' "$dir/log/grow.log")
  exactness=$(sed -nE 's/^exactness .* ([0-9.e+-]+) relative.*/\1/p' "$dir/log/grow.log")
  before=$(step_losses "$dir/run" | tail -n 1 | cut -d ' ' -f 2)
  after=$(step_losses "$dir/grown" | head -n 1 | cut -d ' ' -f 2)

  [[ $(id -u) -ne 0 ]] || as_root=' --allow-run-as-root'

  printf '\n%sWhat happened%s\n' "$bold" "$plain"
  printf '  %-34s %6s' '' 'steps'
  eval_rows "$dir/eval-trained.json" | awk '{ printf " %9s", $1 }'
  printf ' %13s\n' 'parameters'
  summary_row 'trained, stopped, resumed' "$first" "$dir/eval-trained.json" "$parameters"
  summary_row "grown, $heads signal heads" "$first" "$dir/eval-grown.json" "$grown_parameters"
  summary_row 'trained further' "$last" "$dir/eval-continued.json" "$grown_parameters"
  cat << END
  The numbers are perplexities on validation text.
  Growth changed no output by more than $exactness of the largest one; the training loss was
  $(printf %.3f "$before") before it and $(printf %.3f "$after") some steps after it.

${bold}It generates$plain
$(sed '/^[[:space:]]*$/d; s/^/  /' "$dir/sample.txt")

${bold}Time$plain
  install $(spent packages), build $(spent build), text and tokens $(spent text tokenizer tokenize),
  training $(spent measure pretrain resume continue), growing, evaluating and generating $(spent \
    evaluate_trained grow evaluate_grown evaluate_continued generate)
  It is all in $dir

${bold}What to try next$plain
  Generate text     $gda generate $dir/grown --prompt "To print a document"
  More training     mpirun -np 2$as_root $gda resume $dir/grown train.steps=$((last * 2)) schedule.steps=$((last * 2))
  Grow differently  $gda grow signal-heads --from $dir/run --to $dir/added --add 1
  Look closer       $gda inspect $dir/grown, or: tensorboard --logdir $dir
  Your own text     scripts/quickstart.sh --dir mine --text PATH --minutes 20
  A real model      configs/gda-124m.yaml, configs/motif-2.6b.yaml; README.md says how to launch
END
}

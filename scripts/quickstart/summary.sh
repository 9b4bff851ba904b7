# shellcheck shell=bash disable=SC2154  # $dir, $here, $gda, ... are scripts/quickstart.sh's
# The last page of scripts/quickstart.sh: what was done, how well, and what to try next.

# The parameter count in a report of `gda inspect --json` or of the run's log.
parameters_of() {
  sed -nE 's/.* parameters +([0-9,]+)$/\1/p' "$1"/log/rank-00000.log | tail -n 1
}

stage_seconds() {
  local total=0 file
  for file in "$dir"/done/*; do total=$((total + $(cat "$file"))); done
  echo "$total"
}

summary_table() {
  local first last name loss perplexity after_loss after_perplexity
  read -r first last < "$dir/plan"
  printf '  %-26s %14s %14s\n' '' 'first model' 'grown model'
  printf '  %-26s %14s %14s\n' 'steps trained' "$first" "$last"
  printf '  %-26s %14s %14s\n' 'parameters' "$(parameters_of "$dir/run")" "$(parameters_of "$dir/grown")"
  while read -r name loss perplexity after_loss after_perplexity; do
    printf '  %-26s %14.3f %14.3f\n' "$name: loss" "$loss" "$after_loss"
    printf '  %-26s %14.1f %14.1f\n' "$name: perplexity" "$perplexity" "$after_perplexity"
  done < <(paste <(results "$dir/before.json") <(results "$dir/after.json" | cut -f 2-))
}

summary() {
  local seconds
  seconds=$(stage_seconds)
  printf '\n%sWhat was done, in %d min %02d s%s\n\n' "$bold" $((seconds / 60)) $((seconds % 60)) "$plain"
  summary_table
  printf '\n%sGrowing did not change what the model computes%s\n\n' "$bold" "$plain"
  grep -E '^(signal heads|parameters|FLOPs|exactness)' "$dir/log/grow.log" | sed 's/^/  /'
  printf '\n%sWhat it writes%s (a model of this size has learnt shapes of words, not sense)\n\n' "$bold" "$plain"
  sed 's/^/  /' "$dir/text.out"
  printf '\n%sTry next%s\n\n' "$bold" "$plain"
  cat << END
  $gda generate $dir/grown --prompt 'You can' --temperature 0.5
  mpirun -np $ranks --bind-to none $gda resume $dir/grown train.steps=$((2 * $(cut -d ' ' -f 2 "$dir/plan")))
  $gda grow signal-heads --from $dir/run --to $dir/wider --add 1
  $gda inspect $dir/grown
  $gda config $here/configs/quickstart.yaml
  tensorboard --logdir $dir        (where it is installed)
END
}

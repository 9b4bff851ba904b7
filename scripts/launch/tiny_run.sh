# shellcheck shell=bash
# What try_netns.sh and try_slurm.sh train.

# make_tiny_run DIR GDA: a text, its tokens, and DIR/tiny.yaml: 29,000 parameters on the CPU, a hundred steps a second.
make_tiny_run() {
  local dir=$1 gda=$2
  # 3,000 lines of 30 words, always the same.
  awk 'BEGIN {
    srand(1)
    n = split("a model reads words in a row and learns what comes next from all that went before it", words, " ")
    for (line = 0; line < 3000; ++line) {
      for (i = 0; i < 30; ++i) printf "%s ", words[1 + int(rand() * n)]
      print ""
    }
  }' > "$dir/text.txt"
  if ! "$gda" tokenizer train --input "$dir/text.txt" --vocab-size 280 --output "$dir/tokenizer" \
    > "$dir/data.log" 2>&1 ||
    ! "$gda" tokenize --input "$dir/text.txt" --format text-line --tokenizer "$dir/tokenizer.model" \
      --output "$dir/tokens" >> "$dir/data.log" 2>&1; then
    cat "$dir/data.log" >&2
    return 1
  fi
  cat > "$dir/tiny.yaml" << EOF
model:
  hidden_size: 32
  num_hidden_layers: 2
  intermediate_size: 64
  vocab_size: 280
  max_position_embeddings: 64
  tie_word_embeddings: true
  attention: {type: grouped_differential, head_dim: 8, signal_heads: 3, noise_heads: 1, num_key_value_heads: 2}
data:
  sources: [{name: en, path: $dir/tokens, weight: 1}]
  sequence_length: 64
optimizer: {name: adamw, lr: 2.0e-3}
schedule: {name: wsd, warmup_steps: 20}
train: {steps: 1500, global_batch_size: 8, micro_batch_size: 2}
parallel: {timeout_seconds: 60}
precision: {compute: fp32}
checkpoint: {every_steps: 100}
eval: {every_steps: 0}
run_dir: $dir/run
logging: {every_steps: 500, tensorboard: false}
device: cpu
EOF
}

# The step of the newest whole checkpoint of a run folder, 0 without one.
newest_step() {
  local manifest newest=0
  for manifest in "$1"/checkpoints/step-*/manifest.json; do
    if [[ -e $manifest && $manifest =~ /step-0*([0-9]+)[^/]*/manifest.json$ ]] && ((BASH_REMATCH[1] > newest)); then
      newest=${BASH_REMATCH[1]}
    fi
  done
  echo "$newest"
}

# find_gda ROOT: gda of PATH or of the checkout's build folder; nothing without one.
find_gda() {
  local candidate
  for candidate in "$(command -v gda || true)" "$1/build/cuda/gda" "$1/build/cpu/gda"; do
    if [[ -x $candidate ]]; then
      echo "$candidate"
      return
    fi
  done
}

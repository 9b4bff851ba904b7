#!/usr/bin/env bash
# gda with the sizes of the documents' examples cut down, for documents_test.sh. All that a reader's command and the
# tested one differ in is here: a step stands for 5,000 (or TINY_STEP) where there are more than 100, a coordinate for
# 32; vocabulary, batches and samples are tiny.
set -euo pipefail
gda=${GDA_PROGRAM:?}

# at_least_1 NUMBER DIVISOR
at_least_1() { echo $(($1 / $2 > 0 ? $1 / $2 : 1)); }

steps_of() { if (($1 < 100)); then echo "$1"; else at_least_1 "$1" "${TINY_STEP:-5000}"; fi; }

arguments=()
while (($# > 0)); do
  arguments+=("$1")
  case $1 in
    train.steps=* | schedule.steps=*) arguments[-1]=${1%%=*}=$(steps_of "${1#*=}") ;;
    --vocab-size) arguments+=(600) && shift ;;
    --hidden-size | --intermediate-size) arguments+=("$(at_least_1 "$2" 32)") && shift ;;
    --ramp-steps) arguments+=("$(at_least_1 "$2" 5000)") && shift ;;
    --max-tokens) arguments+=(8) && shift ;;
  esac
  shift
done

if [[ ${arguments[0]-} == train ]]; then
  get() { "$gda" config "${arguments[@]:1}" schedule.warmup_steps=0 --get "$1"; }
  steps=$(steps_of "$(get train.steps)")
  arguments+=(
    model.hidden_size="$(at_least_1 "$(get model.hidden_size)" 32)"
    model.intermediate_size="$(at_least_1 "$(get model.intermediate_size)" 32)"
    model.attention.head_dim=4 model.vocab_size=600
    data.sequence_length=32
    train.steps="$((steps > 4 ? steps : 4))" train.global_batch_size=4 train.micro_batch_size=2
    schedule.warmup_steps=1
    eval.every_steps=2 eval.steps=1
    checkpoint.every_steps=2
    logging.every_steps=1 logging.peak_tflops=1
  )
fi
exec "$gda" "${arguments[@]}"

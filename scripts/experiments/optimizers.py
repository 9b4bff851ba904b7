#!/usr/bin/env python3
"""Steps that Muon and AdamW need to learn a text by heart: one small GDA model, trained again and again on the first
part of a text with each rule at three rates. Prints a table of the steps until the mean loss of five steps was at most
the one that heads the column.

  scripts/experiments/optimizers.py                      on the quick start's text, in quickstart/text
  scripts/experiments/optimizers.py --text FOLDER        on text of your own: files that `gda tokenizer train` takes

Needs nothing but Python and the program (scripts/build.sh).
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = """\
model:
  hidden_size: 64
  num_hidden_layers: 4
  intermediate_size: 176
  vocab_size: 1024
  max_position_embeddings: 64
  tie_word_embeddings: true
  attention: {{type: grouped_differential, head_dim: 16, signal_heads: 6, noise_heads: 2, num_key_value_heads: 4}}
data: {{sources: [{{name: text, path: {folder}/tokens}}], sequence_length: 64}}
optimizer: {{name: {name}, lr: {rate}}}
schedule: {{name: constant, warmup_steps: 10}}
train: {{steps: {steps}, global_batch_size: 16, micro_batch_size: 16}}
precision: {{compute: fp32}}
checkpoint: {{every_steps: 0, keep_last: 1}}
eval: {{every_steps: 0}}
run_dir: {run}
logging: {{every_steps: 1, tensorboard: false, peak_tflops: 0.1}}
"""
LOSSES = (5.5, 5.0, 4.5, 4.0)
RATES = (0.003, 0.01, 0.03)


def call(program, *arguments):
    words = [str(program), *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, env=dict(os.environ, OMP_NUM_THREADS="2"))
    if done.returncode != 0:
        sys.exit(f"optimizers.py: error: {' '.join(words)}: {done.stderr.strip()}")


def first_part(folder, limit):
    """The beginnings of the files, as much of each, whole lines, in the order of their names."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        sys.exit(f"optimizers.py: error: {folder} has no files; run scripts/quickstart.sh first, or give --text FOLDER")
    parts = []
    for path in files:
        with path.open("rb") as file:
            start = file.read(limit // len(files))
        parts.append(start[:start.rfind(b"\n") + 1])
    return b"".join(parts)


def steps_to(losses, wanted):
    for step in range(5, len(losses) + 1):
        if sum(losses[step - 5:step]) / 5 <= wanted:
            return str(step)
    return "-"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build/cpu/gda")
    parser.add_argument("--text", type=pathlib.Path, default=pathlib.Path("quickstart/text"), metavar="FOLDER")
    parser.add_argument("--dir", type=pathlib.Path, default=pathlib.Path("optimizers"))
    parser.add_argument("--bytes", type=int, default=120_000, help="of the text that are learnt")
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    folder = options.dir.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    text = folder / "text.txt"
    text.write_bytes(first_part(options.text, options.bytes))
    call(options.program, "tokenizer", "train", "--input", text, "--output", folder / "tokens", "--vocab-size", 1024)
    call(options.program, "tokenize", "--input", text, "--tokenizer", folder / "tokens.model", "--output", folder / "tokens")
    print(f"{text.stat().st_size} bytes of {options.text}, at most {options.steps} steps\n")
    print("| optimizer | rate | " + " | ".join(map(str, LOSSES)) + " |\n" + "|---" * (len(LOSSES) + 2) + "|")
    for name in ("adamw", "muon"):
        for rate in RATES:
            run = folder / f"{name}-{rate}"
            config = folder / "run.yaml"
            config.write_text(CONFIG.format(folder=folder, name=name, rate=rate, steps=options.steps, run=run))
            call(options.program, "train", config)
            lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
            losses = [line["loss"] for line in lines if "grad_norm" in line]
            print(f"| {name} | {rate} | " + " | ".join(steps_to(losses, wanted) for wanted in LOSSES) + " |", flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Is it worth growing? Trains a small GDA model, grows it by each operator and trains on, beside models of the final
sizes that are trained from scratch for as many FLOPs. Prints a table: mean and standard deviation over the seeds.

  scripts/experiments/growth.py                          on the quick start's text, in quickstart/text
  scripts/experiments/growth.py --text FOLDER            on text of your own: files that `gda tokenize` takes
  scripts/experiments/growth.py --seeds 5 --steps 1000   more of everything

Everything is left under --dir; what is there already is not done again, so a run that was cut off goes on. Needs
nothing but Python and the program (scripts/build.sh).
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = """\
model:
  hidden_size: 96
  num_hidden_layers: 4
  intermediate_size: 256
  vocab_size: 2048
  max_position_embeddings: 128
  tie_word_embeddings: true
  attention: {{type: grouped_differential, head_dim: 16, signal_heads: 6, noise_heads: 2, num_key_value_heads: 4}}
data: {{sources: [{sources}], sequence_length: 128, validation_fraction: 0.02}}
optimizer: {{lr: 3.0e-3}}
schedule: {{name: wsd, warmup_steps: 20, decay_fraction: 0, min_lr_ratio: 0.1}}
train: {{steps: {steps}, global_batch_size: 16, micro_batch_size: 16}}
precision: {{compute: fp32}}
checkpoint: {{every_steps: 0, keep_last: 1}}
eval: {{every_steps: 1000000, steps: 16}}
run_dir: {folder}
logging: {{every_steps: 50, tensorboard: false, peak_tflops: 0.1}}
"""
# Every operator at about twice the FLOPs a token, or as far as it comes by itself.
OPERATORS = {
    "signal heads x2": "signal-heads --factor 2",
    "width x2 (HyperCloning)": "width --hidden-factor 2 --feed-forward-factor 2",
    "zero-pad to 144, feed-forward 512": "zero-pad --hidden-size 144 --intermediate-size 512",
    "depth 4 to 8 (LLaMA Pro's copies, all trained)": "depth --every 1",
    "masked feed-forward 256 to 768": "masked --intermediate-size 768 --ramp-steps {ramp}",
    "masked layers 4 to 8": "masked --layers 8 --ramp-steps {ramp}",
    "stack x2": "stack --factor 2",
}
# What growth writes out and a model from scratch takes from the defaults.
DEFAULTS = ["model.lambda_init=[]", "model.rms_norm_eps=1.0e-5"]


def run_gda(program, *arguments):
    words = [str(program), *map(str, arguments)]
    run = subprocess.run(words, capture_output=True, text=True, env=dict(os.environ, OMP_NUM_THREADS="1"))
    if run.returncode != 0:
        sys.exit(f"growth.py: error: {' '.join(words)}: {run.stderr.strip()}")
    return run.stdout


def last_loss(folder):
    """Nats a token on the held-out documents of all sources, at the end of a run."""
    last = {}
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        entry = json.loads(line).get("eval")
        if entry:
            last[entry["name"]] = entry
    return sum(e["loss"] * e["tokens"] for e in last.values()) / sum(e["tokens"] for e in last.values())


class Experiment:
    def __init__(self, options):
        self.options = options
        self.dir = pathlib.Path(options.dir).resolve()
        self.dir.mkdir(parents=True, exist_ok=True)
        self.started = time.time()

    def gda(self, *arguments):
        return run_gda(self.options.gda, *arguments)

    def prepare_data(self):
        """Tokens of each file and folder of the text; the `sources` of a configuration."""
        text = pathlib.Path(self.options.text)
        entries = sorted(text.iterdir()) if text.is_dir() else []
        if not entries:
            sys.exit(f"growth.py: error: --text {text}: no such folder, or nothing in it; scripts/quickstart.sh "
                     "gathers text in quickstart/text")
        tokenizer = self.dir / "tokenizer.model"
        if not tokenizer.exists():
            self.gda("tokenizer", "train", "--input", *entries, "--vocab-size", 2048, "--output", tokenizer)
        sources = []
        for entry in entries:
            name = entry.name.split(".")[0]
            prefix = self.dir / "tokens" / name
            if not prefix.with_suffix(".idx").exists():
                self.gda("tokenize", "--input", entry, "--tokenizer", tokenizer, "--output", prefix)
            sources.append(f"{{name: {name}, path: {prefix}, weight: 1}}")
        return ", ".join(sources)

    def once(self, name, work):
        """work(folder)'s result, a dictionary; kept, so that it is done once."""
        folder = self.dir / "runs" / name
        result = folder / "result.json"
        if not result.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            found = work(folder)
            result.write_text(json.dumps(found))
        return json.loads(result.read_text())

    def decay(self, steps):
        """The learning rate falls in the last steps of what is compared: as many for every model."""
        return f"schedule.decay_fraction={self.options.decay * self.options.steps / steps}"

    def small(self, seed, steps, name, *settings):
        def work(folder):
            config = folder / "run.yaml"
            config.write_text(CONFIG.format(sources=self.sources, steps=steps, folder=folder))
            self.gda("train", config, f"train.seed={seed}", f"data.seed={seed}", *settings)
            return {"loss": last_loss(folder)}

        return self.once(f"{name}-{seed}", work)

    def grown(self, seed, name, words):
        steps = self.options.steps

        def work(folder):
            small = self.dir / "runs" / f"small-{seed}"
            report = json.loads(self.gda("grow", *words.format(ramp=steps // 4).split(), "--from", small, "--to", folder,
                                         "--seed", seed, "--json"))
            self.gda("resume", folder, f"train.steps={2 * steps}", self.decay(2 * steps))
            before, after = report["flops_per_token_causal"]
            return {"loss": last_loss(folder), "ratio": after / before, "parameters": report["parameters"][1]}

        return self.once(f"{name}-{seed}", work)

    def compare(self, seed, label):
        """A grown model, and one of its size from scratch for as many FLOPs in all."""
        name = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")
        grown = self.grown(seed, name, OPERATORS[label])
        config = self.dir / "runs" / f"{name}-{seed}" / "config.yaml"
        steps = round(self.options.steps * (1 + 1 / grown["ratio"]))

        def work(folder):
            self.gda("train", config, f"run_dir={folder}", f"train.steps={steps}", self.decay(steps), *DEFAULTS)
            return {"loss": last_loss(folder)}

        scratch = self.once(f"{name}-scratch-{seed}", work)
        return {**grown, "label": label, "seed": seed, "scratch": scratch["loss"]}

    def run(self):
        self.sources = self.prepare_data()
        steps, seeds = self.options.steps, range(1, self.options.seeds + 1)
        done = []
        with concurrent.futures.ThreadPoolExecutor(self.options.jobs) as pool:
            list(pool.map(lambda seed: self.small(seed, steps, "small"), seeds))
            kept = [pool.submit(self.small, seed, 2 * steps, "kept", self.decay(2 * steps)) for seed in seeds]
            todo = [pool.submit(self.compare, seed, label) for seed in seeds for label in OPERATORS]
            for finished in concurrent.futures.as_completed(todo):
                done.append(finished.result())
                self.progress(done, len(todo))
        self.print_table(done, [future.result()["loss"] for future in kept])

    def progress(self, done, total):
        minutes = (time.time() - self.started) / 60
        print(f"{len(done)}/{total} {done[-1]['label']}, seed {done[-1]['seed']}: grown {done[-1]['loss']:.4f}, "
              f"from scratch {done[-1]['scratch']:.4f}; {minutes:.0f} min, about "
              f"{minutes / len(done) * (total - len(done)):.0f} left", file=sys.stderr)

    def print_table(self, done, kept):
        def spread(values):
            return f"{statistics.mean(values):.4f} ± {statistics.stdev(values) if len(values) > 1 else 0:.4f}"

        steps = self.options.steps
        print(f"The small model after {2 * steps} steps: {spread(kept)}\n")
        print("| operator | parameters | FLOPs a token | grown | from scratch, equal FLOPs | grown - scratch |")
        print("|---|---|---|---|---|---|")
        for label in OPERATORS:
            rows = [entry for entry in done if entry["label"] == label]
            print(f"| {label} | {rows[0]['parameters']:,} | {rows[0]['ratio']:.2f}x | "
                  f"{spread([entry['loss'] for entry in rows])} | {spread([entry['scratch'] for entry in rows])} | "
                  f"{spread([entry['loss'] - entry['scratch'] for entry in rows])} |")
        print(f"\n{(time.time() - self.started) / 60:.0f} minutes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", default="quickstart/text", help="folder of text (%(default)s)")
    parser.add_argument("--dir", default="experiments/growth", help="where everything goes (%(default)s)")
    parser.add_argument("--gda", default=str(ROOT / "build/cpu/gda"), help="the program (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--steps", type=int, default=150, help="before growth, and after it (%(default)s)")
    parser.add_argument("--decay", type=float, default=0.3, help="the learning rate falls in so large a part of the "
                        "steps after growth (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time, one thread each (%(default)s)")
    options = parser.parse_args()
    if options.seeds < 1 or options.steps < 20 or options.jobs < 1 or not 0 < options.decay <= 1:
        parser.error("expected --seeds and --jobs of 1 or more, --steps of 20 or more, --decay in (0, 1]")
    if shutil.which(options.gda) is None:
        parser.error(f"--gda {options.gda}: no such program; scripts/build.sh makes it")
    Experiment(options).run()


if __name__ == "__main__":
    main()

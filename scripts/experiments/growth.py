#!/usr/bin/env python3
"""Is it worth growing? Trains a small GDA model, grows it by each operator and trains on, beside models of the final
sizes trained from scratch for equally many FLOPs. Prints a table: mean and spread over seeds.

  scripts/experiments/growth.py --text FOLDER            text: *.txt and *.jsonl, as `gda tokenize` takes them
  scripts/experiments/growth.py --text FOLDER --seeds 3 --steps 150 --dir experiments/growth

Everything is left under --dir; what is there already is not done again, so a run that was cut off goes on. Needs
nothing but Python and the program (--gda, by default build/cpu/gda).
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
VOCABULARY = 2048
SEQUENCE = 128
BATCH = 16
CONFIG = """\
model:
  hidden_size: 96
  num_hidden_layers: 4
  intermediate_size: 256
  vocab_size: {vocabulary}
  max_position_embeddings: {sequence}
  tie_word_embeddings: true
  attention: {{type: grouped_differential, head_dim: 16, signal_heads: 6, noise_heads: 2, num_key_value_heads: 4}}
data:
  sources: [{sources}]
  sequence_length: {sequence}
  validation_fraction: 0.02
optimizer: {{lr: 3.0e-3}}
schedule: {{name: wsd, warmup_steps: 20, decay_fraction: 0, min_lr_ratio: 0.1}}
train: {{steps: {steps}, global_batch_size: {batch}, micro_batch_size: {batch}}}
precision: {{compute: fp32}}
checkpoint: {{every_steps: 0, keep_last: 1}}
eval: {{every_steps: 1000000, steps: 8}}
logging: {{dir: {dir}, every_steps: 50, tensorboard: false, peak_tflops: 0.1}}
"""
# Every operator at about twice the cost a token, or as far as one operator alone comes.
OPERATORS = {
    "signal heads x2": ["signal-heads", "--factor", "2"],
    "width x2 (HyperCloning)": ["width", "--hidden", "2", "--feed-forward", "2"],
    "zero-pad to 144, FFN 512": ["zero-pad", "--hidden-size", "144", "--intermediate-size", "512"],
    "depth 4 to 8 (LLaMA Pro)": ["depth", "--every", "1"],
    "masked FFN 256 to 768": ["masked", "--intermediate-size", "768", "--ramp-steps", "{ramp}"],
    "masked layers 4 to 8": ["masked", "--layers", "8", "--ramp-steps", "{ramp}"],
    "stack x2": ["stack", "--times", "2"],
}


class Experiment:
    def __init__(self, options):
        self.options = options
        self.dir = pathlib.Path(options.dir).resolve()
        self.dir.mkdir(parents=True, exist_ok=True)

    def gda(self, *arguments):
        environment = dict(os.environ, OMP_NUM_THREADS="1")
        run = subprocess.run([self.options.gda, *map(str, arguments)], capture_output=True, text=True, env=environment)
        if run.returncode != 0:
            sys.exit(f"growth.py: error: gda {' '.join(map(str, arguments))}: {run.stderr.strip()}")
        return run.stdout

    def prepare_data(self):
        text = pathlib.Path(self.options.text)
        files = sorted([*text.rglob("*.txt"), *text.rglob("*.jsonl")])
        if not files:
            sys.exit(f"growth.py: error: --text {text}: no *.txt or *.jsonl in it")
        tokenizer = self.dir / "tokenizer.model"
        if not tokenizer.exists():
            self.gda("tokenizer", "train", *files, "--vocab-size", VOCABULARY, "--out", tokenizer)
        sources = []
        for file in files:
            prefix = self.dir / "tokens" / file.stem
            if not prefix.with_suffix(".idx").exists():
                prefix.parent.mkdir(exist_ok=True)
                self.gda("tokenize", file, "--tokenizer", tokenizer, "--out", prefix)
            sources.append(f"{{name: {file.stem}, path: {prefix}}}")
        return ", ".join(sources)

    def train(self, name, seed, sources, steps, *settings):
        """A run from its beginning; its result."""
        folder = self.dir / f"{name}-{seed}"
        result = folder / "result.json"
        if not result.exists():
            subprocess.run(["rm", "-rf", str(folder)], check=True)
            config = self.dir / f"{name}-{seed}.yaml"
            config.write_text(CONFIG.format(vocabulary=VOCABULARY, sequence=SEQUENCE, batch=BATCH, sources=sources,
                                            steps=steps, dir=folder))
            self.gda("train", config, f"train.seed={seed}", f"data.seed={seed}", *settings)
            result.write_text(json.dumps(self.loss(folder)))
        return json.loads(result.read_text())

    def loss(self, folder):
        """Loss in nats a token on the held-out documents of all sources, at the end of a run."""
        last = {}
        for line in (folder / "metrics.jsonl").read_text().splitlines():
            entry = json.loads(line).get("eval")
            if entry:
                last[entry["name"]] = (entry["loss"], entry["tokens"])
        return sum(loss * tokens for loss, tokens in last.values()) / sum(tokens for _, tokens in last.values())

    def grow(self, name, operator, seed, steps):
        """Grows the small model of a seed and trains on; the result and what was grown."""
        folder = self.dir / f"{name}-{seed}"
        result = folder / "result.json"
        if not result.exists():
            subprocess.run(["rm", "-rf", str(folder)], check=True)
            words = [word.format(ramp=max(1, steps // 4)) for word in operator]
            report = json.loads(self.gda("grow", *words, "--from", self.dir / f"small-{seed}", "--to", folder, "--seed",
                                         seed, "--json"))
            decay = self.options.decay * steps / (2 * steps)
            self.gda("resume", folder, f"train.steps={2 * steps}", f"schedule.decay_fraction={decay}")
            flops = report["flops_per_token_causal"]
            result.write_text(json.dumps({"loss": self.loss(folder), "flops": flops,
                                          "parameters": report["parameters"][1]}))
        return json.loads(result.read_text())

    def one(self, seed, label, sources):
        """The grown model of a seed, and its size from scratch for as many FLOPs."""
        steps = self.options.steps
        name = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")
        grown = self.grow(name, OPERATORS[label], seed, steps)
        before, after = grown["flops"]
        model = (self.dir / f"{name}-{seed}" / "config.yaml").read_text()
        model = re.search(r"^model:.*?(?=^\S)", model, re.MULTILINE | re.DOTALL)[0]
        scratch_steps = steps + round(steps * before / after)
        config = self.dir / f"{name}.model.json"
        settings = self.model_settings(model)
        config.write_text(json.dumps(settings))
        scratch = self.train(f"{name}-scratch", seed, sources, scratch_steps, *settings,
                             f"schedule.decay_fraction={self.options.decay * steps / scratch_steps}")
        return {"seed": seed, "label": label, "grown": grown["loss"], "scratch": scratch,
                "parameters": grown["parameters"], "flops_ratio": after / before, "scratch_steps": scratch_steps}

    @staticmethod
    def model_settings(model):
        """The sizes of a printed model section, as settings for the command line."""
        settings = []
        for key in ("hidden_size", "num_hidden_layers", "intermediate_size"):
            settings.append(f"model.{key}=" + re.search(rf"^  {key}: (\d+)", model, re.MULTILINE)[1])
        for key in ("signal_heads", "noise_heads", "num_key_value_heads"):
            settings.append(f"model.attention.{key}=" + re.search(rf"^    {key}: (\d+)", model, re.MULTILINE)[1])
        return settings

    def run(self):
        started = time.time()
        sources = self.prepare_data()
        steps, seeds = self.options.steps, range(1, self.options.seeds + 1)
        with concurrent.futures.ThreadPoolExecutor(self.options.jobs) as pool:
            list(pool.map(lambda seed: self.train("small", seed, sources, steps), seeds))
            todo = [(seed, label) for label in OPERATORS for seed in seeds]
            done = []
            for entry in pool.map(lambda item: self.one(*item, sources), todo):
                done.append(entry)
                elapsed = time.time() - started
                left = elapsed / len(done) * (len(todo) - len(done))
                print(f"{len(done)}/{len(todo)} {entry['label']}, seed {entry['seed']}: grown {entry['grown']:.4f}, "
                      f"scratch {entry['scratch']:.4f} ({elapsed / 60:.0f} min, {left / 60:.0f} left)", file=sys.stderr)
            # The small model trained on for as many FLOPs as the first operator's second half.
            kept = list(pool.map(lambda seed: self.train("kept", seed, sources, 2 * steps,
                                                         f"schedule.decay_fraction={self.options.decay / 2}"), seeds))
        self.table(done, kept)

    def table(self, done, kept):
        def spread(values):
            return f"{statistics.mean(values):.4f} ± {statistics.stdev(values) if len(values) > 1 else 0:.4f}"

        print("| operator | parameters | FLOPs a token | grown | from scratch, equal FLOPs | difference |")
        print("|---|---|---|---|---|---|")
        print(f"| none: the small model, {2 * self.options.steps} steps | | 1.00x | {spread(kept)} | | |")
        for label in OPERATORS:
            rows = [entry for entry in done if entry["label"] == label]
            difference = spread([entry["grown"] - entry["scratch"] for entry in rows])
            print(f"| {label} | {rows[0]['parameters']:,} | {rows[0]['flops_ratio']:.2f}x | "
                  f"{spread([entry['grown'] for entry in rows])} | {spread([entry['scratch'] for entry in rows])} | "
                  f"{difference} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", required=True, help="folder of text")
    parser.add_argument("--dir", default="experiments/growth", help="where everything goes (%(default)s)")
    parser.add_argument("--gda", default=str(ROOT / "build/cpu/gda"), help="the program (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--steps", type=int, default=150, help="before growth, and after it (%(default)s)")
    parser.add_argument("--decay", type=float, default=0.3, help="share of the later steps in which the learning rate "
                        "decays (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time, one thread each (%(default)s)")
    options = parser.parse_args()
    if options.seeds < 1 or options.steps < 20 or options.jobs < 1 or not 0 < options.decay <= 1:
        parser.error("expected --seeds and --jobs of 1 or more, --steps of 20 or more, --decay in (0, 1]")
    Experiment(options).run()


if __name__ == "__main__":
    main()

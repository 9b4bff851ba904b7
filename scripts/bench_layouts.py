#!/usr/bin/env python3
"""Measures layouts of two ranks on this machine's CPU: GDA 3:1 124M as data 2, ZeRO 3, tensor 2, pipeline 2 and context
2, one thread a rank, beside one process with two threads, in turns.

  scripts/bench_layouts.py                      all of them, three rounds of two steps behind a first one
  scripts/bench_layouts.py --rounds 5 --steps 4
  scripts/bench_layouts.py --only tensor,one    those whose names begin so
  scripts/bench_layouts.py --threads 2          of each rank; one process has twice as many
  scripts/bench_layouts.py --gda PROGRAM        another build than build/cpu/gda

Prints, beside what `gda config --ranks 2` says of the layout: the most memory that a rank has had, less what the same
layout of a tiny model takes (the program, its libraries and buffers that do not grow with the model, which the
formula leaves out), and the bytes that rank 0 sends in a step. Rates are medians over the steps of all rounds, with
their range; processor seconds, which neighbours on a shared machine change less, those of a round's steps, start and
end included, of all ranks. Needs nothing but Python, mpirun and the program (scripts/build.sh).
"""
import argparse
import json
import os
import re
import resource
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "scripts/bench/gda-124m.yaml"

# Heads of 48 in place of 64: as many parameters, and four K/V groups in place of three, which divide by two.
MODEL = ["model.attention.head_dim=48", "model.attention.signal_heads=12", "model.attention.noise_heads=4",
         "model.attention.num_key_value_heads=8", "precision.compute=fp32", "logging.peak_tflops=1"]
TINY = ["model.hidden_size=8", "model.num_hidden_layers=2", "model.intermediate_size=8", "model.vocab_size=64",
        "model.attention.head_dim=2", "data.sequence_length=16"]
# Ranks and settings; each takes the same four sequences a step.
LAYOUTS = {
    "one process": (1, []),
    "data 2, ZeRO 1": (2, ["parallel.zero_stage=1", "train.micro_batch_size=2"]),
    "ZeRO 3 (data 2)": (2, ["parallel.zero_stage=3", "train.micro_batch_size=2"]),
    "tensor 2": (2, ["parallel.tensor=2"]),
    "pipeline 2": (2, ["parallel.pipeline=2", "train.micro_batch_size=1"]),
    "context 2": (2, ["parallel.context=2"]),
}
UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
# The formula's names of groups, and the metrics'.
GROUPS = {"data": "replicas", "tensor": "tensor", "context": "context", "pipeline": "pipeline"}


def fail(message):
    sys.exit(f"bench_layouts.py: error: {message}")


def write_tokens(path, count, vocabulary):
    """Random tokens in llm.c's format: a header of 256 numbers, then 16 bits each."""
    state, tokens = 1, []
    for _ in range(count):
        state = (6364136223846793005 * state + 1442695040888963407) % 2**64
        tokens.append((state >> 33) % vocabulary)
    path.write_bytes(struct.pack("<256i", 20240520, 1, count, *[0] * 253) + struct.pack(f"<{count}H", *tokens))


def processor_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def call(command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        fail(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def train(gda, folder, name, settings, steps, threads):
    """Entries of metrics.jsonl, one a step."""
    ranks, layout = LAYOUTS[name]
    run = folder / "run"
    command = [gda, "train", CONFIG, *settings, *layout, f"train.steps={steps}", f"run_dir={run}"]
    if ranks > 1:
        command = ["mpirun", "--oversubscribe", "--bind-to", "none", "-np", ranks, *command]
    call(command, env=os.environ | {"OMP_NUM_THREADS": str(threads * 2 // ranks), "OMP_WAIT_POLICY": "passive",
                                    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"})
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    shutil.rmtree(run)
    return [entry for entry in entries if "tokens_per_second" in entry]


def formula(gda, name, settings):
    """Bytes of memory, and those sent in a step by group, as the program foretells them."""
    ranks, layout = LAYOUTS[name]
    page = call([gda, "config", CONFIG, *settings, *layout, "--ranks", ranks])
    figures = {key: float(number) * UNITS[unit]
               for key, number, unit in re.findall(r"^  (\S.*?) +([0-9.]+) (\w+)$", page, re.MULTILINE)}
    if "together" not in figures:
        fail(f"gda config printed no memory:\n{page}")
    return figures["together"], {GROUPS[key]: figures[key] for key in GROUPS if key in figures}


def measure(gda, folder, names, rounds, steps, threads):
    """What each layout needed."""
    found = {name: {"rates": [], "cpu": [], "peak": 0, "tiny": 0, "sent": {}, "waited": {}} for name in names}
    data = [f"data.sources=[{{name: random, path: {folder}/random.bin, weight: 1}}]"]
    small = [f"data.sources=[{{name: random, path: {folder}/small.bin, weight: 1}}]"]
    for name in names:
        settings = MODEL + TINY + small
        found[name]["tiny"] = train(gda, folder, name, settings, 2, threads)[-1]["peak_resident_bytes"]
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}, load {os.getloadavg()[0]:.1f}", flush=True)
        for name in names:
            before = processor_seconds()
            entries = train(gda, folder, name, MODEL + data, steps + 1, threads)
            result = found[name]
            result["cpu"].append(processor_seconds() - before)
            result["rates"] += [entry["tokens_per_second"] for entry in entries[1:]]
            result["peak"] = max(result["peak"], entries[-1]["peak_resident_bytes"])
            result["sent"] = entries[-1].get("sent_bytes", {})
            for group, seconds in entries[-1].get("waited_seconds", {}).items():
                result["waited"].setdefault(group, []).append(seconds)
            print(f"  {name}: {result['peak'] / 2**20:.0f} MiB, "
                  f"{[round(rate, 1) for rate in result['rates'][-steps:]]} tokens/s", flush=True)
    return found


def by_group(values):
    return ", ".join(f"{group} {text}" for group, text in values) or "-"


def print_table(gda, found):
    mebi = 2**20
    columns = ["", "tokens/s", "slowest–fastest step", "processor s", "peak MiB", "less the tiny model's", "formula",
               "difference", "MiB sent a step", "formula", "s waited for"]
    print("\n| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for name, result in found.items():
        memory, sent = formula(gda, name, MODEL)
        rates = result["rates"]
        own = result["peak"] - result["tiny"]
        cells = [name, f"{statistics.median(rates):.0f}", f"{min(rates):.0f}–{max(rates):.0f}",
                 f"{statistics.median(result['cpu']):.0f}", f"{result['peak'] / mebi:.0f}", f"{own / mebi:.0f}",
                 f"{memory / mebi:.0f}", f"{100 * (own / memory - 1):+.1f} %",
                 by_group((group, f"{value / mebi:.1f}") for group, value in result["sent"].items()),
                 by_group((group, f"{value / mebi:.0f}") for group, value in sent.items()),
                 by_group((group, f"{statistics.median(value):.2f}") for group, value in result["waited"].items())]
        print("| " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2, help="that are measured in each round")
    parser.add_argument("--threads", type=int, default=1, help="of each of two ranks")
    parser.add_argument("--only", default="", metavar="NAMES", help="beginnings of layouts' names, with commas between")
    parser.add_argument("--gda", type=Path, default=ROOT / "build/cpu/gda", metavar="PROGRAM")
    arguments = parser.parse_args()
    names = [name for name in LAYOUTS if name.startswith(tuple(arguments.only.split(",")))]
    if not names:
        fail(f"--only {arguments.only}: no layout begins so; there are {', '.join(LAYOUTS)}")
    if min(arguments.rounds, arguments.steps, arguments.threads) < 1:
        fail("--rounds, --steps and --threads are at least 1")
    gda = arguments.gda.resolve()
    if not gda.exists():
        fail(f"there is no {gda}: run scripts/build.sh first")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_tokens(folder / "random.bin", 100000, 50304)
        write_tokens(folder / "small.bin", 20000, 64)
        print_table(gda, measure(gda, folder, names, arguments.rounds, arguments.steps, arguments.threads))
    return 0


if __name__ == "__main__":
    sys.exit(main())

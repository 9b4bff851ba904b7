#!/usr/bin/env python3
"""Prints digests of short runs of a gda program, a line each: what a change of its inside must not change.

  scripts/run_digests.py build/cpu/gda > before.txt       (then the change, and a build)
  scripts/run_digests.py build/cpu/gda | diff before.txt -

  scripts/run_digests.py GDA [--device cpu|cuda] [--only TEXT] [--keep FOLDER]

A run trains a tiny model for 20 steps: four types of attention, both activations, tied and untied, in fp64,
fp32 and bf16, on 1, 2 and 3 ranks, each with some of recomputation, accumulation, document mask, frozen
layers, a rising mask, a growth stage, stochastic rounding, and a stop and resume on other ranks in the middle.
A line has the digests of the losses, of all parameters, and of all optimizer states, as logical tensors:
neither the ranks nor the layout of files plays a part. Bits depend on the machine and its libraries: compare
programs on one machine. --device cuda is for a build with CUDA, or `gda_emulated` (docs/cuda_emulation.md).
"""
import argparse
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

VOCABULARY = 61
STEPS = 20
STOP = 13

ATTENTION = {
    "softmax": "{type: softmax, head_dim: 8, num_attention_heads: 4, num_key_value_heads: 2}",
    "differential": "{type: differential, head_dim: 8, signal_heads: 2, noise_heads: 2, num_key_value_heads: 4}",
    "grouped_differential":
        "{type: grouped_differential, head_dim: 8, signal_heads: 6, noise_heads: 2, num_key_value_heads: 4}",
    "differential_v2": "{type: differential_v2, head_dim: 8, num_attention_heads: 4, num_key_value_heads: 2}",
}
STAGE = "growth: {stages: [{step: 9, plan: {steps: [%s]}}]}"
# What a run has besides its model, type and ranks.
FEATURES = {
    "plain": "",
    "recompute": "train: {recompute: full}",
    "selective": "train: {recompute: selective, micro_batch_size: 2}",
    "documents": "data: {document_mask: true}",
    "frozen": 'train: {trainable: ["model.layers.1.*", model.norm.weight]}',
    "masked": STAGE % "{operator: masked, intermediate_size: 56, ramp_steps: 6}",
    "grown": STAGE % "{operator: depth, every: 2}",
    "stochastic": "precision: {rounding: stochastic}",
    "resumed": "",
}


def runs():
    """Every model in every type; ranks and features take turns so that each meets each, and each type of attention."""
    number = 0
    features = list(FEATURES)
    for attention in ATTENTION:
        for activation in ("silu", "poly_norm"):
            for tied in (False, True):
                for compute in ("fp64", "fp32", "bf16"):
                    # These shares make every pair of type, ranks, feature and attention occur.
                    feature = features[(number + number // 12) % len(features)]
                    if feature == "stochastic" and compute != "bf16":
                        feature = "documents"
                    ranks = 1 + (number + number // 4) % 3
                    yield attention, activation, tied, compute, ranks, feature
                    number += 1


def write_tokens(prefix, seed):
    """Documents in which a token mostly follows from the one before, as Megatron's .bin and .idx."""
    state, sizes, tokens = seed, [], []

    def draw(limit):
        nonlocal state
        state = (6364136223846793005 * state + 1442695040888963407) % 2**64
        return (state >> 33) % limit

    for _ in range(300):
        sizes.append(5 + draw(36))
        token = draw(VOCABULARY)
        for _ in range(sizes[-1]):
            tokens.append(token)
            token = (token + (5 if draw(10) == 0 else seed)) % VOCABULARY
    prefix.with_suffix(".bin").write_bytes(struct.pack(f"<{len(tokens)}H", *tokens))
    starts, start = [], 0
    for size in sizes:
        starts.append(start)
        start += 2 * size
    count = len(sizes)
    prefix.with_suffix(".idx").write_bytes(
        b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, 8, count, count + 1) + struct.pack(f"<{count}i", *sizes)
        + struct.pack(f"<{count}q", *starts) + struct.pack(f"<{count + 1}q", *range(count + 1)))


def configuration(folder, run, device):
    attention, activation, tied, compute, _, feature = run
    sections = {
        "model": f"{{hidden_size: 24, num_hidden_layers: 2, intermediate_size: 40, vocab_size: {VOCABULARY}, "
                 f"max_position_embeddings: 64, hidden_act: {activation}, initializer_range: 0.1, "
                 f"tie_word_embeddings: {str(tied).lower()}, attention: {ATTENTION[attention]}}}",
        "data": f"{{sources: [{{name: one, path: {folder}/one}}, {{name: two, path: {folder}/two}}], "
                "sequence_length: 32}",
        "optimizer": "{lr: 5.0e-3, grad_clip: 0.8}",
        "schedule": "{name: cosine, warmup_steps: 3}",
        "train": f"{{steps: {STEPS}, global_batch_size: 12, micro_batch_size: 1}}",
        "checkpoint": f"{{every_steps: {STOP}}}",
        "precision": f"{{compute: {compute}}}",
        "logging": "{every_steps: 1, tensorboard: false, peak_tflops: 1}",
        "device": device,
        "run_dir": str(folder / "run"),
    }
    if FEATURES[feature]:
        section, _, more = FEATURES[feature].partition(": ")
        before = sections.get(section, "{}")[1:-1]
        sections[section] = "{" + ", ".join(text for text in (before, more[1:-1]) if text) + "}"
        if "micro_batch_size: 2" in more:
            sections[section] = sections[section].replace("micro_batch_size: 1, ", "")
    path = folder / "config.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in sections.items()))
    return path


def launch(gda, ranks, *arguments):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive",
                                "GDA_EMULATION_DEVICES": "3",
                                "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    command = [gda, *map(str, arguments)]
    if ranks > 1:
        command = ["mpirun", "--oversubscribe", "--bind-to", "none", "-np", str(ranks), *command]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def tensors(path):
    """Names, headers and bytes of a safetensors file."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    for name, entry in json.loads(data[8:8 + length]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            yield name, data[8 + length + begin:8 + length + end]


def digest_of(files):
    """Of the tensors of all files. Pieces of a state, "STATE:NAME:OFFSET", are put together."""
    whole = {}
    for path in files:
        for name, data in tensors(path):
            if "[" in name:
                raise SystemExit(f"{path}: {name} is of a part of a tensor that is cut; this script joins whole ones only")
            *logical, offset = name.rsplit(":", 1) if name.count(":") == 2 else (name, "0")
            whole.setdefault(":".join(logical), []).append((int(offset), data))
    digest = hashlib.sha256()
    for name in sorted(whole):
        digest.update(name.encode() + b"\0" + b"".join(data for _, data in sorted(whole[name])))
    return digest.hexdigest()[:16]


def losses(folder):
    entries = [json.loads(line) for line in (folder / "run/metrics.jsonl").read_text().splitlines()]
    kept = {entry["step"]: (entry["loss"], entry["grad_norm"]) for entry in entries if "grad_norm" in entry}
    if len(kept) != STEPS:
        raise SystemExit(f"{folder}: {len(kept)} steps of {STEPS} in metrics.jsonl")
    return hashlib.sha256(json.dumps(sorted(kept.items())).encode()).hexdigest()[:16]


def digests(gda, folder, run, device):
    *_, ranks, feature = run
    shutil.rmtree(folder / "run", ignore_errors=True)
    config = configuration(folder, run, device)
    if feature == "resumed":
        launch(gda, ranks, "train", config, f"train.steps={STOP}", f"schedule.steps={STEPS}")
        launch(gda, ranks % 3 + 1, "resume", folder / "run", f"train.steps={STEPS}")
    else:
        launch(gda, ranks, "train", config)
    saved = folder / "run/checkpoints" / (folder / "run/checkpoints/latest").read_text().strip()
    return (losses(folder), digest_of(sorted(saved.glob("model*.safetensors"))),
            digest_of(sorted(saved.glob("optimizer*.safetensors"))))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gda")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--only", default="", metavar="TEXT", help="runs whose line begins with it")
    parser.add_argument("--keep", metavar="FOLDER", help="a folder for the runs, kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(arguments.keep or scratch).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        write_tokens(folder / "one", 1)
        write_tokens(folder / "two", 3)
        for run in runs():
            attention, activation, tied, compute, ranks, feature = run
            line = f"{attention} {activation} {'tied' if tied else 'untied'} {compute} ranks={ranks} {feature}"
            if line.startswith(arguments.only):
                print(line, "loss={} parameters={} states={}".format(
                    *digests(arguments.gda, folder, run, arguments.device)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Trains small models with gda in float64 and repeats every run from its configuration and its data alone: samples and
their order, loss, gradients, clipping, skipped updates, AdamW, Muon, QK-clip, schedules, evaluation. Every line of metrics and every
tensor of the checkpoints must agree.

Usage: training_judge.py GDA_PROGRAM [MPIRUN ARGUMENT...]. With mpirun, some runs are on two and three ranks.
Exit code 77: numpy, autograd or xxhash is missing, nothing was compared.
"""

import json
import pathlib
import shutil
import sys
import tempfile

SKIPPED = 77
try:
    import numpy

    from training_run import TrainingRun
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(SKIPPED)

from programs import run, write_dataset, write_safetensors
from reference_model import read_model, read_safetensors

# Both sides compute in float64 (u = 1.1e-16) and differ in the order of sums and in exp, log and division. A gradient
# is a sum over at most 12 * 24 targets and, back through two layers, of some 20 sums of at most 96 terms: 300 u + 20 *
# 96 u < 3e-13 of the sizes of its terms. Adam divides an element by its own size, which is smaller than its terms by
# 1e3 at times: 3e-10 of a step of at most lr = 0.02 an element, after 13 steps less than 1e-10 of the largest weight of a
# tensor, about 1. Muon multiplies an error of a direction by less than 500, the product of its polynomials' slopes at
# zero: less than 2e-10 of a step.
TOLERANCE = 1e-9

STEPS = 13
SAVED = 7  # the run is also gone on with from here, so that the spike is judged by what was saved of the past
SPIKE = 8  # a batch of tokens that were hardly seen before: its update is skipped
VOCABULARY = 41
WEIGHTS = {
    "first": [(0, 1.0)],
    "second": [(0, 0.5), (12, 2.0)],
    "odd": [(SPIKE - 1, 0.0), (SPIKE, 1000.0), (SPIKE + 1, 0.0)],
}


GROUPED = {"type": "grouped_differential", "head_dim": 8, "signal_heads": 6, "noise_heads": 2, "num_key_value_heads": 4}
CASES = [
    {
        "name": "softmax, tied, cosine",
        "attention": {"type": "softmax", "head_dim": 8, "num_attention_heads": 6, "num_key_value_heads": 2},
        "schedule": {"name": "cosine", "warmup_steps": 3, "min_lr_ratio": 0.2},
        "tied": True, "ramp": True, "clip": 0.5, "qk_clip": {"threshold": 0.4, "every_steps": 1},
    },
    {
        "name": "differential, 2 ranks, linear",
        "attention": {"type": "differential", "head_dim": 8, "signal_heads": 4, "noise_heads": 4,
                      "num_key_value_heads": 4},
        "schedule": {"name": "linear", "warmup_steps": 2, "min_lr_ratio": 0.1},
        "ranks": 2, "recompute": "full", "qk_clip": {"threshold": 0.4, "every_steps": 2},
    },
    {
        "name": "grouped, tied, 3 ranks, 1-sqrt",
        "attention": GROUPED,
        "schedule": {"name": "wsd", "warmup_steps": 2, "decay_fraction": 0.5, "min_lr_ratio": 0.1},
        "tied": True, "ramp": True, "ranks": 3,
    },
    {
        "name": "grouped, PolyNorm, wsd linear",
        "attention": GROUPED,
        "schedule": {"name": "wsd", "warmup_steps": 1, "decay_fraction": 0.4, "decay_shape": "linear",
                     "min_lr_ratio": 0},
        "act": "poly_norm", "ramp": True, "clip": 2.0, "recompute": "selective",
    },
    {
        "name": "grouped, one key group, PolyNorm, tied",
        "attention": {**GROUPED, "signal_heads": 4, "num_key_value_heads": 2},
        "schedule": {"name": "wsd", "warmup_steps": 4, "decay_fraction": 0.3, "decay_shape": "exponential",
                     "min_lr_ratio": 0.05},
        "act": "poly_norm", "tied": True, "mask": False,
    },
    {
        "name": "differential V2, 3 ranks, constant",
        "attention": {"type": "differential_v2", "head_dim": 8, "num_attention_heads": 4, "num_key_value_heads": 2},
        "schedule": {"name": "constant", "warmup_steps": 5},
        "mask": False, "ramp": True, "ranks": 3, "clip": 0, "recompute": "full",
    },
    {
        "name": "grouped, PolyNorm, Muon",
        "attention": GROUPED,
        "schedule": {"name": "cosine", "warmup_steps": 2, "min_lr_ratio": 0.1},
        "act": "poly_norm", "optimizer": {"momentum": 0.9, "adamw": {"lr": 0.005, "betas": [0.85, 0.97], "eps": 1e-6}},
        "qk_clip": {"threshold": 0.3, "every_steps": 3},
    },
    {
        "name": "differential V2, tied, 3 ranks, Muon",
        "attention": {"type": "differential_v2", "head_dim": 8, "num_attention_heads": 4, "num_key_value_heads": 2},
        "schedule": {"name": "linear", "warmup_steps": 2, "min_lr_ratio": 0.1},
        "tied": True, "ramp": True, "ranks": 3, "clip": 0.5, "optimizer": {"momentum": 0.95},
        "qk_clip": {"threshold": 0.5, "every_steps": 2},
    },
]
ADAMW = {"name": "adamw", "betas": [0.85, 0.97], "eps": 1e-6}


def configuration(case, folder):
    sources = [
        {"name": name, "path": str(folder.parent / name), "weight": [{"step": s, "value": v} for s, v in points]}
        for name, points in WEIGHTS.items()
    ]
    return {
        "model": {
            "hidden_size": 40, "num_hidden_layers": 2, "intermediate_size": 56, "vocab_size": VOCABULARY,
            "max_position_embeddings": 64, "hidden_act": case.get("act", "silu"),
            "tie_word_embeddings": case.get("tied", False), "rope": {"theta": 1000}, "attention": case["attention"],
        },
        "data": {"sources": sources, "sequence_length": 24, "document_mask": case.get("mask", True),
                 "validation_fraction": 0.2, "seed": 77},
        "optimizer": {**({"name": "muon", **case["optimizer"]} if "optimizer" in case else ADAMW), "lr": 0.02,
                      "weight_decay": 0.3, "grad_clip": case.get("clip", 1.0),
                      "qk_clip": case.get("qk_clip")},
        "schedule": case["schedule"],
        "train": {
            "steps": STEPS, "global_batch_size": 12, "micro_batch_size": 2, "recompute": case.get("recompute", "none"),
            "batch_ramp": [{"step": 0, "value": 6}, {"step": 4, "value": 12}] if case.get("ramp") else [],
            "init_from": str(folder / "start"), "skip": {"spike_sigmas": 4.0, "window": 4},
        },
        "precision": {"compute": "fp64"},
        "checkpoint": {"every_steps": SAVED, "keep_last": 10},
        "eval": {"every_steps": 5, "steps": 1},
        "logging": {"dir": str(folder / "run"), "every_steps": 1, "tensorboard": False, "peak_tflops": 0.1},
    }


def make_datasets(random):
    """Datasets of documents of one token and more, by source. "odd" shares no token with the others."""

    def document(tokens):
        return random.choice(tokens, random.integers(1, 32)).tolist()

    usual, odd = numpy.arange(29), numpy.arange(29, VOCABULARY)
    often = usual**2 % 29  # 15 of them
    return {
        "first": [[document(often) for _ in range(20)], [document(usual) for _ in range(25)]],
        "second": [[document(usual[:11]) for _ in range(60)]],
        "odd": [[document(odd) for _ in range(40)]],
    }


class Comparison:
    def __init__(self):
        self.largest, self.where = 0.0, "nothing was compared"

    def take(self, where, found, expected):
        """Relative to the largest expected number."""
        if isinstance(expected, dict):
            assert set(found) == set(expected), f"{where}: {sorted(found)} is not {sorted(expected)}"
            for key, value in expected.items():
                self.take(f"{where} {key}", found[key], value)
            return
        found, expected = numpy.asarray(found, dtype=float), numpy.asarray(expected, dtype=float)
        assert found.shape == expected.shape, f"{where}: {found.shape} is not {expected.shape}"
        if expected.size == 0:
            return
        difference = numpy.max(numpy.abs(found - expected)) / max(1e-30, numpy.max(numpy.abs(expected)))
        # A not-a-number is larger than everything.
        if not (difference <= self.largest or numpy.isnan(self.largest)):
            self.largest, self.where = difference, where


def read_states(folder, tensors):
    """The optimizer's states of every parameter that has them, joined from what each rank wrote."""
    joined = {}
    for path in folder.glob("optimizer-*.safetensors"):
        for piece, values in read_safetensors(path).items():
            state, name, offset = piece.split(":")
            whole = joined.setdefault(state, {}).setdefault(name, numpy.full(tensors[name].size, numpy.nan))
            whole[int(offset) : int(offset) + values.size] = values
    return joined


def compare(run_folder, lines, states):
    comparison = Comparison()
    found = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in found if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, STEPS + 1))
    for line, (expected, evaluated) in zip(steps, lines):
        comparison.take(f"step {line['step']}", {key: line[key] for key in expected}, expected)
        sets = [other["eval"] for other in found if "eval" in other and other["step"] == line["step"]]
        asked = {each["name"]: {"loss": each["loss"], "tokens": each["tokens"]} for each in sets}
        comparison.take(f"evaluation at step {line['step']}", asked, evaluated)
    for step, (tensors, kept) in states.items():
        folder = run_folder / "checkpoints" / f"step-{step:08d}"
        comparison.take(f"weights of step {step},", read_model(folder)[1], tensors)
        flat = {state: {name: x.ravel() for name, x in of.items()} for state, of in kept.items()}
        comparison.take(f"states of step {step},", read_states(folder, tensors), flat)
    return comparison


def repeat(repetition):
    """The lines of metrics, evaluations and states that a run should leave."""
    lines, states = [], {}
    for step in range(STEPS):
        expected = repetition.step(step)
        evaluated = repetition.evaluate() if step + 1 in (5, 10, STEPS) else {}
        lines.append((expected, evaluated))
        if step + 1 in (SAVED, STEPS):
            states[step + 1] = (
                repetition.tensors, {state: dict(of) for state, of in repetition.states.items()})
    # What this is about has happened: the spike was skipped, and the gradient clipped.
    assert lines[SPIKE][0]["skipped"] == lines[SPIKE - 1][0]["skipped"] + 1
    assert SAVED <= repetition.updates == STEPS - repetition.skipped
    assert (repetition.clipped > 0) == (repetition.config["optimizer"]["grad_clip"] > 0)
    assert (repetition.ever_clipped > 0) == (repetition.config["optimizer"]["qk_clip"] is not None)
    return lines, states


def write_start(program, folder, config, random):
    """A model folder to begin with, all its weights random. Names, shapes and config.json are those of a run of one
    step."""
    template = {**config, "schedule": {"name": "constant"}}
    template["logging"] = {**config["logging"], "dir": str(folder / "new")}
    template["train"] = {"steps": 1, "global_batch_size": 2, "micro_batch_size": 2}
    (folder / "new.yaml").write_text(json.dumps(template))
    run(program, "train", folder / "new.yaml")
    shape, named = read_model(folder / "new" / "checkpoints" / "step-00000001")
    tensors = {}
    for name, value in named.items():
        tensors[name] = random.normal(0.0, 0.2, value.shape) + (value if value.ndim == 1 else 0.0)
    (folder / "start").mkdir()
    (folder / "start" / "config.json").write_text(json.dumps(shape))
    write_safetensors(folder / "start" / "model.safetensors", tensors)
    return shape, tensors


def judge(program, mpirun, folder, case, datasets):
    """The comparisons of a run, and of its second part after it was interrupted."""
    folder.mkdir()
    config = configuration(case, folder)
    shape, tensors = write_start(program, folder, config, numpy.random.default_rng(5))
    (folder / "run.yaml").write_text(json.dumps(config))  # YAML reads JSON
    launch = [*mpirun, "-np", case["ranks"]] if mpirun and "ranks" in case else []
    run(*launch, program, "train", folder / "run.yaml")
    lines, states = repeat(TrainingRun(config, shape, tensors, datasets))
    yield "whole", compare(folder / "run", lines, states)
    shutil.rmtree(folder / "run" / "checkpoints" / f"step-{STEPS:08d}")
    run(*launch, program, "resume", folder / "run")
    yield "resumed", compare(folder / "run", lines, states)


def main():
    program, mpirun = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:]
    datasets = make_datasets(numpy.random.default_rng(11))
    failures = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name, parts in datasets.items():
            (pathlib.Path(scratch) / name).mkdir()
            for i, documents in enumerate(parts):
                write_dataset(f"{scratch}/{name}/part{i}", documents)
        for number, case in enumerate(CASES):
            for part, comparison in judge(program, mpirun, pathlib.Path(scratch) / str(number), case, datasets):
                agrees = comparison.largest < TOLERANCE
                failures += not agrees
                print(f"{case['name']:40} {part:8} {'agrees' if agrees else 'DISAGREES'}: "
                      f"{comparison.largest:.2e} ({comparison.where})", flush=True)
    sys.exit(1 if failures else 0)


main()

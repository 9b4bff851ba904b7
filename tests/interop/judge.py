"""Trains small models with gda in float64, scores random tokens with `gda score`, and compares every
log-probability with the NumPy model of reference_model.py.

Usage: judge.py GDA_PROGRAM. Exit code 77: numpy is missing, nothing was compared.
"""

import itertools
import json
import pathlib
import sys
import tempfile

SKIPPED = 77
try:
    import numpy as np
except ImportError:
    print("skipped: this python has no numpy")
    sys.exit(SKIPPED)

from programs import run, write_dataset
from reference_model import Model, read_model

VOCABULARY = 67
SEQUENCES = ([3, 1, 4, 1, 5, 9, 2, 6], 45, 2)  # tokens given, or the number of random ones

# Both sides compute in float64 (unit roundoff u = 1.1e-16) and differ in the order of sums and in
# exp, log and division, each good to a few u. A sum of n terms of either side is off by at most n u
# times the sum of their sizes. The longest chain here is 2 layers of sums of at most 80 terms: norm,
# q k product, softmax (over at most 45 keys), value sum, o_proj, gate and down projections; under
# 20 such sums, each of at most 80 u relative: 20 * 80 u < 2e-13 for terms of size 1. PolyNorm cubes
# its input, and a norm divides by a root mean square that may be small: 1e3 for both together gives
# 2e-10. A wrong key head changes these log-probabilities by about 1; PolyNorm's eps at twice its
# value, the smallest mistake that was tried, by 5e-7.
TOLERANCE = 1e-9

ATTENTION = {
    "softmax": "{type: softmax, head_dim: 8, num_attention_heads: 6, num_key_value_heads: 2}",
    "differential": "{type: differential, head_dim: 8, signal_heads: 4, noise_heads: 4,"
    " num_key_value_heads: 4}",
    "grouped_differential": "{type: grouped_differential, head_dim: 8, signal_heads: 6,"
    " noise_heads: 2, num_key_value_heads: 4}",
    "differential_v2": "{type: differential_v2, head_dim: 8, num_attention_heads: 4,"
    " num_key_value_heads: 2}",
}

CONFIG = """
model:
  hidden_size: 40
  num_hidden_layers: 2
  intermediate_size: 56
  vocab_size: {vocabulary}
  max_position_embeddings: 64
  hidden_act: {act}
  tie_word_embeddings: {tied}
  initializer_range: 0.2
  rope: {{theta: 1000}}
  attention: {attention}
data:
  sources: [{{name: random, path: {data}, weight: 1}}]
  sequence_length: 32
  validation_fraction: 0
optimizer: {{name: adamw, lr: 1.0e-2, betas: [0.9, 0.95]}}
schedule: {{name: constant, warmup_steps: 0}}
train: {{steps: 2, global_batch_size: 2, micro_batch_size: 2}}
precision: {{compute: fp64}}
checkpoint: {{every_steps: 0}}
eval: {{every_steps: 0}}
run_dir: {run}
logging: {{every_steps: 1, tensorboard: false, peak_tflops: 0.1}}
"""


def largest_difference(program, folder, attention, act, tied, random):
    name = f"{attention}-{act}-{'tied' if tied else 'untied'}"
    config = folder / f"{name}.yaml"
    config.write_text(
        CONFIG.format(
            vocabulary=VOCABULARY,
            act=act,
            tied=str(tied).lower(),
            attention=ATTENTION[attention],
            data=folder / "data",
            run=folder / name,
        )
    )
    run(program, "train", config)
    asked = [
        given if isinstance(given, list) else random.integers(0, VOCABULARY, given).tolist()
        for given in SEQUENCES
    ]
    listed = folder / f"{name}.jsonl"
    listed.write_text("".join(json.dumps(tokens) + "\n" for tokens in asked))
    scored = run(program, "score", folder / name, "--tokens", listed, "--precision", "fp64")
    lines = [json.loads(line) for line in scored.splitlines()]
    assert len(lines) == len(asked)
    model = Model(*read_model(folder / name / "checkpoints" / "step-00000002"))
    largest = 0.0
    for tokens, line in zip(asked, lines):
        expected = model.log_probabilities(np.array(tokens))
        found = np.array(line["log_probs"], dtype=np.float64)
        assert line["tokens"] == tokens and found.shape == expected.shape
        assert abs(line["sum"] - found.sum()) < TOLERANCE
        # A not-a-number must not pass for the smaller one.
        largest = float(np.max([largest, *np.abs(found - expected)]))
    return name, largest


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    random = np.random.default_rng(7)
    failures = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        lengths = random.integers(5, 60, 40)
        write_dataset(str(folder / "data"), [random.integers(0, VOCABULARY, length) for length in lengths])
        for attention, act, tied in itertools.product(ATTENTION, ("silu", "poly_norm"), (True, False)):
            name, largest = largest_difference(program, folder, attention, act, tied, random)
            agrees = largest < TOLERANCE
            failures += not agrees
            print(f"{name:40} largest difference {largest:.2e}  {'agrees' if agrees else 'DISAGREES'}")
    sys.exit(1 if failures else 0)


main()

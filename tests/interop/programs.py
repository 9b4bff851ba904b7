"""Starts programs, and writes what gda reads: token datasets and tensors."""

import json
import pathlib
import struct
import subprocess
import sys

import numpy as np


def run(*command):
    """What the program prints; its failure ends this one."""
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit code {result.returncode}\n{result.stderr}")
    return result.stdout


def write_dataset(prefix, documents):
    """A Megatron indexed dataset (u16 tokens)."""
    lengths = np.array([len(document) for document in documents], dtype="<i4")
    tokens = np.concatenate(documents).astype("<u2")
    pathlib.Path(prefix + ".bin").write_bytes(tokens.tobytes())
    offsets = 2 * (np.cumsum(lengths, dtype="<i8") - lengths)
    header = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, 8, len(lengths), len(lengths) + 1)
    borders = np.arange(len(lengths) + 1, dtype="<i8")
    pathlib.Path(prefix + ".idx").write_bytes(
        header + lengths.tobytes() + offsets.astype("<i8").tobytes() + borders.tobytes()
    )


def write_safetensors(path, tensors):
    """Float64 arrays by name."""
    header, at = {}, 0
    for name, values in tensors.items():
        header[name] = {"dtype": "F64", "shape": values.shape, "data_offsets": [at, at + 8 * values.size]}
        at += 8 * values.size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    data = b"".join(values.astype("<f8").tobytes() for values in tensors.values())
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)

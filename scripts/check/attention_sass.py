#!/usr/bin/env python3
"""Judges the machine code of the attention kernels: scripts/check/attention_sass.py BUILD_DIR [--update]

Looks into the objects that a CUDA build for 90a-real left in BUILD_DIR, prints a table, and compares it with
scripts/check/attention_sass.json: one line a finding, exit code 1 if any figure is worse than the committed one.
`--update` writes the figures that are there, for changes that are meant; the diff then says what they cost.

A kernel's main loop is the innermost one with the most matrix instructions. Its instructions are divided by how many
pieces of 16 rows by 64 keys a warp does in it ("pieces" in the file), so that tiles of any shape compare.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIGURES = ROOT / "scripts" / "check" / "attention_sass.json"
INSTRUCTION = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+ )?\s*([A-Z][A-Z0-9_.]*)(.*?);")
TARGET = re.compile(r"(?:`\(\.L_x_\d+\)|0x([0-9a-f]+))\s*$")
MATRIX = ("HMMA", "HGMMA")
# ptxas: wgmma serialised, setmaxnreg ignored.
REMARKS = re.compile(r"C7508|C7512|wgmma.*serializ|setmaxnreg.*ignored", re.IGNORECASE)
REGISTERS, SHARED, RESERVED, MOST_WARPS = 64 << 10, 228 << 10, 1 << 10, 64
# What may not grow, and what may not shrink.
UPPER = ("instructions", "spills", "stack", "registers")
LOWER = ("warps",)
EXACT = ("matrix",)


def functions(sass):
    """The instructions of each function: name -> [(address, opcode, operands)]."""
    found, code = {}, None
    for line in sass.splitlines():
        if "Function :" in line:
            code = found.setdefault(line.split(":", 1)[1].strip(), [])
        elif code is not None and (match := INSTRUCTION.match(line)):
            code.append((int(match[1], 16), match[2], match[3].strip()))
    return found


def is_matrix(opcode):
    return opcode.split(".")[0] in MATRIX


def main_loop(code):
    """The body of the innermost loop with the most matrix instructions; empty if there is none."""
    bodies = []
    for address, opcode, operands in code:
        match = TARGET.search(operands)
        if opcode.split(".")[0] != "BRA" or not match or not match[1] or int(match[1], 16) > address:
            continue
        body = [one for one in code if int(match[1], 16) <= one[0] <= address]
        if any(is_matrix(one[1]) for one in body):
            bodies.append(body)
    innermost = [a for a in bodies if not any(b is not a and a[0][0] <= b[0][0] and b[-1][0] <= a[-1][0] for b in bodies)]
    return max(innermost, key=lambda body: sum(is_matrix(one[1]) for one in body), default=[])


def count(body, *opcodes):
    return sum(one[1].split(".")[0] in opcodes for one in body)


def figures_of(kernel, code, usage):
    """What the table has of one kernel."""
    body = main_loop(code)
    registers, threads, shared = usage["registers"], kernel["threads"], kernel["shared_bytes"]
    a_warp = -(-registers // 8) * 8 * 32
    blocks = min(REGISTERS // (a_warp * threads // 32), SHARED // (shared + RESERVED), MOST_WARPS * 32 // threads)
    pieces = kernel["pieces"]
    return {
        "instructions": round(len(body) / pieces),
        "matrix": round(count(body, *MATRIX) / pieces),
        "ldmatrix": round(count(body, "LDSM") / pieces),
        "copies": round(count(body, "LDGSTS") / pieces, 1),
        "spills": count(code, "LDL", "STL"),
        "stack": usage["stack"],
        "registers": registers,
        "shared_bytes": shared,
        "blocks": blocks,
        "warps": blocks * threads // 32,
    }


def tool(name):
    """cuobjdump and nvdisasm come with the toolkit, or from PyPI beside this Python."""
    beside = sorted(pathlib.Path(p) / "nvidia" / "cu13" / "bin" / name for p in sys.path if p)
    places = [shutil.which(name), *beside, pathlib.Path("/usr/local/cuda/bin") / name]
    return next((str(place) for place in places if place and pathlib.Path(place).exists()), None)


def dump(cuobjdump, flag, file):
    environment = dict(os.environ)
    if disassembler := tool("nvdisasm"):
        environment["PATH"] += os.pathsep + str(pathlib.Path(disassembler).parent)
    return subprocess.run([cuobjdump, flag, file], capture_output=True, text=True, check=True, env=environment).stdout


def resources(text):
    """Registers and stack of each function."""
    found, name = {}, None
    for line in text.splitlines():
        if match := re.match(r"\s*Function (\S+?):", line):
            name = match[1]
        elif name and (match := re.search(r"REG:(\d+) STACK:(\d+)", line)):
            found[name] = {"registers": int(match[1]), "stack": int(match[2])}
    return found

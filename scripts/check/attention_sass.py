#!/usr/bin/env python3
"""Judges the machine code of the attention kernels: scripts/check/attention_sass.py BUILD_DIR [--update]

Compiles their sources for compute capability 9.0a with the flags of BUILD_DIR (a configured build with GDA_CUDA=ON),
prints a table, and compares it with scripts/check/attention_sass.json, which says what is judged: one line a finding,
and exit code 1, if a figure is worse than the committed one or if ptxas says that it serialised wgmma (C7508, C7510) or
ignored setmaxnreg (C7512). `--update` writes the figures that are there, for a change that is meant to cost something
or that gains: the diff of the file then says what.

A kernel's main loop is the innermost one with the most matrix instructions; all instructions between its ends count,
also those of branches that are seldom taken. They are divided by `pieces`, so that tiles of any shape compare: how many
times a warp does 16 rows of queries and 64 keys in one iteration; of the kernel that goes by keys 16 rows and 32 keys.

Needs cuobjdump and nvdisasm, of the CUDA Toolkit or from PyPI:
  python3 -m pip install --target build/tools nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIGURES = ROOT / "scripts" / "check" / "attention_sass.json"
TARGET = "--generate-code=arch=compute_90a,code=[sm_90a]"

FUNCTION = re.compile(r"^\s*Function : (\S+)")
INSTRUCTION = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)\s*([^;]*);")
BRANCH_TARGET = re.compile(r"0x([0-9a-f]+)\s*$")
MATRIX = ("HMMA", "HGMMA")
REMARK = re.compile(r"\(C75(?:08|10|12)\)|wgmma.*serializ|setmaxnreg.*ignored", re.IGNORECASE)

# Of a multiprocessor of compute capability 9.0; a block takes 1 KiB more shared memory than it asks for.
REGISTERS, SHARED, RESERVED, THREADS = 64 << 10, 228 << 10, 1 << 10, 2048

# What may not grow, what may not shrink, and what no change of speed should touch.
AT_MOST = ("instructions", "spills", "stack")
AT_LEAST = ("warps",)
EXACTLY = ("matrix",)
COLUMNS = ("instructions", "matrix", "ldmatrix", "copies", "registers", "shared_bytes", "blocks", "warps", "spills",
           "stack")


def functions(sass):
    """The instructions of each function: name -> [(address, opcode, operands)], opcodes without modifiers."""
    found, code = {}, None
    for line in sass.splitlines():
        if match := FUNCTION.match(line):
            code = found.setdefault(match[1], [])
        elif code is not None and (match := INSTRUCTION.match(line)):
            code.append((int(match[1], 16), match[2].split(".")[0], match[3].strip()))
    return found


def count(code, *opcodes):
    return sum(opcode in opcodes for _, opcode, _ in code)


def main_loop(code):
    """The body of the innermost loop with the most matrix instructions; empty if none has any."""
    bodies = []
    for address, opcode, operands in code:
        target = BRANCH_TARGET.search(operands)
        if opcode != "BRA" or not target or int(target[1], 16) > address:
            continue
        body = [one for one in code if int(target[1], 16) <= one[0] <= address]
        if count(body, *MATRIX):
            bodies.append(body)

    def has_inner(body):
        return any(other is not body and body[0][0] <= other[0][0] and other[-1][0] <= body[-1][0] and
                   len(other) < len(body) for other in bodies)

    innermost = [body for body in bodies if not has_inner(body)]
    return max(innermost, key=lambda body: count(body, *MATRIX), default=[])


def measure(kernel, code, registers, stack):
    """The figures of one kernel; `kernel` says its threads, shared_bytes and pieces."""
    threads, shared, pieces = kernel["threads"], kernel["shared_bytes"], kernel["pieces"]
    of_a_warp = -(-registers // 8) * 8 * 32
    blocks = min(REGISTERS // of_a_warp // (threads // 32), SHARED // (shared + RESERVED), THREADS // threads)
    body = main_loop(code)
    return {
        "instructions": round(len(body) / pieces),
        "matrix": round(count(body, *MATRIX) / pieces),
        "ldmatrix": round(count(body, "LDSM") / pieces),
        "copies": round(count(body, "LDGSTS", "UTMALDG") / pieces),
        "registers": registers,
        "shared_bytes": shared,
        "blocks": blocks,
        "warps": blocks * threads // 32,
        "spills": count(code, "LDL", "STL"),
        "stack": stack,
    }


def worse(name, committed, now):
    """A line for each figure of a kernel that is worse than the committed one."""
    for figure in AT_MOST + AT_LEAST + EXACTLY:
        before, after = committed.get(figure), now[figure]
        if (before is None or (figure in AT_MOST and after > before) or (figure in AT_LEAST and after < before) or
                (figure in EXACTLY and after != before)):
            yield f"{name}: {figure} {after}, committed {before}"


def tool(name):
    folders = [ROOT / "build" / "tools", *map(pathlib.Path, filter(None, sys.path))]
    places = [shutil.which(name), f"/usr/local/cuda/bin/{name}",
              *(path for folder in folders for path in sorted(folder.glob(f"nvidia/*/bin/{name}")))]
    for place in places:
        if place and pathlib.Path(place).exists():
            return str(place)
    sys.exit(f"attention_sass.py: error: {name} not found; it comes with the CUDA Toolkit, or by "
             "python3 -m pip install --target build/tools nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm")


def compile_source(build, source):
    """Compiles with the build's flags; the object's path and what ptxas said."""
    commands = json.loads((build / "compile_commands.json").read_text())
    entry = next((one for one in commands if one["file"] == str(ROOT / source)), None)
    if entry is None:
        sys.exit(f"attention_sass.py: error: {build} doesn't compile {source}; configure it with cmake --preset cuda")
    command = [one for one in shlex.split(entry["command"]) if not one.startswith("--generate-code")]
    target = build / "attention_sass" / (pathlib.Path(source).stem + ".o")
    target.parent.mkdir(exist_ok=True)
    command[command.index("-o") + 1] = str(target)
    if ccache := shutil.which("ccache"):
        command.insert(0, ccache)
    done = subprocess.run([*command, TARGET, "-Xptxas=-v"], cwd=entry["directory"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"attention_sass.py: error: {source} doesn't compile\n{done.stderr}")
    return target, done.stdout + done.stderr


def resources(said):
    """From what ptxas said: registers and bytes of stack of each function."""
    found, name = {}, None
    for line in said.splitlines():
        if match := re.search(r"Compiling entry function '(\S+)'", line):
            name = match[1]
        elif match := re.search(r"(\d+) bytes stack frame", line):
            found.setdefault(name, {})["stack"] = int(match[1])
        elif match := re.search(r"Used (\d+) registers", line):
            found.setdefault(name, {})["registers"] = int(match[1])
    return found


def disassemble(file):
    environment = dict(os.environ)
    environment["PATH"] += os.pathsep + str(pathlib.Path(tool("nvdisasm")).parent)
    cuobjdump = tool("cuobjdump")
    for name in (cuobjdump, tool("nvdisasm")):
        if not os.access(name, os.X_OK):  # unpacked without its mode
            os.chmod(name, 0o755)
    return subprocess.run([cuobjdump, "-sass", file], capture_output=True, text=True, check=True,
                          env=environment).stdout


def measure_source(build, source, kernels):
    """Figures by name of the kernels of one source, and findings."""
    file, said = compile_source(build, source)
    figures = {}
    findings = [f"{source}: {line.strip()}" for line in said.splitlines() if REMARK.search(line)]
    code, used = functions(disassemble(file)), resources(said)
    for name, kernel in kernels.items():
        matches = [function for function in code if re.search(kernel["function"], function)]
        if len(matches) != 1:
            findings.append(f"{name}: {len(matches)} functions match {kernel['function']}: expected one")
            continue
        figures[name] = measure(kernel, code[matches[0]], **used[matches[0]])
    return figures, findings


def print_table(figures):
    print(f"{'':26}" + "".join(f"{column:>13}" for column in COLUMNS))
    for name, row in figures.items():
        print(f"{name:26}" + "".join(f"{row[column]:>13}" for column in COLUMNS))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--update", action="store_true")
    arguments = parser.parse_args()
    data = json.loads(FIGURES.read_text())
    sources = {}
    for name, kernel in data.items():
        sources.setdefault(kernel["source"], {})[name] = kernel
    figures, findings = {}, []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for some, complaints in pool.map(lambda one: measure_source(arguments.build.resolve(), *one), sources.items()):
            figures.update(some)
            findings += complaints
    print_table(figures)
    for name, row in figures.items():
        if arguments.update:
            data[name]["figures"] = row
        else:
            findings += worse(name, data[name].get("figures", {}), row)
    if arguments.update:
        lines = (f"  {json.dumps(name)}: {json.dumps(kernel)}" for name, kernel in data.items())
        FIGURES.write_text("{\n" + ",\n".join(lines).replace(', "figures"', ',\n    "figures"') + "\n}\n")
    for finding in findings:
        print(finding)
    if findings and not arguments.update:
        print("attention_sass.py: a change that is meant to do this commits what --update writes")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()

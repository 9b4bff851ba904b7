#!/usr/bin/env python3
"""Runs clang-tidy over the host code that BUILD_DIR compiles: scripts/check/lint.py BUILD_DIR

Prints one line a finding, path:line: message. Most of clang-tidy's time goes to the headers of libraries, so sources
that are compiled alike are looked at several at a time, in one file that includes them; where that does not compile
(two of them define the same name), one by one. What was found clean is not looked at again until clang-tidy's settings,
a compile command, a source or a header of this repository that it includes change.
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINT = ROOT / "build" / "lint"
SOURCES_TOGETHER = 16
FINDING = re.compile(r"^([^:\n]+:\d+):\d+: (?:warning|error): (.*)$", re.MULTILINE)
# A name that a file defines at namespace scope: code there is not indented.
DEFINED = re.compile(r"^(?:(?:struct|class|enum class|enum|using) (\w+)|(?:[A-Za-z]\S* )+\W*(\w+)(?:\(|\[| = |\{))",
                     re.MULTILINE)


class Source:
    """A source with its compile command, in clang's terms."""

    def __init__(self, entry):
        self.path = pathlib.Path(entry["file"])
        words = shlex.split(entry["command"])
        words = words[next(i for i, word in enumerate(words) if re.search(r"(\+\+|clang|gcc)[^/]*$", word)):]
        self.flags = []
        skip = 0
        for i, word in enumerate(words[1:], start=1):
            # What only GCC understands (its precompiled headers, a warning, an optimisation) and names of outputs.
            if skip > 0:
                skip -= 1
            elif word in ("-o", "-c", "-MT", "-MF") or (word == "-include" and "cmake_pch" in words[i + 1]):
                skip = 1
            elif word not in ("-MD", "-Winvalid-pch", "-Wno-restrict", "-fexpensive-optimizations"):
                self.flags.append(word)
        text = self.path.read_text()
        self.names = {match[1] or match[2] for match in DEFINED.finditer(text)} - {None}
        self.text = text

    def own_files(self):
        """The source and the headers of this repository that it includes, directly or not."""
        seen, todo = set(), [self.path]
        while todo:
            path = todo.pop()
            if path in seen:
                continue
            seen.add(path)
            for name in re.findall(r'^#include "([^"]+)"', path.read_text(), re.MULTILINE):
                for folder in (path.parent, ROOT / "include", ROOT / "src", ROOT / "kernels"):
                    if (folder / name).exists():
                        todo.append((folder / name).resolve())
                        break
        return seen


def compiled_sources(build):
    """Every source under src/ and kernels/, once: the last where it is compiled for several instruction sets."""
    entries = json.loads((build / "compile_commands.json").read_text())
    wanted = (str(ROOT / "src") + os.sep, str(ROOT / "kernels") + os.sep)
    by_path = {entry["file"]: entry for entry in entries if entry["file"].startswith(wanted)}
    return [Source(by_path[path]) for path in sorted(by_path)]


def batches(sources):
    """Sources that are compiled alike and do not define the same names, together."""
    result = []
    for source in sources:
        for batch in result:
            alike = batch[0].flags == source.flags and len(batch) < SOURCES_TOGETHER
            if alike and not any(source.names & other.names for other in batch):
                batch.append(source)
                break
        else:
            result.append([source])
    return result


def key_of(batch, settings):
    digest = hashlib.sha256(settings)
    digest.update(repr([(str(source.path), source.flags) for source in batch]).encode())
    for path in sorted(set().union(*(source.own_files() for source in batch))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def findings_in(batch, key):
    file = LINT / f"{key}.cpp"
    file.write_text("".join(f'#include "{source.path}"\n' for source in batch))
    run = subprocess.run(["clang-tidy", "--quiet", f"--config-file={ROOT / '.clang-tidy'}",
                          "--checks=-bugprone-suspicious-include", str(file), "--", *batch[0].flags,
                          # A local of one source may shadow a constant of another; GCC looks at each alone.
                          "-Wno-shadow"], capture_output=True, text=True)
    file.unlink()
    found = FINDING.findall(run.stdout)
    if run.returncode != 0 and not found:
        return [("scripts/check/lint.py:1", f"clang-tidy failed: {(run.stderr or run.stdout).strip()[-300:]}")]
    return found


def lint(batch, settings):
    key = key_of(batch, settings)
    clean = LINT / "clean" / key
    if clean.exists():
        return set()
    found = findings_in(batch, key)
    if len(batch) > 1 and any("clang-diagnostic" in message for _, message in found):
        return set().union(*(lint([source], settings) for source in batch))
    if not found:
        clean.touch()
    return {f"{place.removeprefix(f'{ROOT}/')}: {message.replace(',-warnings-as-errors', '')}" for place, message in found}


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: scripts/check/lint.py BUILD_DIR")
    if shutil.which("clang-tidy") is None:
        print("scripts/check/lint.py:1: clang-tidy not found; scripts/setup.sh --check installs it")
        return
    (LINT / "clean").mkdir(parents=True, exist_ok=True)
    version = subprocess.run(["clang-tidy", "--version"], capture_output=True, check=True).stdout
    settings = version + (ROOT / ".clang-tidy").read_bytes()
    todo = sorted(batches(compiled_sources(ROOT / sys.argv[1])), key=len, reverse=True)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = set().union(*pool.map(lambda batch: lint(batch, settings), todo))
    print("\n".join(sorted(found)), end="\n" if found else "")


if __name__ == "__main__":
    main()

"""The planted bugs: read from the .toml files beside this one, and held against the sources."""
import hashlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path


class PlantedError(Exception):
    pass


@dataclass(frozen=True)
class Planted:
    """One bug: `old`, which `file` has exactly once, becomes `new`."""
    id: str
    part: str  # the name of the .toml file
    file: str
    what: str  # what is wrong then, for a person
    old: str
    new: str
    tests: str  # ctest's regular expression of those that may notice first
    ci: bool = False  # one of the short subset
    equivalent: str = ""  # why no test can notice, from equivalent.toml

    @property
    def key(self):
        text = "\0".join((self.file, self.old, self.new))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def faults(bug, root):
    """What is wrong with a bug's own description."""
    path = root / bug.file
    if not path.is_file():
        return [f"{bug.file} does not exist"]
    found = []
    count = path.read_text().count(bug.old)
    if count != 1:
        found.append(f"{bug.file} has its old text {count} times, not once")
    if bug.old == bug.new:
        found.append("its new text is the old one")
    try:
        re.compile(bug.tests)
    except re.error as error:
        found.append(f"tests: {error}")
    return found


def load(root):
    """All planted bugs, in the order of the files; PlantedError with all that do not fit."""
    folder = Path(__file__).resolve().parent
    why = tomllib.loads((folder / "equivalent.toml").read_text())
    bugs, wrong = [], []
    for path in sorted(folder.glob("*.toml")):
        if path.name == "equivalent.toml":
            continue
        listed = tomllib.loads(path.read_text())
        for entry in listed.pop("bug"):
            try:
                bugs.append(Planted(part=path.stem, equivalent=why.get(entry["id"], ""), **(listed | entry)))
            except (KeyError, TypeError) as error:
                wrong.append(f"scripts/mutation/{path.name}:1: {entry.get('id', 'a bug without id')}: {error}")
    seen = set()
    for bug in bugs:
        problems = faults(bug, root) + (["its id is taken"] if bug.id in seen else [])
        seen.add(bug.id)
        wrong += [f"scripts/mutation/{bug.part}.toml:1: {bug.id}: {problem}" for problem in problems]
    wrong += [f"scripts/mutation/equivalent.toml:1: {name}: no planted bug has this id" for name in why if name not in seen]
    if wrong:
        raise PlantedError("planted bugs that do not fit:\n" + "\n".join(wrong))
    return bugs

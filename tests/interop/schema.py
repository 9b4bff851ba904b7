"""Compares `gda config --schema`, as a JSON Schema library reads it, with what `gda config` accepts and refuses.

Usage: schema.py GDA_PROGRAM REPOSITORY. Exit code 77: yaml or jsonschema is missing, nothing was compared.

Every configuration of the repository and its documents has to be accepted by both. Then one that has every key gets
wrong and unusual values in all of its keys at once, one in each round, and both have to name the same keys. Rules
between keys are no part of a schema; gda tells of them where every key by itself is right, and an unknown key keeps
them silent here.
"""

import copy
import json
import pathlib
import re
import subprocess
import sys

SKIPPED = 77
try:
    import jsonschema
    import yaml
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(SKIPPED)

GDA = sys.argv[1]
ROOT = pathlib.Path(sys.argv[2])
UNKNOWN = "no_such_key"
VALUES = ({"x": 1}, [], [1], ["a"], [1.5], [None], [{"x": 1}], "text", "", "5", "true", None, True, 0, 1, 1.0, 1.5,
          -1, -(10**18), 10**18, 10**30, 1e-3)  # fmt: skip


class Loader(yaml.SafeLoader):
    """YAML 1.2, where 1e-3 is a number and `on` a text."""


Loader.yaml_implicit_resolvers = {}
for tag, pattern in (
    ("null", r"~|null|"),
    ("bool", r"true|false"),
    ("int", r"[-+]?[0-9]+"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), None)
Loader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: float(node.value))


def read(text):
    return yaml.load(text, Loader)


def gda(*arguments, given=""):
    return subprocess.run([GDA, *arguments], input=given, capture_output=True, text=True, cwd=ROOT, check=False)


SCHEMA = json.loads(gda("config", "--schema").stdout)
jsonschema.Draft202012Validator.check_schema(SCHEMA)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
failures = []


def refused_by_gda(document):
    """The dotted paths of the keys that gda complains of."""
    result = gda("config", "-", given=json.dumps(document))
    if result.returncode == 0:
        return set()
    lines = result.stderr.replace("gda: error: ", "").strip().split("\n")
    paths = [re.match(r"standard input(?::\d+)?: ([\w.]+): ", line) for line in lines]
    if not all(paths):
        raise SystemExit(f"exit code {result.returncode}, a message without file and key: {lines}")
    return {path[1] for path in paths}


def refused_by_schema(document):
    """The same of the schema; of alternatives, the path that they are at."""
    paths = set()
    for error in VALIDATOR.iter_errors(document):
        path = [str(part) for part in error.absolute_path]
        if error.validator == "additionalProperties":
            known = error.schema["properties"]
            paths |= {".".join([*path, key]) for key in error.instance if key not in known}
        elif error.validator == "required":
            paths |= {".".join([*path, key]) for key in error.validator_value if key not in error.instance}
        elif error.validator == "oneOf" and not path:
            paths.add("run_dir")  # run_dir or run_dir
        else:
            paths.add(".".join(path))
    return paths


def within(path, others):
    return any(path == other or path.startswith(other + ".") for other in others)


def compare(document, what):
    ours, schemas = refused_by_gda(document), refused_by_schema(document)
    for path in ours:
        if not within(path, schemas):
            failures.append(f"{what}: gda alone refuses {path}")
    for path in schemas:
        if not any(within(other, {path}) for other in ours):
            failures.append(f"{what}: the schema alone refuses {path}")
    return len(ours)


def accept(document, what):
    result = gda("config", "-", given=json.dumps(document))
    if result.returncode != 0:
        failures.append(f"{what}: gda refuses it: {result.stderr.strip()}")
    for error in VALIDATOR.iter_errors(document):
        failures.append(f"{what}: the schema refuses {list(error.absolute_path)}: {error.message}")


def documents():
    """Every configuration there is, by its name."""
    for path in sorted([*ROOT.glob("configs/*.yaml"), *ROOT.glob("scripts/**/*.yaml")]):
        yield str(path.relative_to(ROOT)), read(path.read_text())
    plans = [(str(path.relative_to(ROOT)), path.read_text()) for path in sorted(ROOT.glob("configs/growth/*.yaml"))]
    for page in sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")]):
        for i, block in enumerate(re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.M | re.S)):
            plans.append((f"{page.name}, block {i + 1}", block))
    base = read((ROOT / "configs/motif-2.6b.yaml").read_text())
    for name, text in plans:
        part = read(text)
        if "steps" in part:
            # The sizes of the model that a plan is for are a rule.
            growth = {"stages": [{"step": 1, "plan": {**part, "from": None, "to": None}}]}
            part = {"growth": growth}
            if any(step.get("every") == 5 for step in growth["stages"][0]["plan"]["steps"]):
                part["model"] = {**base["model"], "num_hidden_layers": 80}
        yield name, {**base, **part}


def operators():
    """A step of every operator with every key, as the schema lists them."""
    plan = SCHEMA["properties"]["growth"]["properties"]["stages"]["items"]["properties"]["plan"]["anyOf"][1]
    for kind in plan["properties"]["steps"]["items"]["anyOf"]:
        keys = kind["properties"]
        step = {key: value.get("default") for key, value in keys.items()}
        yield {**step, "operator": keys["operator"]["enum"][0]}


def full_document():
    """The quick start with every key written out, and every list with an element."""
    document = read(gda("config", "configs/quickstart.yaml").stdout)
    document["train"]["batch_ramp"] = [{"step": 0, "value": 16}]
    document["train"]["sample"]["prompts"] = ["a"]
    document["model"]["rope"]["scaling"] = {
        "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 512,
    }  # fmt: skip
    stage = {"step": 1, "tokens": None, "plan_file": "", "seed": 1, "learning_rate": "keep", "rewarm_steps": 0,
             "global_batch_size": None, "weights": [{"name": "en", "weight": 1}], "trainable": "keep"}  # fmt: skip
    sizes = ("parameters", "hidden_size", "intermediate_size", "num_hidden_layers", "heads", "num_key_value_heads",
             "vocab_size")  # fmt: skip
    expected = {key: 1 for key in sizes}
    plan = {"from": expected, "to": dict(expected), "steps": [{"operator": "untie"}]}
    document["growth"]["stages"] = [{**stage, "plan": plan}]
    return document


def sections_of(node):
    """Every mapping within, this one first."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from sections_of(child)


def is_section(value):
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value))


def check_values(full):
    refused = 0
    for value in VALUES:
        for sections in (False, True):
            document = copy.deepcopy(full)
            for section in [document] if sections else list(sections_of(document)):
                for key in section:
                    if is_section(section[key]) == sections:
                        section[key] = copy.deepcopy(value)
            document[UNKNOWN] = 1
            refused += compare(document, f"{json.dumps(value)} for every {'section' if sections else 'key'}")
        # Sections within sections.
        document = copy.deepcopy(full)
        for top in document.values():
            for section in list(sections_of(top)):
                for key in [key for key in section if is_section(section[key])]:
                    section[key] = copy.deepcopy(value)
        document[UNKNOWN] = 1
        refused += compare(document, f"{json.dumps(value)} for every inner section")
    return refused


def check_operators(full):
    stages = []
    for step in operators():
        stages.append({"step": 1, "plan": {"steps": [step]}})
        stages.append({"step": 1, "plan": {"steps": [{**step, UNKNOWN: 1}]}})
        for key in step:
            for value in VALUES:
                stages.append({"step": 1, "plan": {"steps": [{**step, key: value}]}})
    return compare({**full, "growth": {"stages": stages}, UNKNOWN: 1}, "operators")


def check_keys(full):
    document = copy.deepcopy(full)
    for section in list(sections_of(document)):
        section[UNKNOWN] = 1
    refused = compare(document, "an unknown key in every section")
    for section in list(sections_of(document)):
        for key in [key for key in section if not is_section(section[key])]:
            del section[key]
    return refused + compare(document, "sections without keys") + compare({}, "nothing")


def check_former_name():
    document = read((ROOT / "configs/quickstart.yaml").read_text())
    del document["run_dir"]
    compare(document, "no run_dir")
    document["logging"] = {"dir": "runs/x"}
    accept(document, "run_dir")
    document["run_dir"] = "runs/y"
    if gda("config", "-", given=json.dumps(document)).returncode == 0 or VALIDATOR.is_valid(document):
        failures.append("run_dir and run_dir together are accepted")


count = 0
for name, given in documents():
    accept(given, name)
    count += 1
check_former_name()
everything = full_document()
compare({**everything, UNKNOWN: 1}, "every key")
problems = check_values(everything) + check_operators(everything) + check_keys(everything)
for failure in failures[:40]:
    print(failure)
print(f"{count} configurations, {problems} wrong values, {len(failures)} differences")
sys.exit(1 if failures else 0)

#!/usr/bin/env python3
"""Plants bugs one by one in a copy of the tree and tells which test notices each.

  scripts/mutation.py                      every planted bug that has no verdict yet
  scripts/mutation.py --part optim         those of one part (a file of scripts/mutation)
  scripts/mutation.py --only ID            one; may be given again
  scripts/mutation.py --subset ci          the few that .ci/run plants
  scripts/mutation.py --survivors          again those that nothing noticed
  scripts/mutation.py --list               the planted bugs and their verdicts
  scripts/mutation.py --report             the table of docs/testing.md
  scripts/mutation.py --check              that each still fits its source; builds nothing

Further: --again (also what has a verdict), --limit-minutes N, --jobs N, --named (not the whole suite: what the tests
named for a bug do not notice stays without verdict).

A planted bug (scripts/mutation/PART.toml) is a text that a file has exactly once and what takes its place.
The tests that it names run first; if they pass, the whole suite. What fails has to pass without the
bug. The copy, its build and the verdicts are in build/mutation, so that a run goes on where one ended.
Exit code 1: a bug survived that equivalent.toml does not explain, or one does not fit or build.
"""
import argparse
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "mutation"))
from copied_tree import CopiedTree, TestsTimedOut  # noqa: E402
from planted import PlantedError, load  # noqa: E402
from verdicts import Verdicts  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
# Seconds that the tests that a bug names may take on an idle machine, and the whole suite; longer is a hang.
STAGES = {"named": 600, "suite": 3600}


def limit_of(stage):
    return STAGES[stage] * max(1, os.getloadavg()[0] / os.cpu_count())


def judge(tree, bug, stages):
    """The verdict on one bug: a dictionary with at least "verdict"."""
    try:
        return planted_verdict(tree, bug, stages)
    finally:
        tree.restore(bug.file)


def planted_verdict(tree, bug, stages):
    started = time.monotonic()
    tree.replace(bug.file, bug.old, bug.new)
    if not tree.build(tree.programs(bug.tests)):
        return {"verdict": "did not build", "seconds": round(time.monotonic() - started)}
    built = time.monotonic()
    for stage in stages:
        if stage == "suite":
            if not tree.build():
                return {"verdict": "did not build", "seconds": round(time.monotonic() - started)}
            tree.list_tests()
        try:
            failed = tree.first_failure(bug.tests if stage == "named" else None, limit_of(stage))
        except TestsTimedOut:
            failed = "time limit"
        if failed is not None:
            break
    verdict = {
        "verdict": "killed" if failed else "survived" if "suite" in stages else "not noticed by name",
        "by": failed,
        "stage": stage,
        "build_seconds": round(built - started),
        "seconds": round(time.monotonic() - started),
    }
    if failed not in (None, "time limit") and not tree.passes_clean(failed, bug.file):
        verdict.update(verdict="unclear", why=f"{failed} also fails without it")
    return verdict


def run(bugs, verdicts, arguments):
    tree = CopiedTree(ROOT, arguments.jobs)
    ends = time.monotonic() + 60 * arguments.limit_minutes
    print(f"{len(bugs)} planted bugs; the copy is {tree.path}", flush=True)
    tree.prepare(sorted({bug.tests for bug in bugs}))
    for number, bug in enumerate(bugs, 1):
        if time.monotonic() > ends:
            print(f"the time limit is reached before {bug.id}: {len(bugs) - number + 1} are left")
            return False
        verdict = judge(tree, bug, ("named",) if arguments.named else tuple(STAGES))
        verdicts.keep(bug, verdict, tree.commit)
        detail = verdict.get("by") or verdict.get("why") or ""
        print(f"{number}/{len(bugs)} {bug.part} {bug.id}: {verdict['verdict']} {detail} "
              f"({verdict.get('build_seconds', '-')} + {verdict['seconds'] - verdict.get('build_seconds', 0)} s)", flush=True)
    return True


def chosen(bugs, verdicts, arguments):
    known = {bug.id for bug in bugs}
    for name in arguments.only:
        if name not in known:
            raise PlantedError(f"--only {name}: no planted bug has this id; --list shows them")
    if arguments.part and arguments.part not in {bug.part for bug in bugs}:
        raise PlantedError(f"--part {arguments.part}: known: {', '.join(sorted({bug.part for bug in bugs}))}")
    return [bug for bug in bugs
            if (not arguments.only or bug.id in arguments.only)
            and (not arguments.part or bug.part == arguments.part)
            and (not arguments.subset or bug.ci)
            and (not arguments.survivors or verdicts.of(bug) in ("survived", "not noticed by name"))]


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="ID")
    parser.add_argument("--part")
    parser.add_argument("--subset", choices=["ci"])
    for flag in ("again", "survivors", "list", "report", "check", "named"):
        parser.add_argument(f"--{flag}", action="store_true")
    parser.add_argument("--limit-minutes", type=float, default=1e9, metavar="N")
    parser.add_argument("--jobs", type=int, default=1, metavar="N")
    return parser.parse_args()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was planted is taken out
    arguments = parse()
    bugs = load(ROOT)
    verdicts = Verdicts(ROOT / "build/mutation/verdicts.json")
    if arguments.check:
        print(f"{len(bugs)} planted bugs, each fits its source")
        return 0
    picked = chosen(bugs, verdicts, arguments)
    if arguments.list:
        for bug in picked:
            print(f"{bug.part:12} {bug.id:44} {verdicts.of(bug) or 'not run':14} {bug.what}")
        return 0
    if arguments.report:
        print(verdicts.table(picked))
        return 0
    final = {"killed", "survived"} | ({"not noticed by name"} if arguments.named else set())
    again = arguments.again or arguments.survivors
    complete = run([bug for bug in picked if again or verdicts.of(bug) not in final], verdicts, arguments)
    print(verdicts.summary(picked))
    bad = [bug for bug in picked if verdicts.of(bug) not in (None, "killed") and not bug.equivalent]
    for bug in bad:
        print(f"{bug.file}: {bug.id}: {verdicts.of(bug)}: {bug.what}")
    return 1 if bad or not complete else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PlantedError as error:
        print(f"mutation.py: {error}", file=sys.stderr)
        sys.exit(1)

"""What became of the planted bugs: a file, and tables of it."""
import json
from datetime import date


# What nothing noticed: neither the tests named for it (--named ran those alone) nor any other.
UNNOTICED = ("survived", "not noticed by name")


class Verdicts:
    def __init__(self, path):
        self.path = path
        self.kept = json.loads(path.read_text()) if path.is_file() else {}

    def entry(self, bug):
        """What is known of this bug as its text is now."""
        entry = self.kept.get(bug.id)
        return entry if entry and entry["key"] == bug.key else None

    def of(self, bug):
        entry = self.entry(bug)
        return entry and entry["verdict"]

    def keep(self, bug, verdict, commit):
        self.kept[bug.id] = verdict | {"key": bug.key, "commit": commit, "date": date.today().isoformat()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.kept, indent=1, sort_keys=True) + "\n")

    def counts(self, bugs):
        """Planted and run, killed by the named tests, by the rest of the suite, survivors, and equivalents of them."""
        entries = [(bug, self.entry(bug)) for bug in bugs]
        judged = [(bug, entry) for bug, entry in entries if entry and entry["verdict"] in ("killed", *UNNOTICED)]
        killed = [entry for _, entry in judged if entry["verdict"] == "killed"]
        named = sum(entry["stage"] == "named" for entry in killed)
        survived = [bug for bug, entry in judged if entry["verdict"] in UNNOTICED]
        equivalent = sum(bool(bug.equivalent) for bug in survived)
        return len(bugs), len(judged), named, len(killed) - named, len(survived), equivalent

    @staticmethod
    def rate(judged, survived, equivalent):
        real = judged - equivalent
        return f"{100 * (judged - survived) / real:.0f} %" if real else "-"

    def summary(self, bugs):
        planted, judged, named, suite, survived, equivalent = self.counts(bugs)
        return (f"{judged} of {planted} judged: {named + suite} killed ({named} by the tests that they name), "
                f"{survived} not noticed, {equivalent} of them equivalent; rate {self.rate(judged, survived, equivalent)}")

    def table(self, bugs):
        lines = ["| part | planted | run | noticed by the tests named for it | by the rest | not noticed | of these without effect | rate |",
                 "|---|---|---|---|---|---|---|---|"]
        for part in [*sorted({bug.part for bug in bugs}), None]:
            some = [bug for bug in bugs if part in (None, bug.part)]
            planted, judged, named, suite, survived, equivalent = self.counts(some)
            lines.append(f"| {part or '**all**'} | {planted} | {judged} | {named} | {suite} | {survived} | {equivalent} "
                         f"| {self.rate(judged, survived, equivalent)} |")
        entries = [entry for bug in bugs if (entry := self.entry(bug))]
        dates = sorted({entry["date"] for entry in entries})
        commits = sorted({entry["commit"].removesuffix(" and changes") for entry in entries})
        lines += ["", f"Run {' to '.join(dates[::max(1, len(dates) - 1)])} on {', '.join(commits)}."]
        left = [bug for bug in bugs if self.of(bug) in UNNOTICED and not bug.equivalent]
        lines += [f"Not noticed: {bug.id} ({bug.what})." for bug in left]
        alone = sum(self.of(bug) == UNNOTICED[1] for bug in bugs)
        if alone:
            lines.append(f"(For {alone} of them the tests named ran alone.)")
        return "\n".join(lines)

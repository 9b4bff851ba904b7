"""A copy of the tree with a build of its own, where bugs are planted and tests run."""
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess


class TestsTimedOut(Exception):
    pass


class CopiedTree:
    # As deep as any checkout's build folder, so that ccache knows what was compiled there.
    def __init__(self, root, jobs):
        self.root = root
        self.jobs = str(jobs)
        self.path = root / "build/mutation/tree"
        self.build_path = self.path / "build/mutation"
        self.log = root / "build/mutation/log.txt"
        self.commit = self.git("rev-parse", "--short", "HEAD").strip()
        if self.git("status", "--porcelain").strip():
            self.commit += " and changes"
        # Tests that passed without a bug, by the hash of the tree.
        self.clean_path = root / "build/mutation/clean.json"
        self.clean = set()
        self.hash = ""
        self.tests = []

    def git(self, *arguments):
        return subprocess.run(["git", "-C", self.root, *arguments], check=True, capture_output=True, text=True).stdout

    def prepare(self, patterns):
        """Copies what changed and builds what these tests need."""
        self.copy()
        configure = ["cmake", "--preset", "mutation"]
        linker = next((name for name in ("mold", "lld") if shutil.which(f"ld.{name}")), None)
        if linker:
            configure.append(f"-DCMAKE_EXE_LINKER_FLAGS=-fuse-ld={linker}")
        if self.command(configure, cwd=self.path) != 0:
            raise SystemExit(f"mutation.py: the copy cannot be configured; see {self.log}")
        if not self.build(self.programs_of_parts(patterns)):
            raise SystemExit(f"mutation.py: the copy does not build without bugs; see {self.log}")
        self.list_tests()
        for pattern in patterns:
            if not self.programs(pattern):
                raise SystemExit(f"mutation.py: no test matches {pattern}")

    def programs_of_parts(self, patterns):
        """Test programs of the parts that the patterns name: before they are built nobody knows their tests."""
        targets = subprocess.run(["ninja", "-C", self.build_path, "-t", "targets", "all"], check=True, capture_output=True, text=True)
        parts = re.findall(r"^(gda_(\w+?)(?:_mpi)?_test): phony", targets.stdout, re.MULTILINE)
        words = set(re.findall(r"[a-z_]+", " ".join(patterns)))
        return sorted({program for program, part in parts if part in words}) or ["all"]

    def list_tests(self):
        listing = subprocess.run(["ctest", "--show-only=json-v1"], cwd=self.build_path, check=True, capture_output=True)
        self.tests = json.loads(listing.stdout)["tests"]

    def copy(self):
        digest = hashlib.sha256()
        for name in sorted(set(self.git("ls-files", "-co", "--exclude-standard").splitlines())):
            source, target = self.root / name, self.path / name
            if not source.is_file():
                continue
            text = source.read_bytes()
            if not name.startswith(("scripts/mutation", "docs/")):
                digest.update(name.encode() + b"\0" + text)
            if not target.is_file() or text != target.read_bytes():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(text)
                target.chmod(source.stat().st_mode)
        for target in [path for path in self.path.rglob("*") if path.is_file()]:
            name = str(target.relative_to(self.path))
            if not name.startswith("build/") and not (self.root / name).is_file():
                target.unlink()
        self.hash = digest.hexdigest()
        known = json.loads(self.clean_path.read_text()) if self.clean_path.is_file() else {}
        self.clean = set(known.get(self.hash, ()))

    def replace(self, name, old, new):
        target = self.path / name
        target.write_text(target.read_text().replace(old, new))

    def restore(self, name):
        (self.path / name).write_bytes((self.root / name).read_bytes())

    def programs(self, pattern):
        """The files that the build makes and the matching tests run."""
        made = f"{self.build_path}/"
        return sorted({word[len(made):] for test in self.tests if re.search(pattern, test["name"])
                       for word in test.get("command", ()) if word.startswith(made)})

    def build(self, programs=("all",)):
        environment = os.environ | {"CCACHE_BASEDIR": str(self.path), "CCACHE_NOHASHDIR": "1"}
        return self.command(["ninja", f"-j{self.jobs}", "-C", str(self.build_path), *programs], env=environment) == 0

    def first_failure(self, pattern, limit):
        """The name of a test that fails, of those that match or of all; None where all pass."""
        command = ["ctest", f"-j{self.jobs}", "--stop-on-failure", "--output-on-failure"]
        if pattern:
            command += ["-R", pattern]
        if self.command(command, cwd=self.build_path, limit=limit) == 0:
            return None
        listed = self.build_path / "Testing/Temporary/LastTestsFailed.log"
        return listed.read_text().splitlines()[0].split(":", 1)[1]

    def passes_clean(self, test, name):
        """Whether a test that a bug in file `name` failed passes without it."""
        if test in self.clean:
            return True
        self.restore(name)
        pattern = f"^{re.escape(test)}$"
        if self.build(self.programs(pattern)) and self.first_failure(pattern, None) is None:
            self.clean.add(test)
            self.clean_path.write_text(json.dumps({self.hash: sorted(self.clean)}) + "\n")
        return test in self.clean

    def command(self, command, limit=None, **options):
        with open(self.log, "w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, **options)
            try:
                return process.wait(limit)
            except subprocess.TimeoutExpired:
                raise TestsTimedOut from None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGTERM)
                    try:
                        process.wait(10)
                    except subprocess.TimeoutExpired:
                        os.killpg(process.pid, signal.SIGKILL)
                        process.wait()

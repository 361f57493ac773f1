"""``python -m tests.mutants [--every N] [NAME]...``. Exits with 1 if any mutation is not detected.

Without names, all mutations are tried, or with ``--every`` each Nth of them.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path

from tests.mutants.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]
COPIED = ("services", "local", "taskctl", "taskfleet", "testbed", "tests", "pyproject.toml")
PYTEST_OPTIONS = ("-q", "-x", "-p", "no:cacheprovider", "--hypothesis-profile=unshrunk")
CONCURRENCY = 2
TIMEOUT_S = 300
"""For the tests of one mutation, and for all tests without a mutation."""

TESTS_FAILED = 1
"""pytest's exit code if tests ran and some failed. Higher codes mean that tests could not run
("Exit codes", pytest documentation)."""


class Verdict(StrEnum):
    DETECTED = "detected"
    SURVIVED = "SURVIVED"
    NOT_APPLICABLE = "DOES NOT APPLY"
    NOT_TESTED = "TESTS DID NOT RUN"
    TIMED_OUT = "TIMED OUT"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--every", type=int, default=1, metavar="N")
    options = parser.parse_args(arguments)
    names = options.names
    selected = [each for each in MUTATIONS if not names or each.name in names][:: options.every]
    if unknown := set(names) - {each.name for each in MUTATIONS}:
        print(f"Unknown mutation: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    started = time.monotonic()
    with ThreadPoolExecutor(CONCURRENCY) as executor:
        unchanged = executor.submit(
            _test_unchanged, sorted({test for each in selected for test in each.tests})
        )
        verdicts = list(executor.map(verdict_on, selected))
    if (exit_code := unchanged.result()) != 0:
        problem = "time out" if exit_code is None else "fail"
        print(f"The tests {problem} without any mutation.", file=sys.stderr)
        return 1
    for mutation, verdict in zip(selected, verdicts, strict=True):
        print(f"{verdict:<17}  {mutation.name:<56}  {mutation.file}")
    if timeouts := verdicts.count(Verdict.TIMED_OUT):
        print(
            f"The tests of {timeouts} mutations did not end within {TIMEOUT_S} s. That may be due "
            "to a slow machine, so it does not count as detected."
        )
    detected = verdicts.count(Verdict.DETECTED)
    print(f"{detected} of {len(selected)} detected in {time.monotonic() - started:.0f} s")
    return 0 if detected == len(selected) else 1


def verdict_on(mutation: Mutation, *, timeout_s: float = TIMEOUT_S) -> Verdict:
    """Apply a mutation to a copy of the code and run its tests."""
    with tempfile.TemporaryDirectory(prefix="taskfleet-mutant-") as folder:
        tree = _copy_to(Path(folder))
        file = tree / mutation.file
        text = file.read_text()
        if text.count(mutation.before) != 1:
            return Verdict.NOT_APPLICABLE
        file.write_text(text.replace(mutation.before, mutation.after))
        match _run_pytest(mutation.tests, tree, timeout_s=timeout_s):
            case None:
                return Verdict.TIMED_OUT
            case 0:
                return Verdict.SURVIVED
            case code if code == TESTS_FAILED:
                return Verdict.DETECTED
            case _:
                return Verdict.NOT_TESTED


def _test_unchanged(tests: Sequence[str]) -> int | None:
    with tempfile.TemporaryDirectory(prefix="taskfleet-mutant-") as folder:
        return _run_pytest(tests, _copy_to(Path(folder)), timeout_s=TIMEOUT_S)


def _copy_to(folder: Path) -> Path:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def _run_pytest(tests: Sequence[str], tree: Path, *, timeout_s: float) -> int | None:
    """Returns the exit code, or None if the tests do not end in time."""
    command = [sys.executable, "-m", "pytest", *PYTEST_OPTIONS, *tests]
    try:
        run = subprocess.run(command, cwd=tree, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return None
    return run.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

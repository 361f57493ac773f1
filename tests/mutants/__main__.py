"""``python -m tests.mutants [NAME]...``: exit code 1 when any mutation is not noticed."""

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
COPIED = ("services", "local", "taskctl", "tests", "pyproject.toml")
OPTIONS = ("-q", "-x", "-p", "no:cacheprovider", "--hypothesis-profile=unshrunk")
AT_ONCE = 2
TIMEOUT_S = 300
"""For the tests of one mutation, and for all of them without any."""

FAILED = 1
"""pytest's exit code when tests ran and at least one failed; others say that none did."""


class Verdict(StrEnum):
    NOTICED = "noticed"
    SURVIVED = "SURVIVED"
    NOT_APPLICABLE = "DOES NOT APPLY"
    NOT_TESTED = "TESTS DO NOT RUN"
    NOT_ENDED = "NO END"


def main(names: Sequence[str]) -> int:
    chosen = [each for each in MUTATIONS if not names or each.name in names]
    if unknown := set(names) - {each.name for each in MUTATIONS}:
        print(f"There is no mutation called {', '.join(sorted(unknown))}.", file=sys.stderr)
        return 2
    started = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as executor:
        unchanged = executor.submit(
            _run_unchanged, sorted({test for each in chosen for test in each.tests})
        )
        verdicts = list(executor.map(verdict_on, chosen))
    if (exit_code := unchanged.result()) != 0:
        how = "do not end in time" if exit_code is None else "fail"
        print(f"The tests {how} without any mutation.", file=sys.stderr)
        return 1
    for mutation, verdict in zip(chosen, verdicts, strict=True):
        print(f"{verdict:<16}  {mutation.name:<56}  {mutation.file}")
    if endless := verdicts.count(Verdict.NOT_ENDED):
        print(
            f"The tests of {endless} did not end within {TIMEOUT_S} s: that may be the machine "
            "and notices nothing."
        )
    noticed = verdicts.count(Verdict.NOTICED)
    print(f"{noticed} of {len(chosen)} noticed, in {time.monotonic() - started:.0f} s")
    return 0 if noticed == len(chosen) else 1


def verdict_on(mutation: Mutation, *, timeout_s: float = TIMEOUT_S) -> Verdict:
    with tempfile.TemporaryDirectory(prefix="taskfleet-mutant-") as folder:
        tree = _copy(Path(folder))
        file = tree / mutation.file
        text = file.read_text()
        if text.count(mutation.before) != 1:
            return Verdict.NOT_APPLICABLE
        file.write_text(text.replace(mutation.before, mutation.after))
        match _pytest(mutation.tests, tree, timeout_s=timeout_s):
            case None:
                return Verdict.NOT_ENDED
            case 0:
                return Verdict.SURVIVED
            case code if code == FAILED:
                return Verdict.NOTICED
            case _:
                return Verdict.NOT_TESTED


def _run_unchanged(tests: Sequence[str]) -> int | None:
    with tempfile.TemporaryDirectory(prefix="taskfleet-mutant-") as folder:
        return _pytest(tests, _copy(Path(folder)), timeout_s=TIMEOUT_S)


def _copy(folder: Path) -> Path:
    """The checkout itself is never touched."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def _pytest(tests: Sequence[str], tree: Path, *, timeout_s: float) -> int | None:
    """The exit code; None when they do not end in time."""
    command = [sys.executable, "-m", "pytest", *OPTIONS, *tests]
    try:
        run = subprocess.run(command, cwd=tree, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return None
    return run.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

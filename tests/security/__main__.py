"""Attack the fetcher, the imaging pool and the API: `make security`.

Prints a table and one JSON object, and writes the object to `--results`. docs/security.md shows its
figures. The exit code is 1 if a figure that must be 0 is not. The same seed and counts repeat the
same attacks.
"""

import argparse
import json
import logging
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from docs.generator.security_figures import MUST_BE_ZERO, rows
from tests.api.conformance import conformance
from tests.api.conftest import build_api
from tests.conftest import Clock, cloud_in_memory, new_session
from tests.security.addresses import try_addresses


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.security", description=__doc__)
    parser.add_argument(
        "--wrapped", type=int, default=1_000, help="number of random private addresses"
    )
    parser.add_argument("--images", type=int, default=20_000, help="number of damaged images")
    parser.add_argument(
        "--examples", type=int, default=400, help="number of requests per route and kind"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, help="file for the figures")
    arguments = parser.parse_args(argv)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    figures = {
        "python": platform.python_version(),
        **_addresses(wrapped=arguments.wrapped, seed=arguments.seed),
        **_images(count=arguments.images, seed=arguments.seed),
        **_requests(examples=arguments.examples),
    }
    for name, value in rows(figures):
        print(f"{name:.<60} {value}")
    line = json.dumps(figures)
    if arguments.results:
        arguments.results.write_text(f"{line}\n")
    print(line)
    return 1 if any(figures[name] for name in MUST_BE_ZERO) else 0


def _addresses(*, wrapped: int, seed: int) -> Mapping[str, Any]:
    figures = try_addresses(wrapped=wrapped, seed=seed)
    _print_breaches(figures.reached + figures.public_refused)
    return {
        "address_forms_tried": figures.tried,
        "address_forms_reached": len(figures.reached),
        "public_forms_tried": figures.public_tried,
        "public_forms_refused": len(figures.public_refused),
    }


def _images(*, count: int, seed: int) -> Mapping[str, Any]:
    """Run in a process of its own, whose only children are those of the imaging pool."""
    options = ("--images", str(count), "--seed", str(seed), "--largest")
    finished = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.imaging", *options, "--keep", ".local/fuzz"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    figures: Mapping[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return figures


def _requests(*, examples: int) -> Mapping[str, Any]:
    with cloud_in_memory(new_session()) as cloud:
        found = conformance(build_api(cloud, Clock()), cloud, examples=examples)
    _print_breaches(found.failures)
    return {
        "schemathesis_cases": found.statuses.total(),
        "schemathesis_failures": len(found.failures),
    }


def _print_breaches(breaches: Sequence[str]) -> None:
    for breach in breaches:
        print(breach, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

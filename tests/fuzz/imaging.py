"""Damaged pictures and bombs through the whole imaging pool: `make fuzz`.

Prints one JSON object. No picture may end a child or hang it; one that does is kept in the folder
`--keep`, and the exit code is 1. The same seed damages the same pictures in the same way.
"""

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from services.common.errors import ImagingCrashed, ImagingTimeout, PictureError
from services.common.operations import FORMATS
from services.worker.imaging import ImagingLimits, ImagingPool
from tests.fuzz.corpus import corpus
from tests.fuzz.mutations import mutated
from tests.worker.imaging.pictures import bombs, png_with_text_bomb

DEADLINE_S = 60
BATCH = 500
"""Pictures in memory at once."""

FAILURES_OF_OURS = {ImagingCrashed.code, ImagingTimeout.code}


@dataclass(frozen=True)
class Case:
    content: bytes
    operations: list[dict[str, Any]]
    output: dict[str, Any] | None


@dataclass(frozen=True)
class Bomb:
    content: bytes
    refused_in_s: float


def main(argv: list[str]) -> int:
    arguments = _arguments(argv)
    with (
        tempfile.TemporaryDirectory() as folder,
        ImagingPool(limits=ImagingLimits(), processes=arguments.processes) as pool,
    ):
        outcomes = _run(pool, arguments, Path(folder))
        worst = max(_bombs(pool, Path(folder)), key=lambda bomb: bomb.refused_in_s)
    print(
        json.dumps(
            {
                "malformed_pictures_tried": arguments.pictures,
                "seed": arguments.seed,
                "outcomes": dict(outcomes.most_common()),
                "workers_died": outcomes[ImagingCrashed.code],
                "over_deadline": outcomes[ImagingTimeout.code],
                "peak_child_memory_mb": round(_peak_child_memory_bytes() / 1e6),
                "worst_bomb_bytes_in": len(worst.content),
                "worst_bomb_refused_in_ms": round(worst.refused_in_s * 1000, 1),
            }
        )
    )
    return 1 if FAILURES_OF_OURS & outcomes.keys() else 0


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder for pictures that end or hang a child")
    return parser.parse_args(argv)


def _run(pool: ImagingPool, arguments: argparse.Namespace, folder: Path) -> Counter[str]:
    def outcome(numbered: tuple[int, Case]) -> str:
        number, case = numbered
        source = folder / str(number)
        source.write_bytes(case.content)
        try:
            pool.process(source, case.operations, case.output, timeout_s=DEADLINE_S)
        except PictureError as error:
            if error.code in FAILURES_OF_OURS and arguments.keep:
                arguments.keep.mkdir(parents=True, exist_ok=True)
                (arguments.keep / f"{arguments.seed}-{number}").write_bytes(case.content)
                print(error, *getattr(error, "__notes__", ()), case.operations, file=sys.stderr)
            return error.code
        finally:
            source.unlink()
        return "completed"

    cases = enumerate(_cases(arguments.pictures, random.Random(arguments.seed)))
    outcomes: Counter[str] = Counter()
    with ThreadPoolExecutor(max_workers=2 * arguments.processes) as callers:
        while batch := list(islice(cases, BATCH)):
            outcomes.update(callers.map(outcome, batch))
    return outcomes


def _cases(count: int, chance: random.Random) -> Iterator[Case]:
    whole = corpus()
    for _ in range(count):
        output = {"format": chance.choice(FORMATS)} if chance.random() < 0.3 else None
        yield Case(mutated(chance.choice(whole), chance), _operations(chance), output)


def _operations(chance: random.Random) -> list[dict[str, Any]]:
    return chance.choice(
        [
            [{"name": "grayscale"}],
            [{"name": "rotate", "degrees": 90}],
            [{"name": "resize", "width": 40}],
            [{"name": "grayscale"}, {"name": "resize", "width": 9, "height": 9, "mode": "fill"}],
        ]
    )


def _bombs(pool: ImagingPool, folder: Path) -> Iterator[Bomb]:
    source = folder / "bomb"
    for content in (*(bomb for _, bomb in bombs()), png_with_text_bomb()):
        source.write_bytes(content)
        start = time.monotonic()
        try:
            pool.process(source, [{"name": "grayscale"}], None, timeout_s=DEADLINE_S)
        except PictureError:
            yield Bomb(content, time.monotonic() - start)
        else:
            raise AssertionError("a bomb was not refused")


def _peak_child_memory_bytes() -> int:
    """Of the largest child that has ended, resident."""
    kilobytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return kilobytes * 1024


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

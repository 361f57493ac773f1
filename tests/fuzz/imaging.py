"""Process damaged images, bombs and the largest images in the imaging pool: `make fuzz`.

Prints one JSON object. The exit code is 1 if an image crashes a child process or makes it hang. The
folder `--keep` receives such images. The same seed chooses the same images, damage and recipes.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from services.common.errors import ImageError, ImagingCrashed, ImagingTimeout
from services.common.operations import FORMATS
from services.worker.imaging import ImagingLimits, ImagingPool
from services.worker.interrupt import Interrupt
from tests.fuzz.corpus import corpus, largest
from tests.fuzz.mutations import mutated
from tests.fuzz.peak_memory import peak_memory_of_children
from tests.worker.imaging.sample_images import bombs, jpeg_with_scans

DEADLINE_S = 60
BATCH = 500
"""Maximum number of images in memory."""
BOMB_ROUNDS = 3
"""The fastest round counts, because other load on the machine only makes rounds slower."""

GRAYSCALE = [{"name": "grayscale"}]
ROTATE = [{"name": "rotate", "degrees": 90}]
FUZZ_FAILURES = {ImagingCrashed.code, ImagingTimeout.code}


@dataclass(frozen=True)
class Case:
    content: bytes
    recipe: dict[str, Any]


@dataclass(frozen=True)
class Bomb:
    name: str
    bytes_in: int
    rejected_in_s: float


@dataclass(frozen=True)
class Fuzzer:
    pool: ImagingPool
    folder: Path
    seed: int
    keep: Path | None
    outcomes: Counter[str] = field(default_factory=Counter)
    """``completed`` or the failure code."""

    def damaged_images(self, count: int, *, concurrency: int) -> None:
        cases = enumerate(_damaged(count, random.Random(self.seed)))
        with ThreadPoolExecutor(max_workers=concurrency) as callers:
            while batch := list(islice(cases, BATCH)):
                self.outcomes.update(callers.map(lambda numbered: self._outcome(*numbered), batch))

    def largest_images(self) -> int:
        """Process the largest images, which must all complete, and return their number."""
        count = 0
        for content, output in largest():
            outcome = self._outcome(count, Case(content, {"operations": ROTATE, "output": output}))
            assert outcome == "completed", outcome
            count += 1
        return count

    def bombs(self) -> list[Bomb]:
        """Process the bombs, which must all be rejected."""
        return [
            Bomb(name, len(content), min(self._rejected_in_s(content) for _ in range(BOMB_ROUNDS)))
            for name, content in _bombs()
        ]

    def _rejected_in_s(self, content: bytes) -> float:
        start = time.monotonic()
        assert self._outcome(0, Case(content, {"operations": GRAYSCALE})) not in {
            "completed",
            *FUZZ_FAILURES,
        }
        return time.monotonic() - start

    def _outcome(self, number: int, case: Case) -> str:
        source = self.folder / str(number)
        source.write_bytes(case.content)
        try:
            self.pool.process(source, case.recipe, timeout_s=DEADLINE_S, interrupt=Interrupt())
        except ImageError as error:
            if error.code in FUZZ_FAILURES and self.keep:
                self.keep.mkdir(parents=True, exist_ok=True)
                (self.keep / f"{self.seed}-{number}").write_bytes(case.content)
                print(error, *getattr(error, "__notes__", ()), case.recipe, file=sys.stderr)
            return error.code
        finally:
            source.unlink()
        return "completed"


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--keep", type=Path, help="folder for images that crash a child process or make it hang"
    )
    parser.add_argument(
        "--largest", action="store_true", help="also process the largest images allowed"
    )
    arguments = parser.parse_args(argv)
    with (
        tempfile.TemporaryDirectory() as folder,
        ImagingPool(limits=ImagingLimits(), processes=arguments.processes) as pool,
        peak_memory_of_children() as peak,
    ):
        fuzzer = Fuzzer(pool, Path(folder), arguments.seed, arguments.keep)
        bombs = fuzzer.bombs()
        fuzzer.damaged_images(arguments.images, concurrency=2 * arguments.processes)
        largest_tried = fuzzer.largest_images() if arguments.largest else 0
    worst = max(bombs, key=lambda bomb: bomb.rejected_in_s)
    outcomes = fuzzer.outcomes
    figures = {
        "malformed_images_tried": arguments.images,
        "seed": arguments.seed,
        "outcomes": dict(outcomes.most_common()),
        "workers_died": outcomes[ImagingCrashed.code],
        "over_deadline": outcomes[ImagingTimeout.code],
        "largest_images_tried": largest_tried,
        "peak_child_memory_mb": round(peak.bytes / 1e6),
        "bombs_tried": len(bombs),
        "worst_bomb": worst.name,
        "worst_bomb_bytes_in": worst.bytes_in,
        "worst_bomb_refused_in_ms": round(worst.rejected_in_s * 1000, 1),
    }
    print(json.dumps(figures))
    return 1 if FUZZ_FAILURES & outcomes.keys() else 0


def _damaged(count: int, chance: random.Random) -> Iterator[Case]:
    images = corpus()
    for _ in range(count):
        output = {"format": chance.choice(FORMATS)} if chance.random() < 0.3 else None
        recipe = {
            "operations": _operations(chance),
            "output": output,
            "page": chance.choices((1, 2), (9, 1))[0],
            "damaged": chance.choice(("refuse", "keep")),
        }
        yield Case(mutated(chance.choice(images), chance), recipe)


def _operations(chance: random.Random) -> list[dict[str, Any]]:
    return chance.choice(
        [
            GRAYSCALE,
            ROTATE,
            [{"name": "resize", "width": 40}],
            [{"name": "grayscale"}, {"name": "resize", "width": 9, "height": 9, "mode": "fill"}],
        ]
    )


def _bombs() -> Iterator[tuple[str, bytes]]:
    for file_format, content in bombs():
        yield f"{file_format} of 50,000 by 50,000 pixels", content
    yield "jpeg of 49 megapixels with 2,000 scans", jpeg_with_scans(2_000, side=7_000)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

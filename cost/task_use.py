"""What one task uses: CPU time, AWS calls and bytes, from ``task_use.json``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

TASK_USE_FILE = Path(__file__).with_name("task_use.json")


@dataclass(frozen=True)
class TaskUse:
    """Averages per task of the small sample image, as measured by ``make bench``."""

    measured: str
    source: str
    worker_cpu_ms: float
    api_cpu_ms: float
    image_bytes: int
    result_bytes: int
    worker_calls: Mapping[str, float]
    api_calls: Mapping[str, float]

    @classmethod
    def read(cls, path: Path = TASK_USE_FILE) -> Self:
        return cls(**json.loads(path.read_text()))

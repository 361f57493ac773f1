"""The peers run with the libraries of the worker."""

import re
from pathlib import Path

PINNED = re.compile(r"^([a-z0-9-]+)==([^ ;]+)", re.MULTILINE)


def versions(path: str) -> dict[str, str]:
    return dict(PINNED.findall(Path(path).read_text()))


def test_a_library_that_both_install_has_the_same_version() -> None:
    peers = versions("bench/peers/requirements.txt")
    worker = versions("services/worker/requirements.txt")
    shared = peers.keys() & worker.keys()

    assert {"boto3", "botocore", "pillow", "urllib3"} <= shared
    assert {name: peers[name] for name in shared} == {name: worker[name] for name in shared}

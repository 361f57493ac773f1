"""The instructions after a deployment."""

import json
import subprocess
import sys
from pathlib import Path

from tests.cdk.synthesized import ROOT


def next_steps(folder: Path, **outputs: str) -> str:
    file = folder / "outputs.json"
    file.write_text(json.dumps({"taskfleet-blue-api": outputs}))
    return subprocess.run(
        [sys.executable, "-m", "cdk.commands.next_steps", str(file), "blue"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_the_next_steps_contain_the_url_and_the_environment(tmp_path: Path) -> None:
    printed = next_steps(tmp_path, Url="https://tasks.example.org", DomainName="tasks.example.org")

    assert "taskctl keys create --client me --environment blue" in printed
    (curl,) = (line for line in printed.splitlines() if line.strip().startswith("curl"))
    assert "https://tasks.example.org/tasks" in curl
    assert "inputImageUrl" in curl
    assert "certificate" not in printed


def test_the_next_steps_say_that_the_load_balancers_name_cannot_be_verified(
    tmp_path: Path,
) -> None:
    assert "certificate cannot name this host" in next_steps(tmp_path, Url="https://x.elb.aws")
    assert "certificate" not in next_steps(tmp_path, Url="http://x.elb.aws")

"""The instructions after a deployment."""

import json
import subprocess
import sys
from pathlib import Path

from tests.cdk.synthesized import ROOT


def test_the_next_steps_contain_the_url_and_the_environment(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs.json"
    outputs.write_text(json.dumps({"taskfleet-blue-api": {"Url": "https://tasks.example.org"}}))

    printed = subprocess.run(
        [sys.executable, "-m", "cdk.commands.next_steps", str(outputs), "blue"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert "taskctl keys create --client me --environment blue" in printed
    (curl,) = (line for line in printed.splitlines() if line.strip().startswith("curl"))
    assert "https://tasks.example.org/tasks" in curl
    assert "inputImageUrl" in curl

"""The GitHub workflows: valid, with minimal permissions, and complete."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.cdk.synthesized import ROOT

ISSUES = ROOT / ".github/ISSUE_TEMPLATE"
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))

WEEKLY = r"\d+ \d+ \* \* [0-6]"

workflows = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = YAML(typ="safe").load(path)
    return content


def triggers(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = read(path)["on"]
    return found


def jobs(name: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read(ROOT / ".github/workflows" / name)["jobs"]
    return found


def steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in jobs(path.name).values():
        yield from job.get("steps", [])


def uses(step: dict[str, Any]) -> str:
    """The action, without its version."""
    action: str = step.get("uses", "").partition("@")[0]
    return action


def permissions(path: Path) -> Iterator[dict[str, str]]:
    content = read(path)
    yield content["permissions"]
    for job in content["jobs"].values():
        yield job.get("permissions", {})


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", WORKFLOWS),
        ("vendor.dependabot", [ROOT / ".github/dependabot.yml"]),
        ("vendor.github-issue-forms", [ISSUES / "bug_report.yml", ISSUES / "feature_request.yml"]),
        ("vendor.github-issue-config", [ISSUES / "config.yml"]),
    ],
)
def test_a_file_matches_the_schema_of_github(schema: str, files: list[Path]) -> None:
    check = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert check.returncode == 0, check.stdout


@workflows
def test_actions_are_pinned_by_digest_with_their_version_in_a_comment(path: Path) -> None:
    uses = re.findall(r"uses: (\S+)(.*)$", path.read_text(), re.MULTILINE)

    for action, comment in uses:
        if action.startswith("./"):
            continue
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action)
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment)


def test_all_workflows_use_the_same_version_of_an_action() -> None:
    versions: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for action, version in re.findall(r"uses: ([\w/-]+)@(\w{40})", path.read_text()):
            versions.setdefault(action, set()).add(version)

    assert versions
    assert {action for action, found in versions.items() if len(found) > 1} == set()


@workflows
def test_a_token_has_only_the_permissions_that_its_job_needs(path: Path) -> None:
    allowed = {
        "test.yml": {"id-token"},
        "deploy.yml": {"id-token"},
        "deploy-environment.yml": {"id-token"},
        "dependencies.yml": {"contents", "pull-requests"},
        "security.yml": set(),
        "promises.yml": set(),
    }

    assert read(path)["permissions"] == {"contents": "read"}
    writable = {
        scope
        for scopes in permissions(path)
        for scope, access in scopes.items()
        if access == "write"
    }
    assert writable == allowed[path.name]


@workflows
def test_a_checkout_persists_no_credentials(path: Path) -> None:
    checkouts = [step for step in steps(path) if uses(step) == "actions/checkout"]

    assert [step for step in checkouts if step["with"]["persist-credentials"] is not False] == []


@workflows
def test_a_job_that_may_write_runs_no_code_of_the_repository(path: Path) -> None:
    for job in jobs(path.name).values():
        writable = {
            scope for scope, access in job.get("permissions", {}).items() if access == "write"
        }
        if writable <= {"id-token"}:
            continue
        commands = " ".join(step.get("run", "") for step in job["steps"])
        assert {uses(step) for step in job["steps"]} <= {
            "actions/checkout",
            "actions/download-artifact",
            "",
        }
        assert set(re.findall(r"^ *(\w+)", commands, re.MULTILINE)) <= {
            *("for", "cp", "done", "if", "branch", "git", "gh"),
        }


@workflows
def test_no_stored_secret_is_used(path: Path) -> None:
    assert "secrets." not in path.read_text()


@workflows
def test_a_script_contains_no_expressions(path: Path) -> None:
    """Values reach scripts as environment variables, so they cannot become commands."""
    assert [step["run"] for step in steps(path) if "${{" in step.get("run", "")] == []


def test_pull_requests_are_synthesized_and_compared() -> None:
    path = ROOT / ".github/workflows/test.yml"
    commands = " ".join(step.get("run", "") for step in steps(path))

    assert "pull_request" in triggers(path)
    assert "make synth" in commands
    assert "make diff" in commands


def test_a_pull_request_runs_each_stage_of_ci_once() -> None:
    """The stages are in separate jobs, which run in parallel."""
    stages = re.findall(r"^stage make ([\w-]+)", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    scheduled = {"mutants"}
    commands = [
        target
        for step in steps(ROOT / ".github/workflows/test.yml")
        for target in re.findall(r"make ([\w-]+)", step.get("run", ""))
    ]

    assert "test" in stages
    assert set(stages) - scheduled <= set(commands)
    assert len(commands) == len(set(commands))


def test_main_is_deployed_to_dev_after_its_tests_and_then_to_production() -> None:
    path = ROOT / ".github/workflows/deploy.yml"
    jobs = read(path)["jobs"]

    assert triggers(path) == {"push": {"branches": ["main"]}}
    assert jobs["test"]["uses"] == "./.github/workflows/test.yml"
    assert jobs["dev"]["needs"] == "test"
    assert jobs["production"]["needs"] == "dev"
    assert jobs["production"]["with"] == {"environment": "production"}


def test_deployments_of_an_environment_run_one_at_a_time_in_its_github_environment() -> None:
    (job,) = read(ROOT / ".github/workflows/deploy-environment.yml")["jobs"].values()

    assert job["environment"] == "${{ inputs.environment }}"
    assert job["concurrency"] == {
        "group": "deploy-${{ inputs.environment }}",
        "cancel-in-progress": False,
    }


def test_dependencies_are_updated_weekly() -> None:
    (schedule,) = triggers(ROOT / ".github/workflows/dependencies.yml")["schedule"]

    assert re.fullmatch(WEEKLY, schedule["cron"])


def test_updated_dependencies_are_audited_and_tested_before_the_pull_request() -> None:
    found = jobs("dependencies.yml")
    commands = [step.get("run", uses(step)) for step in found["upgrade"]["steps"]]

    assert commands[-5:] == [
        "make upgrade",
        "make base-image",
        "make audit",
        "actions/upload-artifact",
        ".ci/run",
    ]
    assert "permissions" not in found["upgrade"]
    assert found["propose"]["needs"] == "upgrade"


def test_the_pull_request_for_updates_contains_only_files_that_pin_versions() -> None:
    path = ROOT / ".github/workflows/dependencies.yml"
    (upload,) = (step for step in steps(path) if uses(step) == "actions/upload-artifact")
    (download,) = (step for step in steps(path) if uses(step) == "actions/download-artifact")
    propose = jobs(path.name)["propose"]["steps"][-1]["run"]

    assert read(path)["env"]["LOCKS"].split() == [
        "uv.lock",
        "make/uv.txt",
        "services/api/requirements.txt",
        "services/worker/requirements.txt",
        "services/api/Dockerfile",
        "services/worker/Dockerfile",
        "bench/peers/requirements.txt",
    ]
    assert upload["with"]["path"] == "${{ env.LOCKS }}"
    assert download["with"]["name"] == upload["with"]["name"]
    assert download["with"]["path"] == "${{ runner.temp }}/locks"  # not into the checkout
    assert propose.startswith("for file in $LOCKS; do\n  cp --no-dereference ")


def test_the_long_proofs_run_weekly() -> None:
    path = ROOT / ".github/workflows/promises.yml"
    (schedule,) = triggers(path)["schedule"]
    commands = " ".join(step.get("run", "") for step in steps(path))

    assert re.fullmatch(WEEKLY, schedule["cron"])
    assert re.findall(r"make ([\w-]+)", commands) == ["model", "mutants", "drain"]


def test_images_and_dependencies_are_scanned_for_vulnerabilities_weekly_and_in_pull_requests() -> (
    None
):
    path = ROOT / ".github/workflows/security.yml"
    found = list(steps(path))
    scans = [step for step in found if step.get("uses", "").startswith("anchore/scan-action@")]

    assert triggers(path).keys() >= {"pull_request", "schedule"}
    assert {"make audit", "make sbom"} <= {step.get("run") for step in found}
    assert {scan["with"]["image"] for scan in scans} == {
        "taskfleet-test-api",
        "taskfleet-test-worker",
    }
    assert all(scan["with"]["severity-cutoff"] == "high" for scan in scans)


@workflows
def test_every_make_target_in_a_workflow_exists(path: Path) -> None:
    makefiles = [ROOT / "Makefile", *sorted((ROOT / "make").glob("*.mk"))]
    targets = set(
        re.findall(r"^([a-z-]+):", "\n".join(m.read_text() for m in makefiles), re.MULTILINE)
    )

    called = {
        target
        for step in steps(path)
        for target in re.findall(r"make ([a-z-]+)", step.get("run", ""))
    }

    assert called <= targets

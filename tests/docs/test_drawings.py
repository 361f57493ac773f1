"""The drawings match the templates and are valid Mermaid."""

import re
from collections.abc import Mapping

import pytest

from cdk.template.grants import describe, grants
from cdk.template.templates import Templates
from docs.generator.access_drawing import access_drawing
from docs.generator.deployment_drawing import deployment_drawing
from tests.cdk.synthesized import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

FLOWCHARTS = [
    pytest.param(chart, id=f"{page.name} {number}")
    for page in PAGES
    for number, chart in enumerate(
        re.findall(r"```mermaid\n(flowchart .*?)```", page.read_text(), re.DOTALL), start=1
    )
]

BOX = re.compile(r'(\w+)\["[^"]+"\]:::\w+')
FRAME = re.compile(r'subgraph (\w+)\["[^"]+"\]')
ARROW = re.compile(r"(\w+) --> (\w+)")
STYLE = re.compile(r"classDef (\w+) [\w:#,]+")
STYLED = re.compile(r"\w+:::\w+")
END = re.compile("end")

services = pytest.mark.parametrize("service", ["api", "worker", "reconciler"])


def statements(chart: str) -> list[str]:
    return [line.strip() for line in chart.splitlines()]


def reached_from(start: str, chart: str) -> list[str]:
    arrows = [ARROW.fullmatch(statement) for statement in statements(chart)]
    return [arrow[2] for arrow in arrows if arrow and arrow[1] == start]


@services
def test_each_permission_of_a_service_has_an_arrow(deployment: Templates, service: str) -> None:
    chart = access_drawing(deployment)
    reached = reached_from(service, chart)
    boxes = [line for line in statements(chart) if line.partition("[")[0] in reached]
    task = deployment.tasks[service]
    role = deployment.target(task["TaskRoleArn"], stack=task.stack)

    for grant in grants(deployment, role):
        action, resource = describe(deployment, grant)
        name, _, part = resource.partition("/")
        allowed = re.escape(f"{action} {part}".strip())
        assert [
            box
            for box in boxes
            if re.search(f'{name}<br/>.*{allowed}(<br/>|")', box, re.IGNORECASE)
        ], (action, resource)


def test_every_profile_has_the_same_permissions(deployments: Mapping[str, Templates]) -> None:
    assert len({access_drawing(deployment) for deployment in deployments.values()}) == 1


@services
@pytest.mark.parametrize(
    ("profile", "exits"),
    [
        ("dev", ["internet", "endpoints"]),
        ("standard", ["nat", "endpoints"]),
        ("private", ["endpoints"]),
    ],
)
def test_a_drawing_shows_how_each_service_leaves_the_vpc(
    deployments: Mapping[str, Templates], profile: str, exits: list[str], service: str
) -> None:
    if (profile, service) == ("private", "worker"):
        exits = ["nat", *exits]

    assert reached_from(service, deployment_drawing(deployments[profile])) == exits


def test_queues_are_reached_through_an_endpoint_in_private_only(
    deployments: Mapping[str, Templates],
) -> None:
    through_endpoints = {
        profile: "queue" in reached_from("endpoints", deployment_drawing(deployment))
        for profile, deployment in deployments.items()
    }

    assert through_endpoints == {"dev": False, "standard": False, "private": True}


def test_a_drawing_shows_sizes_listeners_schedule_and_redrive(standard: Templates) -> None:
    chart = deployment_drawing(standard)

    for text in (
        "API<br/>2 to 10 containers<br/>on demand<br/>0.5 vCPU, 1 GB",
        "Workers<br/>1 to 20 containers<br/>1 on demand,<br/>75 % of the others on Spot",
        "HTTPS 443",
        "rate(5 minutes)",
        "after 1000 receives",
    ):
        assert text in chart
    assert reached_from("scheduler", chart) == ["reconciler"]
    assert reached_from("queue", chart) == ["dead_letter_queue"]


@pytest.mark.parametrize("chart", FLOWCHARTS)
def test_a_flowchart_is_valid_mermaid(chart: str) -> None:
    """Checks the few statements that the drawings use. Mermaid itself needs a browser."""
    direction, *lines = statements(chart)
    names = [match[1] for line in lines if (match := (BOX.match(line) or FRAME.match(line)))]
    ends = {name for line in lines if (arrow := ARROW.fullmatch(line)) for name in arrow.groups()}
    styles = {style[1] for line in lines if (style := STYLE.fullmatch(line))}
    used_styles = {line.rpartition(":::")[2] for line in lines if ":::" in line}

    assert direction in {"flowchart TD", "flowchart LR"}
    for line in lines:
        assert any(form.fullmatch(line) for form in (BOX, FRAME, ARROW, STYLE, STYLED, END)), line
    assert lines.count("end") == sum(line.startswith("subgraph") for line in lines)
    assert len(names) == len(set(names))
    assert ends <= set(names)
    assert used_styles == styles

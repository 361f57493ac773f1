"""The parts of a Mermaid flowchart that the drawings need.

Source: "Flowcharts Syntax", Mermaid documentation.
"""

from collections.abc import Iterable

STYLES = {
    "product": "fill:#dbeafe,stroke:#1d4ed8,color:#0f172a",
    "tool": "fill:#f8fafc,stroke:#64748b,color:#0f172a",
    "aws": "fill:#fff7ed,stroke:#ea580c,color:#0f172a",
    "outside": "fill:#f8fafc,stroke:#64748b,color:#0f172a",
    "network": "fill:#f1f5f9,stroke:#94a3b8,color:#0f172a",
}
"""The look of each kind of node and subgraph, readable on a light and on a dark page."""


def flowchart(direction: str, statements: Iterable[str]) -> str:
    """A code block that GitHub draws. `direction` is ``TD`` or ``LR``."""
    lines = list(statements)
    used = [kind for kind in STYLES if any(line.endswith(f":::{kind}") for line in lines)]
    return "\n".join(
        [
            "```mermaid",
            f"flowchart {direction}",
            *(f"  classDef {kind} {STYLES[kind]}" for kind in used),
            *(f"  {line}" for line in lines),
            "```",
        ]
    )


def node(name: str, *text: str, kind: str) -> str:
    """A box with `text`, one string a line."""
    return f'{name}["{"<br/>".join(text)}"]:::{kind}'


def subgraph(name: str, title: str, statements: Iterable[str]) -> list[str]:
    """A frame around the nodes that `statements` define."""
    return [
        f'subgraph {name}["{title}"]',
        *(f"  {statement}" for statement in statements),
        "end",
        f"{name}:::network",
    ]


def arrow(start: str, end: str) -> str:
    return f"{start} --> {end}"

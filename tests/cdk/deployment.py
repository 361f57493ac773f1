"""Deployments as tests see them: synthesised as the CDK's command line would."""

import json
from pathlib import Path
from typing import Any

from aws_cdk import App, Environment

from app import synthesise
from cdk.reading.templates import Deployment

ROOT = Path(__file__).parent.parent.parent
ENV = Environment(account="111122223333", region="eu-west-1")


def cdk_context() -> dict[str, Any]:
    """What the CDK's command line hands to the app besides ``-c``."""
    context: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text())["context"]
    return context


def deployed(folder: Path, **context: Any) -> Deployment:
    """As with ``-c name=value`` on the command line for each of `context`."""
    app = App(context={**cdk_context(), **context}, outdir=str(folder))
    return Deployment(synthesise(app, ENV), folder)

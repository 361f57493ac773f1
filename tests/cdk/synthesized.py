"""Synthesizes deployments the way the CDK CLI does."""

import json
from pathlib import Path
from typing import Any

from aws_cdk import App, Environment

from app import synthesize
from cdk.template.templates import Templates

ROOT = Path(__file__).parent.parent.parent
ENV = Environment(account="111122223333", region="eu-west-1")


def cdk_context() -> dict[str, Any]:
    """The context that the CDK CLI passes to the app besides ``-c``."""
    context: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text())["context"]
    return context


def deployed(folder: Path, *, region: str = ENV.region or "", **context: Any) -> Templates:
    """Synthesize into `folder`, with `context` as if given by ``-c name=value``."""
    app = App(context={**cdk_context(), **context}, outdir=str(folder))
    return Templates(synthesize(app, Environment(account=ENV.account, region=region)), folder)

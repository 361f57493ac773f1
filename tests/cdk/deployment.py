"""Deployments as tests see them: synthesised as the CDK's command line would."""

import json
from pathlib import Path
from typing import Any

from aws_cdk import App, Environment

from app import PROFILES, build
from cdk.reading.templates import Deployment
from cdk.settings import load_settings

ROOT = Path(__file__).parent.parent.parent
ENV = Environment(account="111122223333", region="eu-west-1")


def cdk_context() -> dict[str, Any]:
    """What the CDK's command line hands to the app besides ``-c``."""
    context: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text())["context"]
    return context


def synthesise(folder: Path, **context: Any) -> Deployment:
    """Synthesise as the CDK's command line would with ``-c name=value`` for each of `context`."""
    given = {**cdk_context(), **context}
    settings = load_settings(given, profiles=PROFILES)
    app = App(context=given, outdir=str(folder))
    build(app, settings, ENV)
    app.synth()
    return Deployment(settings, folder)

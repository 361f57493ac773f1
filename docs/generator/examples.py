"""The deployments that the documentation shows: each profile with its required settings."""

import json
from collections.abc import Mapping
from pathlib import Path

from aws_cdk import App, Environment

from app import synthesize
from cdk.template.templates import Templates

ROOT = Path(__file__).parents[2]
ENV = Environment(account="111122223333", region="us-east-1")
CERTIFICATE = "arn:aws:acm:us-east-1:111122223333:certificate/example"

EXAMPLES: Mapping[str, Mapping[str, str]] = {
    "dev": {},
    "standard": {"certificate_arn": CERTIFICATE},
    "private": {"certificate_arn": CERTIFICATE},
}


def examples(folder: Path) -> dict[str, Templates]:
    """Synthesize each profile into a folder below `folder`."""
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    found = {}
    for profile, given in EXAMPLES.items():
        outdir = folder / profile
        app = App(context={**context, "profile": profile, **given}, outdir=str(outdir))
        found[profile] = Templates(synthesize(app, ENV), outdir)
    return found

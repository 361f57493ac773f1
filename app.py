"""The CDK app: the profiles, the stacks and how they depend on each other.

    cdk deploy --all -c profile=standard -c certificate_arn=arn:… -c domain_name=tasks.example.org

cdk/settings.py describes the settings.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any

from aws_cdk import App, DefaultStackSynthesizer, Environment, Tags, Validations
from cdk_nag import AwsSolutionsChecks

from cdk.constructs.role_bounds import bound_roles
from cdk.settings import Egress, Settings, SettingsError, load_settings
from cdk.stacks.api import ApiStack
from cdk.stacks.delivery import DeliveryStack
from cdk.stacks.network import NetworkStack
from cdk.stacks.observability import ObservabilityStack
from cdk.stacks.state import StateStack
from cdk.stacks.worker import WorkerStack

PROFILES: Mapping[str, Mapping[str, Any]] = {
    # For trying it out: no NAT, no idle worker, Spot for all but one, deletable with its data.
    "dev": {
        "egress": Egress.PUBLIC,
        "nat_gateways": 0,
        "disposable": True,
        "log_retention_days": 7,
        "api_cpu": 256,
        "api_memory_mib": 512,
        "api_max_tasks": 4,
        "worker_cpu": 1_024,
        "worker_memory_mib": 2_048,
        "worker_min_tasks": 0,
        "worker_max_tasks": 5,
        # ECS does not fall back from Spot, so the first worker runs on demand.
        "worker_on_demand_base": 1,
        "worker_spot_percent": 100,
    },
    # For production: the defaults.
    "standard": {"egress": Egress.NAT},
    # For production: calls to AWS stay inside the VPC, and only workers reach the internet.
    "private": {"egress": Egress.PRIVATE},
}


def build(app: App, settings: Settings, env: Environment) -> None:
    """Create the stacks of one deployment. An app may contain several deployments."""

    def name(part: str) -> str:
        return f"taskfleet-{settings.environment}-{part}"

    def common() -> dict[str, Any]:
        bootstrap = DefaultStackSynthesizer(qualifier=settings.bootstrap_qualifier)
        return {"settings": settings, "env": env, "synthesizer": bootstrap}

    network = NetworkStack(app, name("network"), **common())
    state = StateStack(app, name("state"), **common())
    api = ApiStack(app, name("api"), network=network, state=state, **common())
    worker = WorkerStack(app, name("worker"), network=network, state=state, **common())
    ObservabilityStack(app, name("observability"), state=state, api=api, worker=worker, **common())
    if settings.github_repository:
        DeliveryStack(app, name("delivery"), **common())

    network.termination_protection = state.termination_protection = settings.is_protected
    Tags.of(app).add("taskfleet:environment", settings.environment)
    for tag, value in settings.tags:
        Tags.of(app).add(tag, value)
    bound_roles(app, settings)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))


def synthesize(app: App, env: Environment) -> Settings:
    """Write the templates for the settings in the app's context; raises ``SettingsError``."""
    settings = load_settings(app.node.get_all_context(), profiles=PROFILES)
    if env.region:
        settings.check_region(env.region)
    build(app, settings, env)
    app.synth()
    return settings


def main() -> None:
    # Set by the CDK CLI. The account is missing without credentials.
    account, region = os.environ.get("CDK_DEFAULT_ACCOUNT"), os.environ.get("CDK_DEFAULT_REGION")
    try:
        synthesize(App(), Environment(account=account, region=region))
    except SettingsError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

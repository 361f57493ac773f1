"""The synthesized templates, shared with the tests of the stacks."""

from tests.cdk.conftest import deployment, deployments, dev, private, standard

__all__ = ["deployment", "deployments", "dev", "private", "standard"]

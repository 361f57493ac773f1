"""The synthesized templates, shared with the tests of the stacks."""

from tests.cdk.conftest import deployments, dev, private, standard

__all__ = ["deployments", "dev", "private", "standard"]

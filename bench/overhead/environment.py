"""Environment and commands of the measured programs."""

import os
import sys
from collections.abc import Mapping

from bench.overhead.stub_aws import StubAws
from local.embedded_aws import isolated
from local.processes import Program


def environment(aws: StubAws) -> Mapping[str, str]:
    """The variables that a program needs to use the stub. Logs are JSON, as in production."""
    return {
        **isolated(os.environ, endpoint_url=aws.endpoint_url),
        "TASK_TABLE": "tasks",
        "TASK_QUEUE_URL": f"{aws.endpoint_url}/000000000000/tasks",
        "RESULT_BUCKET": "results",
        "API_KEYS_SECRET_ID": "api-keys",
        "LOG_FORMAT": "json",
    }


def baseline(module: str, environment: Mapping[str, str]) -> Program:
    return Program(module, (sys.executable, "-m", f"bench.overhead.{module}"), environment)

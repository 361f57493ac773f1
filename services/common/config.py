"""The only reader of the environment: one frozen settings class for each process we run.

A field's environment name is its own in capitals. Fields without a default must be set by the
deployment; everything else has its default here, in the unit that its name ends with
(``_s`` seconds, ``_bytes``, ``_pixels``). ``AWS_ENDPOINT_URL`` and credentials are boto3's own.
"""

import os
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from services.common.task import SubmissionPolicy


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


class RowConfig(BaseSettings):
    """What everybody who ends tasks must agree on."""

    model_config = SettingsConfigDict(frozen=True)

    row_retention_s: PositiveInt = 30 * 86_400
    """How long a finished row is kept; the bucket's lifecycle keeps results as long."""


class ServiceConfig(RowConfig):
    """What every process of ours needs: where the rows and the messages are."""

    aws_region: str
    task_table: str
    task_queue_url: str

    taskfleet_environment: str = "local"
    """Which of the environments that live side by side this is; a dimension of every metric."""
    log_format: Literal["json", "console"] = "json"
    """``console`` is for people; CloudWatch reads ``json``."""


class SubmissionConfig(RowConfig):
    """What a task is promised when it is submitted, and again when it is retried."""

    attempt_limit: PositiveInt = 5
    deadline_s: PositiveInt = 86_400
    first_check_s: PositiveInt = 900
    """When the reconciler first looks at a task that was queued."""

    def submission_policy(self) -> SubmissionPolicy:
        return SubmissionPolicy(
            attempt_limit=self.attempt_limit,
            deadline=timedelta(seconds=self.deadline_s),
            first_check=timedelta(seconds=self.first_check_s),
            retention=timedelta(seconds=self.row_retention_s),
        )


class ExecutionConfig(ServiceConfig):
    """The timing of attempts, which whoever runs or resends tasks must agree on."""

    lease_s: PositiveInt = 60
    """The lease on a claimed task; the queue's visibility timeout is the same."""
    retry_backoff_base_s: PositiveFloat = 5
    retry_backoff_cap_s: PositiveFloat = 300


class ApiConfig(ServiceConfig, SubmissionConfig):
    """The HTTP API."""

    result_bucket: str
    api_keys_secret_id: str

    unsent_check_s: PositiveInt = 10
    """When it looks at a task whose message could not be sent."""
    presigned_url_ttl_s: PositiveInt = 600
    api_keys_refresh_s: PositiveInt = 30
    """How often the keys in memory are read anew; a revocation holds within a minute."""
    api_keys_max_age_s: PositiveInt = 900
    """How long they stay valid while Secrets Manager does not answer."""
    max_body_bytes: PositiveInt = 1_000_000
    submissions_per_minute: NonNegativeInt = 6_000
    """For each client, over all processes; 0 is no limit."""

    api_host: str = "0.0.0.0"  # noqa: S104 - the container's security group decides who reaches it
    api_port: Annotated[int, Field(ge=1, le=65_535)] = 8080
    api_processes: PositiveInt = Field(default_factory=lambda: os.cpu_count() or 1)
    api_threads: PositiveInt = 64
    """Requests under way at once in each process; most of them wait for AWS or their client."""
    api_transfer_timeout_s: PositiveFloat = 10
    """For the whole of a request to arrive, from its first byte: 1 MB at 0.8 Mbit/s; and as long
    for its client to take the response."""
    api_stop_timeout_s: PositiveInt = 25
    """After SIGTERM, for the requests under way; below the 30 s after which ECS kills."""


class WorkerConfig(ExecutionConfig):
    """The worker."""

    result_bucket: str

    worker_concurrency: PositiveInt = 8
    """Tasks under way at once; most of them wait for the network."""
    heartbeat_interval_s: PositiveFloat = 20
    processing_budget_s: PositiveInt = 90
    """All of one attempt: fetch, image, store."""
    stop_timeout_s: PositiveInt = 120
    """How long after SIGTERM the process is killed; Fargate's own maximum is 120."""
    receive_wait_s: Annotated[int, Field(ge=0, le=20)] = 20
    """Long poll; 20 s is the most that SQS takes."""
    health_file: str = "/tmp/taskfleet-worker-health"  # noqa: S108 - the image's one writable folder
    """Rewritten by the poll loop's every round; the container's health check reads when."""

    fetch_max_bytes: PositiveInt = 20_000_000
    fetch_timeout_s: PositiveFloat = 30
    """All of one fetch: look-up, connect, redirects, body."""
    fetch_max_redirects: Annotated[int, Field(ge=0, le=10)] = 3
    fetch_allowed_ports: Annotated[tuple[int, ...], NoDecode] = (80, 443)
    fetch_allowed_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = ()
    """Networks that may be reached although they are not public; widened by local tools only."""

    imaging_processes: PositiveInt = Field(default_factory=lambda: os.cpu_count() or 1)
    imaging_memory_bytes: PositiveInt = 1024**3
    imaging_timeout_s: PositiveFloat = 30
    """CPU time of one image; by the clock it has what is left of the attempt's budget."""
    imaging_max_pixels: PositiveInt = 50_000_000

    _split_ports = field_validator("fetch_allowed_ports", mode="before")(_split)
    _split_networks = field_validator("fetch_allowed_networks", mode="before")(_split)

    @model_validator(mode="after")
    def _a_missed_heartbeat_costs_no_lease(self) -> Self:
        if self.heartbeat_interval_s * 2 > self.lease_s:
            raise ValueError("LEASE_S must be at least twice HEARTBEAT_INTERVAL_S")
        return self


class ReconcilerConfig(ExecutionConfig):
    """The worker image's ``reconcile`` command."""

    dead_letter_queue_url: str

    reconcile_max_backlog: PositiveInt = 500
    """The reconciler sends no message beyond this many visible ones: a backlog is never
    multiplied."""

"""Settings from the environment: one frozen class for each kind of process.

No other module reads the environment. A field is set by the variable of the same name in capitals.
The deployment must set every field that has no default. A name ends with its unit (``_s`` for
seconds, ``_bytes``, ``_pixels``). boto3 itself reads the credentials and the endpoints.
"""

import os
import sys
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

from services.common.task import FailureLimits, SubmissionPolicy
from services.common.version import PROJECT_PAGE


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


Origin = Annotated[str, Field(pattern=r"^https?://[a-z0-9.-]+(:[0-9]{1,5})?$")]
"""Scheme, host and port as a browser sends them: in lower case, without a path."""


def _usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class S3EndpointConfig(BaseSettings):
    """The S3 endpoint that boto3 reads from the same variables.

    Source: "Service-specific endpoints", AWS SDKs and Tools Reference Guide.
    """

    model_config = SettingsConfigDict(frozen=True)

    aws_endpoint_url: str | None = None
    aws_endpoint_url_s3: str | None = None

    def is_custom(self) -> bool:
        return (self.aws_endpoint_url_s3 or self.aws_endpoint_url) is not None


class RetentionConfig(BaseSettings):
    """How long finished tasks are kept. Every process that ends tasks needs the same value."""

    model_config = SettingsConfigDict(frozen=True)

    row_retention_s: PositiveInt = 30 * 86_400
    """How long the row of a finished task is kept. The bucket keeps results equally long."""


class ServiceConfig(RetentionConfig):
    """Settings of every process: where the rows and the messages are."""

    aws_region: str
    task_table: str
    task_queue_url: str

    taskfleet_environment: str = "local"
    """Name of the deployed environment; a dimension of every metric."""
    log_format: Literal["json", "console"] = "json"
    """``json`` for CloudWatch, ``console`` for people."""


class SubmissionConfig(RetentionConfig):
    """Limits of a task, set when it is submitted and again when it is retried."""

    deadline_s: PositiveInt = 86_400
    first_check_s: PositiveInt = 900
    """How long after queuing the reconciler may find that a task has lost its message."""

    def submission_policy(self) -> SubmissionPolicy:
        return SubmissionPolicy(
            deadline=timedelta(seconds=self.deadline_s),
            first_check=timedelta(seconds=self.first_check_s),
            retention=timedelta(seconds=self.row_retention_s),
        )


class ImageConfig(BaseSettings):
    """Limits of an image. The worker enforces them; the API publishes them."""

    model_config = SettingsConfigDict(frozen=True)

    fetch_max_bytes: PositiveInt = 20_000_000
    imaging_max_pixels: PositiveInt = 50_000_000


class ExecutionConfig(ServiceConfig):
    """Timing of attempts. The worker and the reconciler need the same values."""

    lease_s: PositiveInt = 60
    """Lease on a claimed task; equal to the queue's visibility timeout."""
    retry_backoff_base_s: PositiveFloat = 10
    retry_backoff_cap_s: PositiveFloat = 900
    source_failure_limit: PositiveInt = 12
    """How many failures of its image's server end a task. With the backoff above, the last attempt
    starts at least 40 minutes after the first one."""
    crash_limit: PositiveInt = 5
    """How many crashes or timeouts of imaging processes end a task."""
    expired_lease_limit: PositiveInt = 10
    """How many times a task is taken over from a worker that disappeared. An outage of the table
    costs each task in progress one of them."""

    def failure_limits(self) -> FailureLimits:
        return FailureLimits(
            source_failures=self.source_failure_limit,
            crashes=self.crash_limit,
            expired_leases=self.expired_lease_limit,
        )


class ApiConfig(ServiceConfig, SubmissionConfig, ImageConfig):
    """Settings of the HTTP API."""

    result_bucket: str
    api_keys_secret_id: str

    api_keys_refresh_s: PositiveInt = 30
    """How often the API keys are refreshed. A revocation takes effect within a minute."""
    api_keys_max_age_s: PositiveInt = 900
    """How long the API keys stay valid while Secrets Manager is unavailable."""
    max_body_bytes: PositiveInt = 65_536
    submissions_per_minute: NonNegativeInt = 6_000
    """Limit for each client, over all processes. 0 means no limit."""

    api_cors_origins: Annotated[tuple[Origin, ...], NoDecode] = ()
    """Origins of pages that may call the API from a browser, such as ``https://shop.example``."""
    api_host: str = "0.0.0.0"  # noqa: S104 - the container's security group restricts access
    api_port: Annotated[int, Field(ge=1, le=65_535)] = 8080
    api_processes: PositiveInt = Field(default_factory=lambda: os.cpu_count() or 1)
    api_threads: PositiveInt = 64
    """Concurrent requests in each process. Most of them wait for AWS or for their client."""
    api_transfer_timeout_s: PositiveFloat = 10
    """Timeout for reading a whole request, from its first byte, and again for writing its response.
    10 s allow 64 KB at 52 kbit/s."""
    api_request_timeout_s: PositiveFloat = 25
    """Time for a whole request: waiting for a thread, reading, calls to AWS, writing."""
    api_stop_timeout_s: PositiveInt = 25
    """How long requests in flight may still take after SIGTERM. No request may take longer than
    this. It must be below the 30 s after which ECS sends SIGKILL."""

    _split_origins = field_validator("api_cors_origins", mode="before")(_split)

    def submission_threads(self) -> int:
        """How many threads of a process may serve submissions at once: half of them.

        The other half serves the remaining routes while the queue or the table hangs.
        """
        return max(1, self.api_threads // 2)


class WorkerConfig(ExecutionConfig, ImageConfig):
    """Settings of the worker."""

    result_bucket: str
    dead_letter_queue_url: str

    worker_vcpus: PositiveFloat = Field(default_factory=_usable_cores)
    """vCPUs of the container. Each whole one gets a consumer process."""
    worker_concurrency: PositiveInt = 128
    """Maximum number of concurrent tasks of a consumer process. It works on as many as keep its
    vCPU busy; most of them wait for the network."""
    heartbeat_interval_s: PositiveFloat = 20
    processing_budget_s: PositiveInt = 90
    """Time for one whole attempt: fetch, process, store."""
    stop_timeout_s: PositiveInt = 120
    """Time from SIGTERM to SIGKILL. Fargate allows at most 120 s."""
    receive_wait_s: Annotated[int, Field(ge=0, le=20)] = 20
    """Wait time of a long poll. SQS allows at most 20 s."""
    health_file: str = "/tmp/taskfleet-worker-health"  # noqa: S108 - the only writable folder of the image
    """The supervisor writes it, and the container's health check reads it."""

    fetch_timeout_s: PositiveFloat = 30
    """Time for one whole fetch: DNS lookup, connections, redirects and body."""
    fetch_max_redirects: Annotated[int, Field(ge=0, le=10)] = 3
    fetch_allowed_ports: Annotated[tuple[int, ...], NoDecode] = (80, 443)
    fetch_allowed_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = ()
    """Networks that may be reached although they are not public. Only local tools set this."""
    paced_hosts_folder: str = "/tmp/taskfleet-paced-hosts"  # noqa: S108 - see health_file
    """The processes of a container share the pace of requests to image servers through it."""
    fetch_contact: Annotated[str, Field(pattern=r"^[!-'*-\[\]-~]+$")] = PROJECT_PAGE
    """Web page or e-mail address in the User-Agent header, for the operators of image servers. No
    spaces, parentheses or backslashes, because it is part of a comment (RFC 9110 §5.6.5)."""
    fetch_denied_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = ()
    """Networks that are never reached, such as public addresses that the VPC or its peers use."""

    imaging_processes: PositiveInt = 1
    """Imaging processes of a consumer process."""
    imaging_memory_bytes: PositiveInt = 1024**3
    imaging_timeout_s: PositiveFloat = 30
    """CPU time for one image. Its wall-clock limit is the rest of the attempt's budget."""

    @property
    def consumers(self) -> int:
        """The number of consumer processes."""
        return max(1, int(self.worker_vcpus))

    _split_ports = field_validator("fetch_allowed_ports", mode="before")(_split)
    _split_networks = field_validator(
        "fetch_allowed_networks", "fetch_denied_networks", mode="before"
    )(_split)

    @model_validator(mode="after")
    def _lease_survives_a_missed_heartbeat(self) -> Self:
        if self.heartbeat_interval_s * 2 > self.lease_s:
            raise ValueError("LEASE_S must be at least twice HEARTBEAT_INTERVAL_S")
        return self


class ReconcilerConfig(ExecutionConfig):
    """Settings of the ``reconcile`` command of the worker image."""

    dead_letter_queue_url: str

    first_check_s: PositiveInt = 900
    """How long after it was sent a task may be found to have lost its message."""
    queue_count_lag_s: PositiveInt = 60
    """SQS counts messages with a delay of up to a minute, or more while they are sent
    ("GetQueueAttributes", Amazon SQS API Reference)."""
    reconcile_threads: PositiveInt = 16
    """Shards that are reconciled at the same time."""

"""Every size, timeout and limit of a deployment, in one frozen, validated place.

A profile (``dev``, ``standard``, ``private``; see ``app.py``) sets some of these, context given to
the CDK (``-c worker_max_tasks=40``) overrides single ones, and what cannot work together is refused
before anything is synthesized, in one sentence that names the settings at odds.

The docstring under each field is its line in the settings table of the documentation.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from enum import StrEnum
from ipaddress import IPv4Network
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)


class SettingsError(Exception):
    """One sentence that names the setting and says what is wrong with it."""


class Egress(StrEnum):
    """How the containers reach AWS and the internet."""

    PUBLIC = "public"
    """Public subnets and addresses: nothing to pay for while idle."""
    NAT = "nat"
    """Private subnets: everything but S3 and DynamoDB through NAT gateways."""
    PRIVATE = "private"
    """Private subnets: AWS through interface endpoints; only workers reach the NAT gateways."""


FARGATE_MEMORY_MIB: Mapping[int, Sequence[int]] = {
    256: (512, 1_024, 2_048),
    512: range(1_024, 4_096 + 1, 1_024),
    1_024: range(2_048, 8_192 + 1, 1_024),
    2_048: range(4_096, 16_384 + 1, 1_024),
    4_096: range(8_192, 30_720 + 1, 1_024),
}
"""CPU units of a Fargate task, and the sizes of memory that each may have.

Source: "Amazon ECS task definition differences for Fargate", Amazon ECS Developer Guide.
"""

VPC_PREFIX_LENGTHS = range(16, 28 + 1)
"""Source: "VPC CIDR blocks", Amazon VPC User Guide."""

API_KEEP_ALIVE_S = 75
"""For which gunicorn keeps an idle connection: `keepalive` in services/api/gunicorn.conf.py."""

LONGEST_REQUEST_S = 20
"""The longest that a request may run. A container that leaves must not cut it off."""

SCALE_OUT_REACTION_S = 300
"""From a burst until added workers receive: a minute of metric delay, three one-minute data points
of target tracking, and a minute to start. Source: "Target tracking scaling policies", Application
Auto Scaling User Guide."""

FARGATE_START_S = 90
"""From launching a container to its first poll: image pull and process start. Source: measured
pull times of images of this size, "Improve Amazon ECS deployments", Amazon ECS Developer Guide."""

WORKER_BASE_MEMORY_MIB = 512
"""What the worker process needs beside its imaging processes: the interpreter, and the downloads
and results of the tasks under way."""


def _split(value: object) -> object:
    return tuple(value.split(",")) if isinstance(value, str) else value


def _network(value: str) -> str:
    return str(IPv4Network(value))


def _vpc(value: str) -> str:
    if IPv4Network(value).prefixlen not in VPC_PREFIX_LENGTHS:
        raise ValueError("a VPC is a /16 to /28")
    return value


Network = Annotated[str, AfterValidator(_network)]


def _absent_if_empty(value: object) -> object:
    return None if value == "" else value


OptionalText = Annotated[str | None, BeforeValidator(_absent_if_empty)]
"""``-c name=`` is how a command line, or a workflow without a value, says None."""


class Settings(BaseModel):
    """One deployment. Fields without a default are set by every profile."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    # ── The deployment ────────────────────────────────────────────────────────────────────────
    profile: Literal["dev", "standard", "private"]
    """Which set of defaults this deployment starts from."""
    environment: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,19}$")]
    """Names the stacks, so that several deployments share an account; the profile's name unless
    given."""
    disposable: bool = False
    """Whether `destroy` takes the data along; without it, stacks, table and load balancer are
    protected against deletion and data outlives its stack."""
    cpu_architecture: Literal["X86_64", "ARM64"] = "X86_64"
    """Of the images and the containers; must be what the machine that deploys can build."""
    log_retention_days: Literal[1, 3, 7, 14, 30, 60, 90, 180, 365] = 30
    """How long logs are kept: the services', flow logs, access logs."""
    alarm_email: OptionalText = None
    """Where alarms go; AWS asks this address to confirm first. None: subscribe to the topic later.
    """

    # ── Network ───────────────────────────────────────────────────────────────────────────────
    egress: Egress
    """How containers reach AWS and the internet: `public`, `nat` or `private`."""
    vpc_cidr: Annotated[Network, AfterValidator(_vpc)] = "10.0.0.0/16"
    """Address range of the VPC."""
    availability_zones: Annotated[int, Field(ge=2, le=3)] = 2
    """Zones that the load balancer and the containers are spread over."""
    nat_gateways: NonNegativeInt = 2
    """One for each zone keeps a zone's failure local; 1 saves a gateway's price. 0 with `public`
    egress."""

    # ── Edge ──────────────────────────────────────────────────────────────────────────────────
    certificate_arn: OptionalText = None
    """ACM certificate of the load balancer, in its region. Without one only `dev` is synthesized,
    and speaks plain HTTP."""
    domain_name: OptionalText = None
    """The name that the certificate is for; point it at the load balancer with a CNAME or alias."""
    client_networks: Annotated[tuple[Network, ...], BeforeValidator(_split)] = ("0.0.0.0/0",)
    """IPv4 networks (comma-separated) that may connect to the load balancer."""
    rate_limit_per_ip: Annotated[int, Field(ge=10)] = 40_000
    """Requests in five minutes after which an address is blocked until it slows down; above what
    `submissions_per_minute` allows a client, which may have one address only."""
    idle_timeout_s: PositiveInt = 60
    """How long the load balancer keeps an idle connection; below the API's keep-alive, or a reused
    connection may be closed under a request."""
    deregistration_delay_s: PositiveInt = 30
    """How long requests under way on a leaving API container may take: more than the 20 s that a
    client may ask to wait."""

    # ── API ───────────────────────────────────────────────────────────────────────────────────
    api_cpu: int = 512
    """CPU units of an API container; 1024 are one vCPU."""
    api_memory_mib: int = 1_024
    """Memory of an API container."""
    api_min_tasks: Annotated[int, Field(ge=2)] = 2
    """Containers at least; two, so that a zone may fail."""
    api_max_tasks: PositiveInt = 10
    """Containers at most."""
    api_requests_per_minute: PositiveInt = 1_000
    """Requests per container and minute that scaling aims at."""
    api_processes: PositiveInt = 2
    """Processes of gunicorn in a container."""
    submissions_per_minute: NonNegativeInt = 6_000
    """Tasks that one client may submit in a minute, over all containers; 0 is no limit."""
    api_graceful_timeout_s: PositiveInt = 25
    """After SIGTERM, for the requests under way."""
    api_stop_timeout_s: Annotated[int, Field(le=120)] = 30
    """From SIGTERM to SIGKILL; 120 is Fargate's most."""
    api_p99_latency_alarm_s: PositiveFloat = 2
    """99th percentile of the response time that raises the alarm."""
    api_error_rate_alarm_percent: PositiveFloat = 1
    """Share of 5xx answers that raises the alarm."""

    # ── Workers ───────────────────────────────────────────────────────────────────────────────
    worker_cpu: int = 2_048
    """CPU units of a worker container; 1024 are one vCPU."""
    worker_memory_mib: int = 4_096
    """Memory of a worker container."""
    worker_min_tasks: NonNegativeInt = 1
    """Containers at least; 0 costs nothing while idle and a container's start on the first task."""
    worker_max_tasks: PositiveInt = 20
    """Containers at most: the bound on cost, and on the load that sources of images see."""
    worker_on_demand_base: NonNegativeInt = 1
    """How many of the containers always run on demand, so that work goes on without Spot."""
    worker_spot_percent: Annotated[int, Field(ge=0, le=100)] = 75
    """Share of the containers beyond the base that run on Fargate Spot."""
    worker_concurrency: PositiveInt = 8
    """Tasks under way at once in a container; most of them wait for the network."""
    imaging_processes: PositiveInt = 2
    """Child processes that decode and encode images in a container."""
    imaging_memory_mib: PositiveInt = 1_024
    """Memory limit of each."""

    # ── Scaling of the workers ────────────────────────────────────────────────────────────────
    start_promise_s: PositiveInt = 600
    """A task starts within this time, even one that comes in a burst, up to `worker_max_tasks`."""
    task_cpu_s: PositiveFloat = 0.4
    """CPU seconds of a vCPU that a task costs: a 3840x2160 JPEG to gray, fetched and stored."""
    worker_from_zero_tasks: NonNegativeInt = 2
    """Containers started when messages wait and none runs; 0 turns this step off."""
    worker_from_zero_cooldown_s: PositiveInt = 180
    """No second such step within this time."""
    worker_scale_out_cooldown_s: PositiveInt = 60
    """Between two steps up of target tracking."""
    worker_scale_in_cooldown_s: PositiveInt = 600
    """Between two steps down: a worker that leaves may put work back, so not in haste."""

    # ── Queue and attempts ────────────────────────────────────────────────────────────────────
    visibility_timeout_s: Annotated[int, Field(ge=1, le=43_200)] = 60
    """Of a received message, and the lease on its task: how soon a dead worker's task is retried.
    """
    heartbeat_interval_s: PositiveInt = 20
    """How often a worker renews both."""
    processing_budget_s: PositiveInt = 90
    """All of one attempt: fetch, image, store."""
    worker_stop_timeout_s: Annotated[int, Field(le=120)] = 120
    """From SIGTERM to SIGKILL; 120 is Fargate's most."""
    attempt_limit: PositiveInt = 5
    """Attempts that a task has."""
    max_receive_count: Annotated[int, Field(ge=1, le=1_000)] = 15
    """Receives after which SQS moves a message to the dead-letter queue: a backstop, since
    put-backs and shutdowns count too."""
    queue_retention_days: Annotated[int, Field(ge=1, le=14)] = 4
    """How long a message waits at most."""
    dead_letter_retention_days: Annotated[int, Field(ge=1, le=14)] = 14
    """The same in the dead-letter queue, counted from the first send."""

    # ── Data ──────────────────────────────────────────────────────────────────────────────────
    result_retention_days: PositiveInt = 30
    """How long results, losers' results and rows of finished tasks are kept."""
    upload_retention_days: PositiveInt = 1
    """How long uploaded images are kept."""

    # ── Reconciler ────────────────────────────────────────────────────────────────────────────
    reconcile_interval_min: Annotated[int, Field(ge=1, le=60)] = 5
    """How often open tasks are looked after."""
    reconciler_cpu: int = 256
    """CPU units of the run."""
    reconciler_memory_mib: int = 512
    """Memory of the run."""

    # ── Delivery ──────────────────────────────────────────────────────────────────────────────
    github_repository: Annotated[
        Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")] | None,
        BeforeValidator(_absent_if_empty),
    ] = None
    """`owner/name` of the repository whose workflows may deploy; None: no delivery stack."""
    oidc_provider_arn: OptionalText = None
    """The account's provider for GitHub, of which it can have only one; None: created here."""
    bootstrap_qualifier: str = "hnb659fds"
    """Of the account's CDK bootstrap, whose roles the deploy role may assume."""

    @property
    def backlog_per_worker(self) -> float:
        """Tasks, visible and in flight, that one worker container can start in time.

        What it gets through between joining and the end of the promise.
        """
        tasks_per_s = self.worker_cpu / 1_024 / self.task_cpu_s
        return (self.start_promise_s - SCALE_OUT_REACTION_S) * tasks_per_s

    @model_validator(mode="after")
    def _edge_is_safe(self) -> Self:
        if self.certificate_arn is None and self.profile != "dev":
            raise ValueError(
                f"certificate_arn must be given with profile {self.profile!r}: "
                "only 'dev' may speak plain HTTP"
            )
        if self.rate_limit_per_ip < 5 * self.submissions_per_minute:
            raise ValueError(
                f"rate_limit_per_ip ({self.rate_limit_per_ip}) must be at least five times "
                f"submissions_per_minute ({self.submissions_per_minute}), or the firewall blocks a "
                "client that keeps to its limit"
            )
        if (self.egress is Egress.PUBLIC) != (self.nat_gateways == 0):
            raise ValueError(
                f"nat_gateways ({self.nat_gateways}) must be 0 with egress 'public' "
                f"and at least 1 otherwise (egress is {self.egress.value!r})"
            )
        if self.nat_gateways > self.availability_zones:
            raise ValueError(
                f"nat_gateways ({self.nat_gateways}) must not be more than "
                f"availability_zones ({self.availability_zones})"
            )
        return self

    @model_validator(mode="after")
    def _containers_fit(self) -> Self:
        for service in ("api", "worker", "reconciler"):
            cpu, memory = getattr(self, f"{service}_cpu"), getattr(self, f"{service}_memory_mib")
            if cpu not in FARGATE_MEMORY_MIB:
                sizes = ", ".join(map(str, FARGATE_MEMORY_MIB))
                raise ValueError(f"{service}_cpu ({cpu}) must be one of Fargate's sizes: {sizes}")
            if memory not in FARGATE_MEMORY_MIB[cpu]:
                sizes = ", ".join(map(str, FARGATE_MEMORY_MIB[cpu]))
                raise ValueError(
                    f"{service}_memory_mib ({memory}) must be one of Fargate's sizes with "
                    f"{service}_cpu ({cpu}): {sizes}"
                )
        needed = self.imaging_processes * self.imaging_memory_mib + WORKER_BASE_MEMORY_MIB
        if needed > self.worker_memory_mib:
            raise ValueError(
                f"worker_memory_mib ({self.worker_memory_mib}) must hold imaging_processes * "
                f"imaging_memory_mib + {WORKER_BASE_MEMORY_MIB} MiB for the worker itself "
                f"({needed} MiB)"
            )
        return self

    @model_validator(mode="after")
    def _scaling_has_room(self) -> Self:
        for service in ("api", "worker"):
            least, most = (
                getattr(self, f"{service}_min_tasks"),
                getattr(self, f"{service}_max_tasks"),
            )
            if least > most:
                raise ValueError(
                    f"{service}_min_tasks ({least}) must not be above {service}_max_tasks ({most})"
                )
        if self.worker_min_tasks == 0 and self.worker_from_zero_tasks == 0:
            raise ValueError(
                "worker_min_tasks (0) needs worker_from_zero_tasks (0) to be at least 1, "
                "or no worker would ever start"
            )
        if self.worker_from_zero_cooldown_s <= FARGATE_START_S:
            raise ValueError(
                f"worker_from_zero_cooldown_s ({self.worker_from_zero_cooldown_s}) must be longer "
                f"than the start of a container ({FARGATE_START_S} s); otherwise the step "
                "repeats while the first containers start"
            )
        if self.start_promise_s <= SCALE_OUT_REACTION_S:
            raise ValueError(
                f"start_promise_s ({self.start_promise_s}) must be longer than "
                f"the reaction to a burst ({SCALE_OUT_REACTION_S} s); otherwise added workers "
                "start too late"
            )
        if self.backlog_per_worker <= self.worker_concurrency:
            raise ValueError(
                f"start_promise_s ({self.start_promise_s}) leaves a worker a backlog of "
                f"{self.backlog_per_worker:.0f} tasks, which must be more than worker_concurrency "
                f"({self.worker_concurrency}), or a busy fleet without a queue would grow"
            )
        return self

    @model_validator(mode="after")
    def _timeouts_fit_into_each_other(self) -> Self:
        if self.visibility_timeout_s < 2 * self.heartbeat_interval_s:
            raise ValueError(
                f"visibility_timeout_s ({self.visibility_timeout_s}) must be at least twice "
                f"heartbeat_interval_s ({self.heartbeat_interval_s}), or one late heartbeat loses "
                "the task"
            )
        if self.processing_budget_s >= self.worker_stop_timeout_s:
            raise ValueError(
                f"processing_budget_s ({self.processing_budget_s}) must be below "
                f"worker_stop_timeout_s ({self.worker_stop_timeout_s}), or a leaving worker is "
                "killed in mid-task"
            )
        if self.idle_timeout_s >= API_KEEP_ALIVE_S:
            raise ValueError(
                f"idle_timeout_s ({self.idle_timeout_s}) must be below the API's keep-alive "
                f"({API_KEEP_ALIVE_S}), or a connection is closed under a request"
            )
        if self.deregistration_delay_s <= LONGEST_REQUEST_S:
            raise ValueError(
                f"deregistration_delay_s ({self.deregistration_delay_s}) must be above the longest "
                f"request ({LONGEST_REQUEST_S}), or a leaving container cuts it off"
            )
        if self.api_graceful_timeout_s >= self.api_stop_timeout_s:
            raise ValueError(
                f"api_graceful_timeout_s ({self.api_graceful_timeout_s}) must be below "
                f"api_stop_timeout_s ({self.api_stop_timeout_s}), or requests under way are cut off"
            )
        if self.dead_letter_retention_days <= self.queue_retention_days:
            raise ValueError(
                f"dead_letter_retention_days ({self.dead_letter_retention_days}) must be above "
                f"queue_retention_days ({self.queue_retention_days}): a dead letter's age counts "
                "from its first send"
            )
        if self.max_receive_count < 3 * self.attempt_limit:
            raise ValueError(
                f"max_receive_count ({self.max_receive_count}) must be at least three times "
                f"attempt_limit ({self.attempt_limit}): put-backs and shutdowns consume receives"
            )
        return self


def load_settings(
    context: Mapping[str, Any], *, profiles: Mapping[str, Mapping[str, Any]]
) -> Settings:
    """The settings that CDK context asks for; raises :class:`SettingsError`.

    Context that belongs to the CDK itself is recognized by the colon in its name.
    """
    given = {name: value for name, value in context.items() if ":" not in name}
    profile = given.pop("profile", None)
    if profile not in profiles:
        raise SettingsError(
            f"There is no profile {profile!r}: choose one of {', '.join(profiles)}."
        )
    for name in given:
        if name not in Settings.model_fields:
            near = get_close_matches(name, Settings.model_fields, n=1)
            hint = f": did you mean {near[0]!r}?" if near else "."
            raise SettingsError(f"There is no setting {name!r}{hint}")
    try:
        return Settings.model_validate(
            {"profile": profile, "environment": profile, **profiles[profile], **given}
        )
    except ValidationError as invalid:
        raise SettingsError(_sentence(invalid)) from None


def _sentence(invalid: ValidationError) -> str:
    first = invalid.errors()[0]
    reason = first.get("ctx", {}).get("error", first["msg"])
    if not first["loc"]:  # of several settings, which the reason names
        return f"{reason}."
    return f"{first['loc'][0]} cannot be {first['input']!r}: {reason}."

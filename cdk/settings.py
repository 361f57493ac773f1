"""The settings of a deployment: sizes, timeouts and limits.

A profile (``dev``, ``standard`` or ``private``; see ``app.py``) sets some of them. CDK context such
as ``-c worker_max_tasks=40`` overrides single ones. Invalid or contradictory settings stop the
synthesis with one sentence that names them.

The docstring below each field is its description in the settings table of the documentation.
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
    """A setting is invalid, or settings contradict each other. The message is one sentence."""


class Egress(StrEnum):
    """How containers reach AWS and the internet."""

    PUBLIC = "public"
    """Public subnets and public addresses. Free while idle."""
    NAT = "nat"
    """Private subnets. All traffic except to S3 and DynamoDB goes through NAT gateways."""
    PRIVATE = "private"
    """Private subnets. AWS is reached through VPC endpoints; only workers use NAT gateways."""


FARGATE_MEMORY_MIB: Mapping[int, Sequence[int]] = {
    256: (512, 1_024, 2_048),
    512: range(1_024, 4_096 + 1, 1_024),
    1_024: range(2_048, 8_192 + 1, 1_024),
    2_048: range(4_096, 16_384 + 1, 1_024),
    4_096: range(8_192, 30_720 + 1, 1_024),
}
"""Memory sizes that Fargate supports for each number of CPU units.

Source: "Amazon ECS task definition differences for Fargate", Amazon ECS Developer Guide.
"""

MAX_ZONES = 3
SUBNETS_PER_ZONE_BITS = 4
"""A zone has three subnets. The nine of three zones fit into 16, so prefixes are longer by four."""

VPC_PREFIX_LENGTHS = range(16, 23 + 1)
"""A VPC is at most a /16, and the subnets of a load balancer must be at least a /27.

Sources: "VPC CIDR blocks", Amazon VPC User Guide; "Subnets for your load balancer", User Guide for
Application Load Balancers.
"""

PRIVATE_RANGES = tuple(
    map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"))
)
"""Addresses that are never public. Sources: RFC 1918 and RFC 6598."""

RESERVED_ADDRESSES = 5
"""Addresses of each subnet that AWS keeps. Source: "Subnet CIDR blocks", Amazon VPC User Guide."""

API_KEEP_ALIVE_S = 75
"""How long the API keeps an idle connection. Equals ``keepalive`` in gunicorn.conf.py."""

LONGEST_REQUEST_S = 20
"""The longest request: 10 s to receive it and 10 s until the client has read the response, by
``api_transfer_timeout_s`` of the API. The time of AWS calls in between, normally milliseconds, is
not included."""

SCALE_OUT_REACTION_S = 300
"""From a burst until added workers receive messages. An estimate: a minute until the metric is
published, three data points of one minute until target tracking scales out, and a minute to start
a container. AWS's pages on target tracking state no time. In AWS's own benchmark with one-minute
metrics, target tracking took longer: 363 s to scale out, 386 s until the containers ran.

Source: "Amazon ECS introduces new high-resolution metrics for faster service auto scaling", AWS
News Blog, June 2026."""

FARGATE_START_S = 90
"""From launching a container to its first poll. An estimate: AWS re:Post calls 30 to 45 s or longer
normal, and a larger image takes longer to pull.

Source: "How to speed up provisioning of ECS Fargate task", AWS re:Post; "Linux containers on
Fargate container image pull behavior for Amazon ECS", Amazon ECS Developer Guide."""

FROM_ZERO_MEMORY_S = 420
"""How long the alarm that starts workers from zero may still see none after one runs. The alarm
looks back seven minutes, and the count of running workers is up to three minutes late."""

CONSUMER_MEMORY_MIB = 512
"""Memory of a consumer process without its imaging process: 256 MiB for results that wait to be
stored (``RESERVATIONS`` in services/worker/result_memory.py), a further 64 MiB while one of them is
received, and 192 MiB for the process with 128 tasks and its share of the supervisor. Downloads are
on disk. Two consumer processes with 64 tasks each, the supervisor and two imaging processes took
332 MB together, measured with small images."""


def _split(value: object) -> object:
    return tuple(filter(None, value.split(","))) if isinstance(value, str) else value


def _network(value: str) -> str:
    return str(IPv4Network(value))


def _vpc(value: str) -> str:
    network = IPv4Network(value)
    if network.prefixlen not in VPC_PREFIX_LENGTHS:
        raise ValueError(
            "the VPC must be a /16 to /23, because its nine subnets must be /27 at least"
        )
    if not any(map(network.subnet_of, PRIVATE_RANGES)):
        ranges = ", ".join(map(str, PRIVATE_RANGES))
        raise ValueError(f"the VPC's addresses must be private, within one of {ranges}")
    return value


LOG_RETENTION_DAYS = (1, 3, 7, 14, 30, 60, 90, 180, 365)


def _log_retention(value: int) -> int:
    if value not in LOG_RETENTION_DAYS:
        raise ValueError(f"CloudWatch Logs keeps {', '.join(map(str, LOG_RETENTION_DAYS))} days")
    return value


Origin = Annotated[str, Field(pattern=r"^https?://[a-z0-9.-]+(:[0-9]{1,5})?$")]
"""Scheme, host and port as a browser sends them: in lower case, without a path."""

Network = Annotated[str, AfterValidator(_network)]


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


ACM_CERTIFICATE = r"^arn:aws(-cn|-us-gov)?:acm:[a-z0-9-]+:\d{12}:certificate/[\w-]+$"

IAM_POLICY = r"^arn:aws(-cn|-us-gov)?:iam::(aws|\d{12}):policy/[\w+=,.@/-]+$"
ROLE_PATH = r"^/([\w+=,.@-]+/)+$"
TOPIC = r"^arn:aws(-cn|-us-gov)?:sns:[a-z0-9-]+:\d{12}:[\w-]+$"
WEB_ACL = (
    r"^(create|none|arn:aws(-cn|-us-gov)?:wafv2:[a-z0-9-]+:\d{12}:regional/webacl/[\w-]+/[\w-]+)$"
)
BUSY_HOURS = r"^(?P<days>[A-Z]{3}(-[A-Z]{3})?)/(?P<first>\d{1,2})-(?P<last>\d{1,2})$"


def _tags(value: object) -> object:
    if not isinstance(value, str):
        return value
    pairs = [pair.partition("=") for pair in value.split(",") if pair]
    if not all(name and separator for name, separator, _ in pairs):
        raise ValueError("tags are written as name=value,name=value")
    return tuple((name, text) for name, _, text in pairs)


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""Words separated by commas."""

SubnetIds = Annotated[
    tuple[Annotated[str, Field(pattern=r"^subnet-[0-9a-f]{8,17}$")], ...], BeforeValidator(_split)
]

OptionalText = Annotated[str | None, BeforeValidator(_none_if_empty)]
"""Text or None. ``-c name=`` means None, since a workflow cannot leave out an empty variable."""


class Settings(BaseModel):
    """The settings of one deployment. Every profile sets the fields without a default."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    # ── The deployment ────────────────────────────────────────────────────────────────────────
    profile: Literal["dev", "standard", "private"]
    """Set of defaults that this deployment starts from."""
    environment: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,19}$")]
    """Name of the deployment, part of its stacks' names. An account can hold several. Default: the
    profile."""
    disposable: bool = False
    """Whether `make destroy` deletes the data too. If not, stacks, table and load balancer are
    protected against deletion, and the data outlives its stack."""
    deletion_protection: bool = True
    """Whether an environment that is not disposable is protected. `make deploy` turns it off until
    the first deployment has succeeded, so that a failed one can be rolled back."""
    cpu_architecture: Literal["X86_64", "ARM64"] = "X86_64"
    """Architecture of images and containers. The machine that deploys must be able to build it."""
    base_image: OptionalText = None
    """Base image of both containers, such as a copy in your own registry. Default: the one that the
    Dockerfiles pin by its digest."""
    tags: Annotated[tuple[tuple[str, str], ...], BeforeValidator(_tags)] = ()
    """Tags of all resources, as `name=value,name=value`."""
    permissions_boundary_arn: Annotated[
        Annotated[str, Field(pattern=IAM_POLICY)] | None, BeforeValidator(_none_if_empty)
    ] = None
    """IAM policy that bounds the permissions of every role."""
    role_path: Annotated[
        Annotated[str, Field(pattern=ROLE_PATH)] | None, BeforeValidator(_none_if_empty)
    ] = None
    """IAM path of every role, such as `/taskfleet/`."""
    log_retention_days: Annotated[int, AfterValidator(_log_retention)] = 30
    """How long service logs, flow logs and access logs are kept."""
    alarm_email: OptionalText = None
    """Address that receives alarms. AWS asks it to confirm first. Without one, subscribe to the
    topic yourself."""
    alarm_topic_arn: Annotated[
        Annotated[str, Field(pattern=TOPIC)] | None, BeforeValidator(_none_if_empty)
    ] = None
    """Existing SNS topic for alarms instead of a new one. Its policy must let CloudWatch
    publish."""
    ecs_exec: bool = False
    """Whether operators may open a shell in a container of the API or a worker. For emergencies:
    it makes the root file systems of these containers writable, which ECS Exec needs."""
    backup_retention_days: NonNegativeInt = 0
    """How long AWS Backup keeps a daily backup of the table. 0 means no backups. Point-in-time
    recovery is always on."""

    # ── Network ───────────────────────────────────────────────────────────────────────────────
    egress: Egress
    """How containers reach AWS and the internet: `public`, `nat` or `private`."""
    vpc_cidr: Annotated[Network, AfterValidator(_vpc)] = "10.0.0.0/16"
    """Private address range of the VPC, /16 to /23."""
    availability_zones: Annotated[int, Field(ge=2, le=MAX_ZONES)] = 2
    """Number of zones for the load balancer and the containers."""
    zone_names: Names = ()
    """Names of the zones, separated by commas. Without names, the first ones of the region, which
    may lack Fargate in us-west-1 and ap-northeast-1."""
    nat_gateways: NonNegativeInt = 2
    """Number of NAT gateways. One per zone limits the effect of a zone failure; 1 costs less. Must
    be 0 with `public` egress. Not used with `vpc_id`."""
    vpc_id: Annotated[
        Annotated[str, Field(pattern=r"^vpc-[0-9a-f]{8,17}$")] | None,
        BeforeValidator(_none_if_empty),
    ] = None
    """Existing VPC to use instead of a new one. Its owner provides routes and endpoints that fit
    `egress`."""
    load_balancer_subnet_ids: SubnetIds = ()
    """Subnets of the existing VPC for the load balancer, at least two, in different zones."""
    worker_subnet_ids: SubnetIds = ()
    """Subnets of the existing VPC for workers, at least two, with a route to the internet."""
    internal_subnet_ids: SubnetIds = ()
    """Subnets of the existing VPC for the API and the reconciler. Default: those of the workers."""
    denied_networks: Annotated[tuple[Network, ...], BeforeValidator(_split)] = ()
    """Networks that workers never download from, such as public ranges that the VPC or its peers
    use. Private ranges are always denied. Required with `vpc_id`: the ranges of that VPC."""
    cluster_name: OptionalText = None
    """Existing ECS cluster. It must have Container Insights and the capacity providers FARGATE and
    FARGATE_SPOT."""

    # ── Edge ──────────────────────────────────────────────────────────────────────────────────
    internal_load_balancer: bool = False
    """Whether only the VPC and networks that are connected to it reach the load balancer."""
    hosted_zone_id: Annotated[
        Annotated[str, Field(pattern=r"^Z[A-Z0-9]{1,31}$")] | None, BeforeValidator(_none_if_empty)
    ] = None
    """Route 53 zone in which the deployment creates the record of `domain_name` and, without
    `certificate_arn`, the certificate."""
    web_acl: Annotated[str, Field(pattern=WEB_ACL)] = "create"
    """Firewall of the load balancer: `create`, `none`, or the ARN of an existing regional web
    ACL."""
    certificate_arn: Annotated[
        Annotated[str, Field(pattern=ACM_CERTIFICATE)] | None, BeforeValidator(_none_if_empty)
    ] = None
    """ACM certificate of the load balancer, from the same region. Only `dev` works without one,
    over plain HTTP."""
    domain_name: OptionalText = None
    """Name on the certificate. Point it at the load balancer with a CNAME or alias record. Without
    it, clients must know the name, because no certificate names the load balancer itself."""
    client_networks: Annotated[
        tuple[Network, ...], BeforeValidator(_split), Field(min_length=1)
    ] = ("0.0.0.0/0",)
    """IPv4 networks, separated by commas, that may connect to the load balancer."""
    rate_limit_per_ip: Annotated[int, Field(ge=10)] = 40_000
    """Requests within five minutes before the firewall blocks an IP address until it slows down.
    Must leave room for `submissions_per_minute`, because a client may have only one address."""
    idle_timeout_s: PositiveInt = 60
    """How long the load balancer keeps an idle connection. Must be shorter than the API's
    keep-alive, or the API may close a connection that the load balancer is about to use."""
    deregistration_delay_s: PositiveInt = 30
    """How long open requests may take on an API container that stops. Must exceed the longest
    request."""

    # ── API ───────────────────────────────────────────────────────────────────────────────────
    api_cpu: int = 512
    """CPU units of an API container. 1024 units are one vCPU."""
    api_memory_mib: int = 1_024
    """Memory of an API container."""
    api_min_tasks: Annotated[int, Field(ge=2)] = 2
    """Minimum number of API containers. At least two, in case a zone fails."""
    api_max_tasks: PositiveInt = 10
    """Maximum number of API containers."""
    api_requests_per_minute: PositiveInt = 1_000
    """Requests per container and minute that scaling aims for."""
    api_processes: PositiveInt = 2
    """gunicorn processes per container."""
    cors_origins: Annotated[tuple[Origin, ...], BeforeValidator(_split)] = ()
    """Origins, separated by commas, whose pages may call the API from a browser, such as
    `https://shop.example`."""
    submissions_per_minute: NonNegativeInt = 6_000
    """Tasks that one client may submit per minute, across all containers. 0 means no limit."""
    api_graceful_timeout_s: PositiveInt = 25
    """Time after SIGTERM to complete open requests."""
    api_stop_timeout_s: Annotated[int, Field(le=120)] = 30
    """Time between SIGTERM and SIGKILL. Fargate allows up to 120."""
    api_p99_latency_alarm_s: PositiveFloat = 2
    """99th percentile of the response time that triggers the alarm."""
    api_error_rate_alarm_percent: PositiveFloat = 1
    """Share of 5xx responses that triggers the alarm."""

    # ── Workers ───────────────────────────────────────────────────────────────────────────────
    worker_cpu: int = 2_048
    """CPU units of a worker container. 1024 units are one vCPU."""
    worker_memory_mib: int = 4_096
    """Memory of a worker container."""
    worker_min_tasks: NonNegativeInt = 1
    """Minimum number of workers. 0 costs nothing while idle, but the first task waits for a
    container to start."""
    worker_max_tasks: PositiveInt = 20
    """Maximum number of workers. Limits the cost and the load on image servers."""
    worker_on_demand_base: NonNegativeInt = 1
    """Number of workers that always run on demand, so that tasks continue without Spot capacity."""
    worker_busy_min_tasks: NonNegativeInt = 0
    """Minimum number of workers during `worker_busy_hours`. 0 means no schedule."""
    worker_busy_hours: Annotated[str, Field(pattern=BUSY_HOURS)] = "MON-FRI/8-18"
    """Days and hours with the other minimum, as `MON-FRI/8-18`."""
    worker_busy_time_zone: str = "Etc/UTC"
    """Time zone of `worker_busy_hours`, such as `Europe/Berlin`."""
    worker_spot_percent: Annotated[int, Field(ge=0, le=100)] = 75
    """Share of the other workers that run on Fargate Spot."""
    worker_concurrency: PositiveInt = 128
    """Maximum number of tasks that a worker works on at the same time, for each vCPU. It works on
    as many as keep its CPU busy; most of them wait for the network."""
    imaging_memory_mib: PositiveInt = 1_024
    """Memory limit of the process that decodes and encodes images, one for each vCPU."""

    fetch_contact: Annotated[
        Annotated[str, Field(pattern=r"^[!-'*-\[\]-~]+$")] | None,
        BeforeValidator(_none_if_empty),
    ] = None
    """Web page or e-mail address that workers send to image servers in the `User-Agent` header, so
    that their operators can reach you. Without one, the project's page."""

    # ── Scaling of the workers ────────────────────────────────────────────────────────────────
    start_promise_s: PositiveInt = 600
    """Every task starts within this time, even in a burst, as long as `worker_max_tasks` workers
    can keep up."""
    task_cpu_s: PositiveFloat = 0.4
    """CPU time of one task. The default fits a 3840x2160 JPEG that is downloaded, converted to gray
    and stored."""
    worker_from_zero_tasks: NonNegativeInt = 2
    """Workers to start when messages wait and no worker runs. 0 turns this off."""
    worker_from_zero_cooldown_s: PositiveInt = 540
    """Minimum time between two starts from zero. Must be longer than it takes until CloudWatch
    counts the first workers."""
    worker_scale_out_cooldown_s: PositiveInt = 60
    """Minimum time between two scale-outs by target tracking."""
    worker_scale_in_cooldown_s: PositiveInt = 600
    """Minimum time between two scale-ins. Long, because a worker that stops may give tasks back."""

    # ── Queue and attempts ────────────────────────────────────────────────────────────────────
    visibility_timeout_s: Annotated[int, Field(ge=1, le=43_200)] = 60
    """Visibility timeout of a received message and lease on its task. After a worker dies, its
    tasks are retried after this time."""
    heartbeat_interval_s: PositiveInt = 20
    """How often a worker extends the lease and the visibility timeout."""
    processing_budget_s: PositiveInt = 90
    """Maximum duration of one attempt: download, processing and upload."""
    worker_stop_timeout_s: Annotated[int, Field(le=120)] = 120
    """Time between SIGTERM and SIGKILL. Fargate allows up to 120."""
    max_receive_count: Annotated[int, Field(ge=100, le=1_000)] = 1_000
    """Receives before SQS moves a message to the dead-letter queue. A backstop: messages that
    workers give back count too, and workers move what they cannot read by themselves. SQS allows up
    to 1,000."""
    keep_previous_index: bool = False
    """Keep the table's index OpenTasks, which earlier versions read. Set it for the deployment that
    replaces such a version, and as long as you may roll back to it. CloudFormation cannot create
    one index and delete another in the same update."""
    queue_retention_days: Annotated[int, Field(ge=1, le=14)] = 4
    """How long a message may wait in the queue."""
    dead_letter_retention_days: Annotated[int, Field(ge=1, le=14)] = 14
    """How long a message stays in the dead-letter queue, counted from its first send."""

    # ── Data ──────────────────────────────────────────────────────────────────────────────────
    result_retention_days: PositiveInt = 30
    """How long results and the rows of final tasks are kept."""
    upload_retention_days: PositiveInt = 1
    """How long uploaded images are kept."""

    # ── Reconciler ────────────────────────────────────────────────────────────────────────────
    reconcile_interval_min: Annotated[int, Field(ge=1, le=60)] = 5
    """How often the reconciler runs."""
    reconciler_cpu: int = 256
    """CPU units of the reconciler."""
    reconciler_memory_mib: int = 512
    """Memory of the reconciler."""

    # ── Delivery ──────────────────────────────────────────────────────────────────────────────
    github_repository: Annotated[
        Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")] | None,
        BeforeValidator(_none_if_empty),
    ] = None
    """Repository, as `owner/name`, whose workflows may deploy. Without one, there is no delivery
    stack."""
    oidc_provider_arn: OptionalText = None
    """The account's OIDC provider for GitHub; an account can have only one. Without one, the stack
    creates it."""
    bootstrap_qualifier: str = "hnb659fds"
    """Qualifier of the account's CDK bootstrap, whose roles, bucket and repository deployments
    use."""

    def check_region(self, region: str) -> None:
        """Raise :class:`SettingsError` if a setting belongs to another region."""
        if self.certificate_arn and self.certificate_arn.split(":")[3] != region:
            raise SettingsError(
                f"certificate_arn ({self.certificate_arn}) must be in the region of the "
                f"deployment ({region})."
            )

    @property
    def busy_hours(self) -> tuple[str, int, int]:
        """Days, first hour and last hour of `worker_busy_hours`."""
        days, _, hours = self.worker_busy_hours.partition("/")
        first, _, last = hours.partition("-")
        return days, int(first), int(last)

    @property
    def has_https(self) -> bool:
        """Whether the load balancer has a certificate, given or created."""
        return self.certificate_arn is not None or self.hosted_zone_id is not None

    @property
    def is_protected(self) -> bool:
        """Whether stacks, table and load balancer are protected against deletion."""
        return self.deletion_protection and not self.disposable

    @property
    def vpc_network(self) -> IPv4Network:
        """Address range of the VPC that the deployment creates."""
        return IPv4Network(self.vpc_cidr)

    @property
    def networks_denied_to_workers(self) -> tuple[str, ...]:
        """Networks that no download may reach: `denied_networks` and the VPC."""
        own = () if self.vpc_id else (self.vpc_cidr,)
        return own + self.denied_networks

    @property
    def worker_consumers(self) -> int:
        """Consumer processes of a worker: one for each whole vCPU."""
        return max(1, self.worker_cpu // 1_024)

    @property
    def backlog_per_worker(self) -> float:
        """Messages, visible and in flight, per worker that the fleet can start in time.

        This is what an added worker completes between its start and the end of the promise.
        """
        tasks_per_s = self.worker_cpu / 1_024 / self.task_cpu_s
        return (self.start_promise_s - SCALE_OUT_REACTION_S) * tasks_per_s

    @model_validator(mode="after")
    def _edge_is_safe(self) -> Self:
        if not self.has_https and self.profile != "dev":
            raise ValueError(
                f"certificate_arn or hosted_zone_id must be given with profile {self.profile!r}: "
                "only 'dev' may speak plain HTTP"
            )
        if self.hosted_zone_id and not self.domain_name:
            raise ValueError(
                f"domain_name must be given with hosted_zone_id ({self.hosted_zone_id})"
            )
        if self.alarm_topic_arn and self.alarm_email:
            raise ValueError(
                f"alarm_email ({self.alarm_email}) must subscribe to alarm_topic_arn "
                f"({self.alarm_topic_arn}) outside this deployment"
            )
        if self.rate_limit_per_ip < 5 * self.submissions_per_minute:
            raise ValueError(
                f"rate_limit_per_ip ({self.rate_limit_per_ip}) must be at least five times "
                f"submissions_per_minute ({self.submissions_per_minute}), or the firewall blocks "
                "clients that keep to their limit"
            )
        if (self.egress is Egress.PUBLIC) != (self.nat_gateways == 0):
            raise ValueError(
                f"nat_gateways ({self.nat_gateways}) must be 0 with egress 'public' "
                f"and at least 1 with other egress (egress is {self.egress.value!r})"
            )
        return self

    @model_validator(mode="after")
    def _network_is_complete(self) -> Self:
        if self.nat_gateways > self.availability_zones:
            raise ValueError(
                f"nat_gateways ({self.nat_gateways}) must not be more than "
                f"availability_zones ({self.availability_zones})"
            )
        if len(self.zone_names) not in {0, self.availability_zones}:
            raise ValueError(
                f"zone_names ({', '.join(self.zone_names)}) must name as many zones as "
                f"availability_zones ({self.availability_zones})"
            )
        addresses = 2 ** (32 - self.vpc_network.prefixlen - SUBNETS_PER_ZONE_BITS)
        available = self.availability_zones * (addresses - RESERVED_ADDRESSES)
        # A rolling deployment starts as many new containers as run.
        needed = 2 * (self.api_max_tasks + self.worker_max_tasks)
        if not self.vpc_id and needed > available:
            raise ValueError(
                f"vpc_cidr ({self.vpc_cidr}) has {available} addresses in the subnets of the "
                f"containers, but {needed} are needed while api_max_tasks ({self.api_max_tasks}) "
                f"and worker_max_tasks ({self.worker_max_tasks}) containers are replaced"
            )
        return self

    @model_validator(mode="after")
    def _existing_network_is_described(self) -> Self:
        subnets = {
            name: getattr(self, name)
            for name in ("load_balancer_subnet_ids", "worker_subnet_ids", "internal_subnet_ids")
        }
        for name, ids in subnets.items():
            if ids and not self.vpc_id:
                raise ValueError(f"{name} ({', '.join(ids)}) must be given together with vpc_id")
            optional = not self.vpc_id or name == "internal_subnet_ids"
            if len(ids) == 1 or not (ids or optional):
                raise ValueError(f"{name} must name at least two subnets of vpc_id ({self.vpc_id})")
        if self.vpc_id and not self.denied_networks:
            raise ValueError(
                f"denied_networks must list the address ranges of vpc_id ({self.vpc_id}), so that "
                "no image URL reaches a host in it"
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
        needed = self.worker_consumers * (self.imaging_memory_mib + CONSUMER_MEMORY_MIB)
        if needed > self.worker_memory_mib:
            raise ValueError(
                f"worker_memory_mib ({self.worker_memory_mib}) must hold imaging_memory_mib + "
                f"{CONSUMER_MEMORY_MIB} MiB for each of {self.worker_consumers} consumer processes "
                f"({needed} MiB)"
            )
        return self

    @model_validator(mode="after")
    def _scaling_is_possible(self) -> Self:
        for service in ("api", "worker"):
            minimum = getattr(self, f"{service}_min_tasks")
            maximum = getattr(self, f"{service}_max_tasks")
            if minimum > maximum:
                raise ValueError(
                    f"{service}_min_tasks ({minimum}) must not exceed "
                    f"{service}_max_tasks ({maximum})"
                )
        if self.worker_busy_min_tasks > self.worker_max_tasks:
            raise ValueError(
                f"worker_busy_min_tasks ({self.worker_busy_min_tasks}) must not exceed "
                f"worker_max_tasks ({self.worker_max_tasks})"
            )
        if self.worker_min_tasks == 0 and self.worker_from_zero_tasks == 0:
            raise ValueError(
                "worker_from_zero_tasks (0) must be at least 1 with worker_min_tasks (0), "
                "or no worker ever starts"
            )
        counted_s = FARGATE_START_S + FROM_ZERO_MEMORY_S
        if self.worker_from_zero_cooldown_s <= counted_s:
            raise ValueError(
                f"worker_from_zero_cooldown_s ({self.worker_from_zero_cooldown_s}) must be longer "
                f"than the time until the first workers run and are counted ({counted_s} s), or "
                "more are started meanwhile"
            )
        if self.start_promise_s <= SCALE_OUT_REACTION_S:
            raise ValueError(
                f"start_promise_s ({self.start_promise_s}) must be longer than "
                f"the reaction to a burst ({SCALE_OUT_REACTION_S} s), or added workers start late"
            )
        concurrent_tasks = self.worker_consumers * self.worker_concurrency
        if self.backlog_per_worker <= concurrent_tasks:
            raise ValueError(
                f"start_promise_s ({self.start_promise_s}) allows a backlog of "
                f"{self.backlog_per_worker:.0f} tasks per worker, which must be more than "
                f"the {concurrent_tasks} that it may work on at the same time "
                f"(worker_concurrency for each vCPU), or busy workers alone cause a scale-out"
            )
        return self

    @model_validator(mode="after")
    def _timeouts_are_consistent(self) -> Self:
        if self.visibility_timeout_s < 2 * self.heartbeat_interval_s:
            raise ValueError(
                f"visibility_timeout_s ({self.visibility_timeout_s}) must be at least twice "
                f"heartbeat_interval_s ({self.heartbeat_interval_s}), or one late heartbeat loses "
                "the task"
            )
        if self.processing_budget_s >= self.worker_stop_timeout_s:
            raise ValueError(
                f"processing_budget_s ({self.processing_budget_s}) must be below "
                f"worker_stop_timeout_s ({self.worker_stop_timeout_s}), or a worker that stops is "
                "killed during a task"
            )
        if self.idle_timeout_s >= API_KEEP_ALIVE_S:
            raise ValueError(
                f"idle_timeout_s ({self.idle_timeout_s}) must be below the API's keep-alive "
                f"({API_KEEP_ALIVE_S}), or the API closes connections that the load balancer uses"
            )
        if self.deregistration_delay_s <= LONGEST_REQUEST_S:
            raise ValueError(
                f"deregistration_delay_s ({self.deregistration_delay_s}) must be above the longest "
                f"request ({LONGEST_REQUEST_S}), or a container that stops cuts it off"
            )
        if self.api_graceful_timeout_s >= self.api_stop_timeout_s:
            raise ValueError(
                f"api_graceful_timeout_s ({self.api_graceful_timeout_s}) must be below "
                f"api_stop_timeout_s ({self.api_stop_timeout_s}), or open requests are cut off"
            )
        if self.dead_letter_retention_days <= self.queue_retention_days:
            raise ValueError(
                f"dead_letter_retention_days ({self.dead_letter_retention_days}) must be above "
                f"queue_retention_days ({self.queue_retention_days}), because a dead letter's age "
                "counts from its first send"
            )
        return self


def load_settings(
    context: Mapping[str, Any], *, profiles: Mapping[str, Mapping[str, Any]]
) -> Settings:
    """Build the settings from CDK context; raises :class:`SettingsError`.

    Names with a colon belong to the CDK itself and are ignored.
    """
    given = {name: value for name, value in context.items() if ":" not in name}
    profile = given.pop("profile", None)
    if profile not in profiles:
        raise SettingsError(
            f"There is no profile {profile!r}. Choose one of {', '.join(profiles)}."
        )
    for name in given:
        if name not in Settings.model_fields:
            similar = get_close_matches(name, Settings.model_fields, n=1)
            hint = f" Did you mean {similar[0]!r}?" if similar else ""
            raise SettingsError(f"There is no setting {name!r}.{hint}")
    try:
        return Settings.model_validate(
            {"profile": profile, "environment": profile, **profiles[profile], **given}
        )
    except ValidationError as invalid:
        raise SettingsError(_sentence(invalid)) from None


def _sentence(invalid: ValidationError) -> str:
    first = invalid.errors()[0]
    reason = first.get("ctx", {}).get("error", first["msg"])
    if not first["loc"]:  # a validator of several settings, whose message names them
        return f"{reason}."
    return f"{first['loc'][0]} cannot be {first['input']!r}: {reason}."

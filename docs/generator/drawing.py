"""The drawing of a deployed system, made from its synthesised templates.

Where a box stands is decided here; that it is there, what it says, and which arrows lead to it, the
templates say: an arrow is a grant of a role, a listener, a schedule or a redrive policy.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from cdk.template.grants import describe, grants
from cdk.template.templates import Resource, Templates
from docs.generator.svg import LINE_HEIGHT, Picture

WIDTH, HEIGHT = 1_240, 710
COLOURS = {"api": "#2563eb", "worker": "#15803d", "reconciler": "#b45309", "edge": "#475569"}
SERVICES = ("api", "reconciler", "worker")

TOP, GAP = 60, 14
LEFT_X, LEFT_WIDTH = 20, 170
VPC_X, VPC_WIDTH = 230, 370
SERVICE_X, SERVICE_WIDTH = VPC_X + 40, 290
CHANNEL_X, CHANNEL_STEP = VPC_X + VPC_WIDTH + 20, 9
STORE_X, STORE_WIDTH = 985, 235
PORT_STEP = 22
"""Between two arrows that reach the same box."""


@dataclass(frozen=True)
class Access:
    """What a service may do with a store: one arrow."""

    service: str
    store: str
    what: str


@dataclass(frozen=True)
class Place:
    """A box that has been drawn."""

    x: int
    y: int
    width: int
    height: int

    @property
    def middle(self) -> int:
        return self.y + self.height // 2


def draw(deployment: Templates) -> str:
    """The SVG of one deployment."""
    picture = Picture(WIDTH, HEIGHT, title=f"Taskfleet, profile {deployment.settings.profile}")
    picture.text(
        LEFT_X,
        34,
        f"Taskfleet as profile {deployment.settings.profile!r} deploys it",
        size=18,
        bold=True,
        fill="#1f2933",
    )
    services = _draw_vpc(picture, deployment)
    stores = _draw_stores(picture, deployment)
    _draw_accesses(picture, accesses(deployment), services, stores)
    _draw_left(picture, deployment, services)
    _draw_redrive(picture, deployment, stores)
    _draw_observability(picture, deployment, y=HEIGHT - 70)
    return str(picture)


def accesses(deployment: Templates) -> list[Access]:
    """Every store that a service's role reaches, with the actions in words."""
    found: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for service in SERVICES:
        task = deployment.tasks[service]
        role = deployment.target(task["TaskRoleArn"], stack=task.stack)
        for grant in grants(deployment, role):
            action, resource = describe(deployment, grant)
            store, _, part = resource.partition("/")
            words = action.split(":")[1]
            where = part.removeprefix("index/")
            found[service, store].append(f"{words} {where}" if where else words)
    return [Access(service, store, ", ".join(what)) for (service, store), what in found.items()]


# ── Left: who calls ───────────────────────────────────────────────────────────────────────────


def _draw_left(picture: Picture, deployment: Templates, services: Mapping[str, Place]) -> None:
    edge = services["edge"]
    clients = _box(picture, LEFT_X, edge.y, LEFT_WIDTH, ["Clients", *_networks(deployment)], "edge")
    _across(picture, clients, edge, "edge")

    schedule = deployment.one("Scheduler::Schedule")
    reconciler = services["reconciler"]
    scheduler = _box(
        picture,
        LEFT_X,
        reconciler.y,
        LEFT_WIDTH,
        ["EventBridge Scheduler", schedule["ScheduleExpression"]],
        "reconciler",
    )
    _across(picture, scheduler, reconciler, "reconciler")

    worker = services["worker"]
    sources = _box(
        picture,
        LEFT_X,
        worker.y,
        LEFT_WIDTH,
        ["Pictures' sources", _way_out(deployment), *_ports(deployment)],
        "worker",
    )
    picture.arrow(
        [(worker.x, sources.middle), (sources.x + sources.width, sources.middle)],
        stroke=COLOURS["worker"],
    )


def _networks(deployment: Templates) -> list[str]:
    return ["anywhere" if n == "0.0.0.0/0" else n for n in deployment.settings.client_networks]


def _ports(deployment: Templates) -> list[str]:
    service = deployment.one("ECS::Service", stack="worker")
    network = service["NetworkConfiguration"]["AwsvpcConfiguration"]
    ports = sorted(
        rule["FromPort"]
        for value in network["SecurityGroups"]
        for rule in deployment.target(value, stack="worker")["SecurityGroupEgress"]
    )
    return [f"ports {', '.join(map(str, ports))}"]


def _way_out(deployment: Templates) -> str:
    gateways = len(deployment.all("EC2::NatGateway"))
    return f"through {gateways} NAT gateways" if gateways else "through the internet gateway"


# ── Middle: the VPC ───────────────────────────────────────────────────────────────────────────


def _draw_vpc(picture: Picture, deployment: Templates) -> dict[str, Place]:
    """Boxes from the top down, those in the same subnets in one frame."""
    groups = [
        (subnets, list(names))
        for subnets, names in groupby(
            ("edge", *SERVICES), key=lambda name: _subnets(deployment, name)
        )
    ]
    notes = _endpoint_notes(deployment)
    heights = [_group_height(deployment, names, notes) for _, names in groups]
    zones = deployment.settings.availability_zones
    picture.frame(
        VPC_X,
        TOP,
        VPC_WIDTH,
        30 + sum(height + GAP for height in heights),
        f"VPC {deployment.one('EC2::VPC')['CidrBlock']} in {zones} zones",
        fill="#f8fafc",
    )
    places: dict[str, Place] = {}
    y = TOP + 30
    for (subnets, names), height in zip(groups, heights, strict=True):
        picture.frame(VPC_X + 15, y, VPC_WIDTH - 30, height, f"{subnets} subnets", fill="#eef2f7")
        inside = y + 28
        for name in names:
            lines = _lines(deployment, name)
            places[name] = _box(picture, SERVICE_X, inside, SERVICE_WIDTH, lines, name)
            inside += _height(lines) + GAP
        if notes and "reconciler" in names:
            picture.text(SERVICE_X, inside + 2, notes, size=11, fill="#52606d")
        y += height + GAP
    _down(picture, places["edge"], places["api"], "edge")
    return places


def _group_height(deployment: Templates, names: Sequence[str], notes: str) -> int:
    boxes = sum(_height(_lines(deployment, name)) + GAP for name in names)
    return 28 + boxes + (LINE_HEIGHT if notes and "reconciler" in names else 0)


def _lines(deployment: Templates, name: str) -> list[str]:
    if name == "edge":
        return _edge_lines(deployment)
    task = deployment.tasks[name]
    size = f"{int(task['Cpu']) / 1_024:g} vCPU, {int(task['Memory']) / 1_024:g} GB"
    if name == "reconciler":
        return ["Reconciler", f"one run, {size}", "image of the worker"]
    target = deployment.one("ApplicationAutoScaling::ScalableTarget", stack=name)
    count = f"{target['MinCapacity']} to {target['MaxCapacity']} containers, {size}"
    return [name.upper() if name == "api" else "Workers", count, *_capacity(deployment, name)]


def _edge_lines(deployment: Templates) -> list[str]:
    listeners = deployment.all("ElasticLoadBalancingV2::Listener")
    ports = " and ".join(
        f"{listener['Protocol']} {listener['Port']}"
        + (" (redirect)" if "RedirectConfig" in listener["DefaultActions"][0] else "")
        for listener in sorted(listeners, key=lambda each: -each["Port"])
    )
    rules = len(deployment.one("WAFv2::WebACL")["Rules"])
    return ["Load balancer", ports, f"web application firewall, {rules} rules"]


def _capacity(deployment: Templates, stack: str) -> list[str]:
    service = deployment.one("ECS::Service", stack=stack)
    providers: list[Mapping[str, Any]] = service["CapacityProviderStrategy"]
    weights = {p["CapacityProvider"]: p["Weight"] for p in providers if p["Weight"]}
    base = sum(p.get("Base", 0) for p in providers)
    names = {"FARGATE": "on demand", "FARGATE_SPOT": "Spot"}
    if len(weights) == 1:
        (only,) = weights
        return [f"Fargate {names[only]}"]
    return [f"Fargate: {base} on demand, then {weights['FARGATE_SPOT']} % Spot"]


def _subnets(deployment: Templates, name: str) -> str:
    if name == "edge":
        owner = deployment.one("ElasticLoadBalancingV2::LoadBalancer")
        subnets, stack = owner["Subnets"], owner.stack
    elif name == "reconciler":
        owner = deployment.one("Scheduler::Schedule")
        network = owner["Target"]["EcsParameters"]["NetworkConfiguration"]
        subnets, stack = network["AwsvpcConfiguration"]["Subnets"], owner.stack
    else:
        owner = deployment.one("ECS::Service", stack=name)
        network = owner["NetworkConfiguration"]["AwsvpcConfiguration"]
        subnets, stack = network["Subnets"], owner.stack
    return _group_name(deployment.target(subnets[0], stack=stack))


def _group_name(subnet: Resource) -> str:
    return str({tag["Key"]: tag["Value"] for tag in subnet["Tags"]}["aws-cdk:subnet-name"])


def _endpoint_notes(deployment: Templates) -> str:
    services = sorted(
        endpoint["ServiceName"].split(".", 3)[3]
        for endpoint in deployment.all("EC2::VPCEndpoint", VpcEndpointType="Interface")
    )
    return f"Interface endpoints: {', '.join(services)}" if services else ""


# ── Right: what they use ──────────────────────────────────────────────────────────────────────


def _draw_stores(picture: Picture, deployment: Templates) -> dict[str, Place]:
    places = {}
    y = TOP
    reached = [access.store for access in accesses(deployment)]
    for name, lines in _store_lines(deployment).items():
        height = max(_height(lines), reached.count(name) * PORT_STEP + 12)
        places[name] = _box(picture, STORE_X, y, STORE_WIDTH, lines, "edge", height=height)
        y += height + (46 if name == "queue" else 26)
    return places


def _store_lines(deployment: Templates) -> dict[str, list[str]]:
    table, queue, dead = deployment.table, deployment.queue, deployment.dead_letter_queue
    indexes = ", ".join(index["IndexName"] for index in table["GlobalSecondaryIndexes"])
    days = {
        rule["Prefix"]: rule["ExpirationInDays"]
        for rule in deployment.result_bucket["LifecycleConfiguration"]["Rules"]
        if "Prefix" in rule
    }
    (log_rule,) = deployment.log_bucket["LifecycleConfiguration"]["Rules"]
    return {
        "API keys": ["API keys", "Secrets Manager, hashed at rest"],
        "table": [
            "Task table",
            "DynamoDB on demand, restorable",
            f"indexes {indexes}",
            f"rows leave at {table['TimeToLiveSpecification']['AttributeName']}",
        ],
        "queue": [
            "Task queue",
            f"SQS, visibility timeout {queue['VisibilityTimeout']} s",
            f"kept {_days(queue)} days",
        ],
        "dead-letter queue": ["Dead-letter queue", f"SQS, kept {_days(dead)} days"],
        "result bucket": [
            "Results",
            "S3, private, encrypted",
            *(f"{prefix} kept {count} days" for prefix, count in days.items()),
        ],
        "log bucket": [
            "Access logs",
            "S3: of load balancer and results",
            f"kept {log_rule['ExpirationInDays']} days",
        ],
    }


def _days(queue: Resource) -> int:
    return int(queue["MessageRetentionPeriod"]) // 86_400


def _draw_redrive(picture: Picture, deployment: Templates, stores: Mapping[str, Place]) -> None:
    queue, dead = stores["queue"], stores["dead-letter queue"]
    _down(picture, queue, dead, "edge")
    receives = deployment.queue["RedrivePolicy"]["maxReceiveCount"]
    picture.text(
        queue.x + queue.width // 2 + 10,
        (queue.y + queue.height + dead.y) // 2 + 4,
        f"after {receives} receives",
        size=11,
        fill="#52606d",
    )


def _draw_accesses(
    picture: Picture,
    found: Sequence[Access],
    services: Mapping[str, Place],
    stores: Mapping[str, Place],
) -> None:
    """Each arrow in a channel of its own, so that no two lines lie on each other."""
    leaving: defaultdict[str, int] = defaultdict(int)
    arriving: defaultdict[str, int] = defaultdict(int)
    order = sorted(
        found, key=lambda access: (stores[access.store].y, SERVICES.index(access.service))
    )
    for access in order:
        source, target = services[access.service], stores[access.store]
        out_y = source.y + 14 + leaving[access.service] * 13
        in_y = target.y + 17 + arriving[access.store] * PORT_STEP
        leaving[access.service] += 1
        arriving[access.store] += 1
        channel = CHANNEL_X + CHANNEL_STEP * _channel(access, order, services, stores)
        colour = COLOURS[access.service]
        picture.arrow(
            [(source.x + source.width, out_y), (channel, out_y), (channel, in_y), (target.x, in_y)],
            stroke=colour,
        )
        picture.text(target.x - 14, in_y - 4, access.what, size=10, fill=colour, anchor="end")


def _channel(
    access: Access,
    order: Sequence[Access],
    services: Mapping[str, Place],
    stores: Mapping[str, Place],
) -> int:
    """An arrow that goes far up turns late, one that goes far down early, or they would cross."""

    def climb(each: Access) -> int:
        return services[each.service].y - stores[each.store].y

    ranked = sorted(order, key=lambda each: (SERVICES.index(each.service), -climb(each)))
    return len(ranked) - 1 - ranked.index(access)


# ── Below: what watches ───────────────────────────────────────────────────────────────────────


def _draw_observability(picture: Picture, deployment: Templates, *, y: int) -> None:
    alarms = len(deployment.all("CloudWatch::Alarm", stack="observability"))
    dashboard = deployment.one("CloudWatch::Dashboard")["DashboardName"]
    subscribers = [s["Endpoint"] for s in deployment.all("SNS::Subscription")]
    told = f" → {', '.join(subscribers)}" if subscribers else ""
    kept = deployment.settings.log_retention_days
    summary = f"dashboard {dashboard} · {alarms} alarms → SNS topic{told} · logs kept {kept} days"
    _box(picture, LEFT_X, y, WIDTH - 2 * LEFT_X, ["CloudWatch", summary], "edge")


# ── Drawing ───────────────────────────────────────────────────────────────────────────────────


def _height(lines: Sequence[str]) -> int:
    return 16 + LINE_HEIGHT * len(lines)


def _box(  # noqa: PLR0917 - a rectangle has four numbers
    picture: Picture,
    x: int,
    y: int,
    width: int,
    lines: Sequence[str],
    colour: str,
    *,
    height: int | None = None,
) -> Place:
    place = Place(x, y, width, height or _height(lines))
    picture.box(x, y, width, place.height, lines, stroke=COLOURS[colour])
    return place


def _across(picture: Picture, left: Place, right: Place, colour: str) -> None:
    y = min(left.middle, right.middle)
    picture.arrow([(left.x + left.width, y), (right.x, y)], stroke=COLOURS[colour])


def _down(picture: Picture, above: Place, below: Place, colour: str) -> None:
    x = above.x + above.width // 2
    picture.arrow([(x, above.y + above.height), (x, below.y)], stroke=COLOURS[colour])

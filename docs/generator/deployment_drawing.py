"""The drawing of a deployment, made from its synthesized templates.

It shows what runs in which subnets, and how traffic leaves the VPC.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from cdk.template.templates import Resource, Templates
from docs.generator.access_drawing import SERVICES
from docs.generator.mermaid import arrow, flowchart, node, subgraph

GATEWAYS = {"AWS::EC2::NatGateway": "nat", "AWS::EC2::InternetGateway": "internet"}
"""The nodes of the gateways, by type of resource."""

ENDPOINT_KINDS = ("Gateway", "Interface")


def deployment_drawing(deployment: Templates) -> str:
    """The VPC with what runs in it, and the stores outside it with the way to each."""
    schedule = deployment.one("Scheduler::Schedule")
    return flowchart(
        "LR",
        [
            node("clients", "Clients", *_client_networks(deployment), kind="outside"),
            node("scheduler", "EventBridge Scheduler", schedule["ScheduleExpression"], kind="aws"),
            *_vpc(deployment),
            arrow("clients", "balancer"),
            arrow("balancer", "api"),
            arrow("scheduler", "reconciler"),
            *_routes(deployment),
            *_destinations(deployment),
        ],
    )


def _client_networks(deployment: Templates) -> list[str]:
    networks = deployment.settings.client_networks
    return ["any address" if network == "0.0.0.0/0" else network for network in networks]


# ── Inside the VPC ────────────────────────────────────────────────────────────────────────────


def _vpc(deployment: Templates) -> list[str]:
    cidr, zones = deployment.one("EC2::VPC")["CidrBlock"], deployment.settings.availability_zones
    statements = [
        statement
        for name, members in _subnet_groups(deployment).items()
        for statement in subgraph(
            name.lower(), f"{name} subnets", [_member(deployment, member) for member in members]
        )
    ]
    return subgraph("vpc", f"VPC {cidr}, {zones} zones", [*statements, *_exits(deployment)])


def _subnet_groups(deployment: Templates) -> Mapping[str, list[str]]:
    """The load balancer and the services, by the name of the subnets that they run in."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for member in ("balancer", *SERVICES):
        tags = {tag["Key"]: tag["Value"] for tag in _subnet(deployment, member)["Tags"]}
        groups[tags["aws-cdk:subnet-name"]].append(member)
    return groups


def _subnet(deployment: Templates, member: str) -> Resource:
    """One of the subnets that a service or the load balancer runs in."""
    if member == "balancer":
        balancer = deployment.one("ElasticLoadBalancingV2::LoadBalancer")
        return deployment.target(balancer["Subnets"][0], stack=balancer.stack)
    stack, network = _network(deployment, member)
    return deployment.target(network["Subnets"][0], stack=stack)


def _network(deployment: Templates, service: str) -> tuple[str, Mapping[str, Any]]:
    """The network configuration of a service's containers, and the stack that it is in."""
    if service == "reconciler":
        schedule = deployment.one("Scheduler::Schedule")
        configuration = schedule["Target"]["EcsParameters"]["NetworkConfiguration"]
        return schedule.stack, configuration["AwsvpcConfiguration"]
    configuration = deployment.one("ECS::Service", stack=service)["NetworkConfiguration"]
    return service, configuration["AwsvpcConfiguration"]


def _member(deployment: Templates, member: str) -> str:
    if member == "balancer":
        return node("balancer", "Load balancer", *_listeners(deployment), kind="aws")
    task = deployment.tasks[member]
    return node(
        member,
        SERVICES[member],
        *_containers(deployment, member),
        f"{int(task['Cpu']) / 1_024:g} vCPU, {int(task['Memory']) / 1_024:g} GB",
        f"outbound ports: {_outbound_ports(deployment, member)}",
        kind="product",
    )


def _listeners(deployment: Templates) -> Iterator[str]:
    listeners = deployment.all("ElasticLoadBalancingV2::Listener")
    for listener in sorted(listeners, key=lambda listener: -listener["Port"]):
        yield f"{listener['Protocol']} {listener['Port']}"
    yield f"firewall with {len(deployment.one('WAFv2::WebACL')['Rules'])} rules"


def _containers(deployment: Templates, service: str) -> Iterator[str]:
    if service == "reconciler":
        yield "one container per run"
        return
    target = deployment.one("ApplicationAutoScaling::ScalableTarget", stack=service)
    yield f"{target['MinCapacity']} to {target['MaxCapacity']} containers"
    yield from _capacity(deployment.one("ECS::Service", stack=service)["CapacityProviderStrategy"])


def _capacity(providers: list[Mapping[str, Any]]) -> Iterator[str]:
    base = sum(provider.get("Base", 0) for provider in providers)
    weights = {provider["CapacityProvider"]: provider["Weight"] for provider in providers}
    spot = 100 * weights.get("FARGATE_SPOT", 0) / sum(weights.values())
    if base and spot:
        yield f"{base} on demand,"
        yield f"{spot:.0f} % of the others on Spot"
    else:
        yield f"{spot:.0f} % on Spot" if spot else "on demand"


def _outbound_ports(deployment: Templates, service: str) -> str:
    stack, network = _network(deployment, service)
    groups = [deployment.target(group, stack=stack) for group in network["SecurityGroups"]]
    ports = {rule["FromPort"] for group in groups for rule in group["SecurityGroupEgress"]}
    return ", ".join(map(str, sorted(ports)))


# ── Out of the VPC ────────────────────────────────────────────────────────────────────────────


def _exits(deployment: Templates) -> Iterator[str]:
    gateways = len(deployment.all("EC2::NatGateway"))
    if gateways:
        yield node("nat", f"{gateways} NAT gateways", "in the public subnets", kind="aws")
    else:
        yield node("internet", "Internet gateway", kind="aws")
    text = [
        f"{kind.lower()}: {', '.join(services)}"
        for kind in ENDPOINT_KINDS
        if (services := _endpoints(deployment, kind))
    ]
    yield node("endpoints", "VPC endpoints", *text, kind="aws")


def _endpoints(deployment: Templates, kind: str) -> list[str]:
    """The AWS services behind the VPC's endpoints, such as ``s3`` or ``ecr.api``."""
    endpoints = deployment.all("EC2::VPCEndpoint", VpcEndpointType=kind)
    return sorted(_service_of(endpoint) for endpoint in endpoints)


def _service_of(endpoint: Resource) -> str:
    """The end of ``com.amazonaws.<region>.<service>``, which may contain a reference."""
    match endpoint["ServiceName"]:
        case {"Fn::Join": ["", [*_, str(end)]]}:
            return end.removeprefix(".")
        case name:
            return str(name).split(".", 3)[3]


def _routes(deployment: Templates) -> Iterator[str]:
    """Arrows from each service to the exits of its subnets."""
    for service in SERVICES:
        yield from (arrow(service, gateway) for gateway in _gateways_of(deployment, service))
        yield arrow(service, "endpoints")


def _gateways_of(deployment: Templates, service: str) -> Iterator[str]:
    subnet = _subnet(deployment, service)
    (table,) = (
        association["RouteTableId"]
        for association in deployment.all("EC2::SubnetRouteTableAssociation")
        if association["SubnetId"] == {"Ref": subnet.logical_id}
    )
    for route in deployment.all("EC2::Route", RouteTableId=table):
        gateway = route.get("NatGatewayId") or route.get("GatewayId")
        yield GATEWAYS[deployment.target(gateway, stack=subnet.stack).type]


# ── Outside the VPC ───────────────────────────────────────────────────────────────────────────


def _destinations(deployment: Templates) -> Iterator[str]:
    internet = "nat" if deployment.all("EC2::NatGateway") else "internet"
    private = {name for kind in ENDPOINT_KINDS for name in _endpoints(deployment, kind)}
    stores = {
        "api_keys": ("secretsmanager", ["API keys", "Secrets Manager"]),
        "table": ("dynamodb", _table_text(deployment.table)),
        "result_bucket": ("s3", _bucket_text(deployment.result_bucket)),
        "queue": ("sqs", _queue_text(deployment.queue)),
    }
    for store, (service, text) in stores.items():
        yield node(store, *text, kind="aws")
        yield arrow("endpoints" if service in private else internet, store)
    yield node("dead_letter_queue", *_dead_letter_text(deployment), kind="aws")
    yield arrow("queue", "dead_letter_queue")
    yield node("sources", "Image servers", kind="outside")
    yield arrow(internet, "sources")


def _table_text(table: Resource) -> list[str]:
    indexes = [f"index {index['IndexName']}" for index in table["GlobalSecondaryIndexes"]]
    attribute = table["TimeToLiveSpecification"]["AttributeName"]
    return ["Task table", "DynamoDB on demand", *indexes, f"time to live {attribute}"]


def _bucket_text(bucket: Resource) -> list[str]:
    rules = [rule for rule in bucket["LifecycleConfiguration"]["Rules"] if "Prefix" in rule]
    kept = [f"{rule['Prefix']} kept {_days(rule['ExpirationInDays'])}" for rule in rules]
    return ["Result bucket", "S3", *kept]


def _queue_text(queue: Resource) -> list[str]:
    visibility = f"visibility timeout {queue['VisibilityTimeout']} s"
    return ["Task queue", "SQS", visibility, f"kept {_retention(queue)}"]


def _dead_letter_text(deployment: Templates) -> list[str]:
    receives = deployment.queue["RedrivePolicy"]["maxReceiveCount"]
    retention = _retention(deployment.dead_letter_queue)
    return ["Dead-letter queue", "SQS", f"after {receives} receives", f"kept {retention}"]


def _retention(queue: Resource) -> str:
    return _days(queue["MessageRetentionPeriod"] // 86_400)


def _days(count: int) -> str:
    return f"{count} day{'s' if count > 1 else ''}"

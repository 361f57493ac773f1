"""After ``cdk destroy`` nothing of ours is left."""

from collections.abc import Iterator

from cdk.commands.empty_buckets import NotDisposable, empty_buckets
from rehearsal.aws_clients import AwsClients
from rehearsal.deployment import CdkDeployment
from rehearsal.ecs.definitions import read_services
from rehearsal.failure import Failed
from rehearsal.report import RehearsalReport

DISPOSABLE = {"disposable": "true"}
"""What lifts the protection of a profile that keeps its data."""


async def destroy(deployment: CdkDeployment, clients: AwsClients, report: RehearsalReport) -> None:
    """Delete everything, as ``make destroy`` does."""
    if deployment.is_protected:
        with report.step("An environment that keeps its data refuses to be destroyed"):
            try:
                _empty(deployment, clients)
            except NotDisposable:
                pass
            else:
                raise Failed("The buckets of an environment that keeps its data were emptied.")
        with report.step("Its protection is lifted by another deployment"):
            await deployment.update(**DISPOSABLE)
    with report.step("cdk destroy --all leaves nothing of ours"):
        _empty(deployment, clients)
        await deployment.destroy()
        left = list(_left(clients, f"taskfleet-{deployment.environment_name}-"))
        report.figures.leftAfterDestroy = len(left)
        if left:
            raise Failed(f"cdk destroy leaves {', '.join(left)}.")


def _empty(deployment: CdkDeployment, clients: AwsClients) -> None:
    empty_buckets(
        cloudformation=clients.cloudformation,
        s3=clients.s3,
        environment=deployment.environment_name,
    )


def _left(clients: AwsClients, prefix: str) -> Iterator[str]:
    """Stacks, services, queues, tables, buckets, secrets and roles with names of `prefix`."""
    names = {
        "stack": [
            stack["StackName"] for stack in clients.cloudformation.describe_stacks()["Stacks"]
        ],
        "service": [service.name for service in read_services(clients.ecs)],
        "queue": [url.rpartition("/")[2] for url in clients.sqs.list_queues().get("QueueUrls", [])],
        "table": clients.dynamodb.list_tables()["TableNames"],
        "bucket": [bucket["Name"] for bucket in clients.s3.list_buckets()["Buckets"]],
        "secret": [
            secret["Name"] for secret in clients.secretsmanager.list_secrets()["SecretList"]
        ],
        "role": [role["RoleName"] for role in clients.iam.list_roles(MaxItems=1_000)["Roles"]],
    }
    for kind, found in names.items():
        yield from (f"the {kind} {name}" for name in found if name.startswith(prefix))

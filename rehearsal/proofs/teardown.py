"""``cdk destroy`` deletes everything that the deployment created."""

from collections.abc import Iterator

from cdk.commands.empty_buckets import NotDisposable, empty_buckets
from rehearsal.aws_clients import AwsClients
from rehearsal.deployment import CdkDeployment
from rehearsal.ecs.definitions import read_services
from rehearsal.failure import RehearsalFailed
from rehearsal.report import RehearsalReport

DISPOSABLE = {"disposable": "true"}
"""Turns off the deletion protection of a profile that retains its data."""


async def destroy(deployment: CdkDeployment, clients: AwsClients, report: RehearsalReport) -> None:
    """Destroy the deployment as ``make destroy`` does."""
    if deployment.is_protected:
        with report.step("An environment that retains its data refuses to be destroyed"):
            try:
                _empty_buckets(deployment, clients)
            except NotDisposable:
                pass
            else:
                raise RehearsalFailed("The buckets of a protected environment were emptied.")
        with report.step("Another deployment turns its protection off"):
            await deployment.update(**DISPOSABLE)
    with report.step("cdk destroy --all deletes all resources"):
        _empty_buckets(deployment, clients)
        await deployment.destroy()
        remaining = list(_remaining(clients, f"taskfleet-{deployment.environment_name}-"))
        report.figures.leftAfterDestroy = len(remaining)
        if remaining:
            raise RehearsalFailed(f"cdk destroy did not delete {', '.join(remaining)}.")


def _empty_buckets(deployment: CdkDeployment, clients: AwsClients) -> None:
    empty_buckets(
        cloudformation=clients.cloudformation,
        s3=clients.s3,
        environment=deployment.environment_name,
    )


def _remaining(clients: AwsClients, prefix: str) -> Iterator[str]:
    """The stacks and resources that still exist and whose names start with `prefix`."""
    names_by_kind = {
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
    for kind, names in names_by_kind.items():
        yield from (f"the {kind} {name}" for name in names if name.startswith(prefix))

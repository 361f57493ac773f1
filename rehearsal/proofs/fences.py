"""What each role must not do, tried with its own credentials: every call is refused."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from botocore.exceptions import ClientError

from rehearsal.aws_clients import AwsClients
from rehearsal.ecs.credentials import assume_role
from rehearsal.proof_context import ProofContext
from rehearsal.roles import DeployedRole
from services.common.task_table import OPEN_TASKS_INDEX

REFUSED = frozenset({"AccessDenied", "AccessDeniedException"})

TASK_ID = "00000000-0000-0000-0000-000000000000"
HANDLE = "a-receipt-handle"


@dataclass(frozen=True, slots=True)
class _Resources:
    """What is tried to be reached."""

    table: str
    queue: str
    dead_letters: str
    results: str
    logs: str
    secret: str


@dataclass(frozen=True, slots=True)
class _Forbidden:
    """A call that must be refused, and what it would do."""

    deed: str
    call: Callable[[AwsClients, _Resources], object]


_KEY = {"taskId": {"S": TASK_ID}}

CREATE_ROWS = _Forbidden(
    "create rows", lambda aws, on: aws.dynamodb.put_item(TableName=on.table, Item=_KEY)
)
DELETE_ROWS = _Forbidden(
    "delete rows", lambda aws, on: aws.dynamodb.delete_item(TableName=on.table, Key=_KEY)
)
SCAN = _Forbidden("scan the table", lambda aws, on: aws.dynamodb.scan(TableName=on.table))
LIST_OPEN_TASKS = _Forbidden(
    "read the index of open tasks",
    lambda aws, on: aws.dynamodb.query(
        TableName=on.table,
        IndexName=OPEN_TASKS_INDEX,
        KeyConditionExpression="openShard = :shard",
        ExpressionAttributeValues={":shard": {"N": "0"}},
    ),
)
DELETE_TABLE = _Forbidden(
    "delete the table", lambda aws, on: aws.dynamodb.delete_table(TableName=on.table)
)
SEND = _Forbidden(
    "send messages", lambda aws, on: aws.sqs.send_message(QueueUrl=on.queue, MessageBody="{}")
)
RECEIVE = _Forbidden("receive", lambda aws, on: aws.sqs.receive_message(QueueUrl=on.queue))
DELETE_MESSAGES = _Forbidden(
    "delete messages",
    lambda aws, on: aws.sqs.delete_message(QueueUrl=on.queue, ReceiptHandle=HANDLE),
)
HIDE_MESSAGES = _Forbidden(
    "hide messages",
    lambda aws, on: aws.sqs.change_message_visibility(
        QueueUrl=on.queue, ReceiptHandle=HANDLE, VisibilityTimeout=60
    ),
)
PURGE = _Forbidden("purge the queue", lambda aws, on: aws.sqs.purge_queue(QueueUrl=on.queue))
RECEIVE_DEAD_LETTERS = _Forbidden(
    "receive dead letters", lambda aws, on: aws.sqs.receive_message(QueueUrl=on.dead_letters)
)
PUT_RESULTS = _Forbidden(
    "put results",
    lambda aws, on: aws.s3.put_object(Bucket=on.results, Key="results/x/1.jpg", Body=b""),
)
PUT_ELSEWHERE = _Forbidden(
    "put anything but results",
    lambda aws, on: aws.s3.put_object(Bucket=on.results, Key="elsewhere/x", Body=b""),
)
PUT_LOGS = _Forbidden(
    "write to another bucket",
    lambda aws, on: aws.s3.put_object(Bucket=on.logs, Key="results/x/1.jpg", Body=b""),
)
READ_RESULTS = _Forbidden(
    "read results", lambda aws, on: aws.s3.get_object(Bucket=on.results, Key="results/x/1.jpg")
)
READ_LOGS = _Forbidden(
    "read another bucket", lambda aws, on: aws.s3.get_object(Bucket=on.logs, Key="results/x")
)
LIST_RESULTS = _Forbidden("list results", lambda aws, on: aws.s3.list_objects_v2(Bucket=on.results))
DELETE_RESULTS = _Forbidden(
    "delete results",
    lambda aws, on: aws.s3.delete_object(Bucket=on.results, Key="results/x/1.jpg"),
)
READ_SECRETS = _Forbidden(
    "read the API keys", lambda aws, on: aws.secretsmanager.get_secret_value(SecretId=on.secret)
)
WRITE_SECRETS = _Forbidden(
    "change the API keys",
    lambda aws, on: aws.secretsmanager.put_secret_value(SecretId=on.secret, SecretString="{}"),
)
LIST_TABLES = _Forbidden("list tables", lambda aws, _: aws.dynamodb.list_tables())
MAKE_USERS = _Forbidden("make users", lambda aws, _: aws.iam.create_user(UserName="intruder"))
RUN_TASKS = _Forbidden(
    "run containers", lambda aws, _: aws.ecs.run_task(taskDefinition="anything", cluster="any")
)

NOBODY = (
    DELETE_ROWS,
    SCAN,
    DELETE_TABLE,
    PURGE,
    RECEIVE_DEAD_LETTERS,
    PUT_ELSEWHERE,
    PUT_LOGS,
    READ_LOGS,
    LIST_RESULTS,
    DELETE_RESULTS,
    WRITE_SECRETS,
    LIST_TABLES,
    MAKE_USERS,
    RUN_TASKS,
)
"""What none of the services may do."""

FENCES: Mapping[str, Sequence[_Forbidden]] = {
    "api": (*NOBODY, RECEIVE, DELETE_MESSAGES, HIDE_MESSAGES, PUT_RESULTS, LIST_OPEN_TASKS),
    "worker": (*NOBODY, CREATE_ROWS, SEND, LIST_OPEN_TASKS, READ_RESULTS, READ_SECRETS),
    "reconciler": (
        *NOBODY,
        *(CREATE_ROWS, RECEIVE, DELETE_MESSAGES, HIDE_MESSAGES),
        *(PUT_RESULTS, READ_RESULTS, READ_SECRETS),
    ),
    "schedule": (
        *(CREATE_ROWS, DELETE_ROWS, SCAN, SEND, RECEIVE, PUT_RESULTS, READ_RESULTS),
        *(READ_SECRETS, WRITE_SECRETS, LIST_TABLES, MAKE_USERS, RUN_TASKS),
    ),
}


def try_all(context: ProofContext, roles: Mapping[str, DeployedRole]) -> None:
    """Try every call of ``FENCES``; one that is not refused is a finding."""
    resources = _resources(context)
    for part, forbidden in FENCES.items():
        role = roles[part]
        aws = context.clients.of(
            assume_role(context.clients, context.gate, role_arn=role.arn, service=role.taken_on_by)
        )
        can = [each.deed for each in forbidden if not _is_refused(each, aws, resources)]
        context.report.figures.denied += len(forbidden) - len(can)
        for deed in can:
            context.report.find(f"The {part} can {deed}.")
        if not can:
            deeds = ", ".join(each.deed for each in forbidden)
            context.report.done(f"The {part} is refused what it must not do. ({deeds})")


def _is_refused(forbidden: _Forbidden, aws: AwsClients, resources: _Resources) -> bool:
    try:
        forbidden.call(aws, resources)
    except ClientError as error:
        return error.response["Error"]["Code"] in REFUSED
    return False


def _resources(context: ProofContext) -> _Resources:
    deployment = context.deployment
    return _Resources(
        table=deployment.output("state", "TaskTable"),
        queue=deployment.output("state", "TaskQueueUrl"),
        dead_letters=deployment.output("state", "DeadLetterQueueUrl"),
        results=deployment.output("state", "ResultBucket"),
        logs=deployment.output("state", "LogBucket"),
        secret=deployment.output("state", "ApiKeysSecretId"),
    )

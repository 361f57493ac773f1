"""Attempts calls that each role must not make, with its own credentials. All must be denied."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from botocore.exceptions import ClientError

from rehearsal.aws_clients import AwsClients
from rehearsal.ecs.credentials import assume_role
from rehearsal.proof_context import ProofContext
from rehearsal.roles import DeployedRole
from services.common.task_table import OPEN_TASKS_INDEX

ACCESS_DENIED = frozenset({"AccessDenied", "AccessDeniedException"})

TASK_ID = "00000000-0000-0000-0000-000000000000"
RECEIPT_HANDLE = "a-receipt-handle"


@dataclass(frozen=True, slots=True)
class _Resources:
    """Names and URLs of the deployed resources."""

    table: str
    queue: str
    dead_letters: str
    results: str
    logs: str
    secret: str


@dataclass(frozen=True, slots=True)
class _DeniedCall:
    """A call that must be denied. `description` says what it would do."""

    description: str
    attempt: Callable[[AwsClients, _Resources], object]


_KEY = {"taskId": {"S": TASK_ID}}

CREATE_ROWS = _DeniedCall(
    "create rows", lambda aws, names: aws.dynamodb.put_item(TableName=names.table, Item=_KEY)
)
DELETE_ROWS = _DeniedCall(
    "delete rows", lambda aws, names: aws.dynamodb.delete_item(TableName=names.table, Key=_KEY)
)
SCAN = _DeniedCall("scan the table", lambda aws, names: aws.dynamodb.scan(TableName=names.table))
LIST_OPEN_TASKS = _DeniedCall(
    "read the index of open tasks",
    lambda aws, names: aws.dynamodb.query(
        TableName=names.table,
        IndexName=OPEN_TASKS_INDEX,
        KeyConditionExpression="openShard = :shard",
        ExpressionAttributeValues={":shard": {"N": "0"}},
    ),
)
DELETE_TABLE = _DeniedCall(
    "delete the table", lambda aws, names: aws.dynamodb.delete_table(TableName=names.table)
)
SEND = _DeniedCall(
    "send messages", lambda aws, names: aws.sqs.send_message(QueueUrl=names.queue, MessageBody="{}")
)
RECEIVE = _DeniedCall(
    "receive messages", lambda aws, names: aws.sqs.receive_message(QueueUrl=names.queue)
)
DELETE_MESSAGES = _DeniedCall(
    "delete messages",
    lambda aws, names: aws.sqs.delete_message(QueueUrl=names.queue, ReceiptHandle=RECEIPT_HANDLE),
)
CHANGE_VISIBILITY = _DeniedCall(
    "change the visibility of messages",
    lambda aws, names: aws.sqs.change_message_visibility(
        QueueUrl=names.queue, ReceiptHandle=RECEIPT_HANDLE, VisibilityTimeout=60
    ),
)
PURGE = _DeniedCall("purge the queue", lambda aws, names: aws.sqs.purge_queue(QueueUrl=names.queue))
RECEIVE_DEAD_LETTERS = _DeniedCall(
    "receive dead letters", lambda aws, names: aws.sqs.receive_message(QueueUrl=names.dead_letters)
)
WRITE_RESULTS = _DeniedCall(
    "write results",
    lambda aws, names: aws.s3.put_object(Bucket=names.results, Key="results/x/1.jpg", Body=b""),
)
WRITE_ELSEWHERE = _DeniedCall(
    "write outside results/",
    lambda aws, names: aws.s3.put_object(Bucket=names.results, Key="elsewhere/x", Body=b""),
)
WRITE_LOGS = _DeniedCall(
    "write to another bucket",
    lambda aws, names: aws.s3.put_object(Bucket=names.logs, Key="results/x/1.jpg", Body=b""),
)
READ_RESULTS = _DeniedCall(
    "read results",
    lambda aws, names: aws.s3.get_object(Bucket=names.results, Key="results/x/1.jpg"),
)
READ_LOGS = _DeniedCall(
    "read another bucket", lambda aws, names: aws.s3.get_object(Bucket=names.logs, Key="results/x")
)
LIST_RESULTS = _DeniedCall(
    "list results", lambda aws, names: aws.s3.list_objects_v2(Bucket=names.results)
)
DELETE_RESULTS = _DeniedCall(
    "delete results",
    lambda aws, names: aws.s3.delete_object(Bucket=names.results, Key="results/x/1.jpg"),
)
DELETE_ELSEWHERE = _DeniedCall(
    "delete outside results/",
    lambda aws, names: aws.s3.delete_object(Bucket=names.results, Key="elsewhere/x"),
)
READ_SECRETS = _DeniedCall(
    "read the API keys",
    lambda aws, names: aws.secretsmanager.get_secret_value(SecretId=names.secret),
)
WRITE_SECRETS = _DeniedCall(
    "change the API keys",
    lambda aws, names: aws.secretsmanager.put_secret_value(
        SecretId=names.secret, SecretString="{}"
    ),
)
LIST_TABLES = _DeniedCall("list tables", lambda aws, _: aws.dynamodb.list_tables())
CREATE_USERS = _DeniedCall("create users", lambda aws, _: aws.iam.create_user(UserName="intruder"))
RUN_TASKS = _DeniedCall(
    "run containers", lambda aws, _: aws.ecs.run_task(taskDefinition="anything", cluster="any")
)

DENIED_TO_ALL = (
    DELETE_ROWS,
    SCAN,
    DELETE_TABLE,
    PURGE,
    RECEIVE_DEAD_LETTERS,
    WRITE_ELSEWHERE,
    WRITE_LOGS,
    READ_LOGS,
    LIST_RESULTS,
    DELETE_ELSEWHERE,
    WRITE_SECRETS,
    LIST_TABLES,
    CREATE_USERS,
    RUN_TASKS,
)
"""Calls that neither API nor worker nor reconciler may make."""

DENIED_CALLS: Mapping[str, Sequence[_DeniedCall]] = {
    "api": (
        *DENIED_TO_ALL,
        *(RECEIVE, DELETE_MESSAGES, CHANGE_VISIBILITY, LIST_OPEN_TASKS),
        *(WRITE_RESULTS, DELETE_RESULTS),
    ),
    "worker": (*DENIED_TO_ALL, CREATE_ROWS, SEND, LIST_OPEN_TASKS, READ_RESULTS, READ_SECRETS),
    "reconciler": (
        *DENIED_TO_ALL,
        *(CREATE_ROWS, RECEIVE, DELETE_MESSAGES, CHANGE_VISIBILITY),
        *(WRITE_RESULTS, READ_RESULTS, DELETE_RESULTS, READ_SECRETS),
    ),
    "schedule": (
        *(CREATE_ROWS, DELETE_ROWS, SCAN, SEND, RECEIVE, WRITE_RESULTS, READ_RESULTS),
        *(READ_SECRETS, WRITE_SECRETS, LIST_TABLES, CREATE_USERS, RUN_TASKS),
    ),
}


def attempt_all(context: ProofContext, roles: Mapping[str, DeployedRole]) -> None:
    """Attempt every call of ``DENIED_CALLS``. A call that is not denied is a finding."""
    resources = _resources(context)
    for purpose, calls in DENIED_CALLS.items():
        role = roles[purpose]
        credentials = assume_role(
            context.clients,
            context.authorizer,
            role_arn=role.arn,
            service_principal=role.service_principal,
        )
        aws = context.clients.with_credentials(credentials)
        permitted = [call.description for call in calls if not _is_denied(call, aws, resources)]
        context.report.figures.denied += len(calls) - len(permitted)
        for description in permitted:
            context.report.add_finding(f"The {purpose} role can {description}.")
        if not permitted:
            descriptions = ", ".join(call.description for call in calls)
            context.report.add_success(f"The {purpose} role cannot: {descriptions}.")


def _is_denied(call: _DeniedCall, aws: AwsClients, resources: _Resources) -> bool:
    try:
        call.attempt(aws, resources)
    except ClientError as error:
        return error.response["Error"]["Code"] in ACCESS_DENIED
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

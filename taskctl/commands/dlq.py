"""``taskctl dlq``: list, explain and redrive the messages of the dead-letter queue."""

import functools
import json
from collections import Counter
from collections.abc import Callable, Collection

import boto3
import click
from rich.console import Console
from rich.table import Table

from services.common.aws import Aws
from services.common.clock import utc_now
from services.common.config import SubmissionConfig
from services.common.errors import AwsError
from services.common.task import SubmissionPolicy
from services.common.task_queue import TaskQueue
from services.common.task_record import to_rfc3339
from services.common.task_table import TaskTable
from taskctl.dead_letters import (
    VISIBILITY_TIMEOUT_S,
    DeadLetter,
    DeadLetterEntry,
    DeadLetterQueue,
    DeadLetters,
    RedriveOutcome,
)
from taskctl.errors import OperatorError, report_aws_errors
from taskctl.stack_outputs import TaskResources, find_task_resources


@click.group()
def dlq() -> None:
    """List, explain and redrive the messages of the dead-letter queue.

    While a command runs, the messages that it reads are hidden from other receivers.
    """


def _deployment_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that select a deployment, and call `command` with its dead letters."""

    @click.option("--environment", metavar="NAME", help="Name of the deployed environment.")
    @click.option(
        "--table",
        metavar="NAME",
        envvar="TASK_TABLE",
        show_envvar=True,
        help="Name of the task table, instead of --environment.",
    )
    @click.option(
        "--queue-url",
        metavar="URL",
        envvar="TASK_QUEUE_URL",
        show_envvar=True,
        help="URL of the task queue, instead of --environment.",
    )
    @click.option(
        "--dead-letter-queue-url",
        metavar="URL",
        envvar="DEAD_LETTER_QUEUE_URL",
        show_envvar=True,
        help="URL of the dead-letter queue, instead of --environment.",
    )
    @click.option(
        "--region",
        envvar="AWS_REGION",
        show_envvar=True,
        help="Region of the deployment. Default: the region of the AWS profile.",
    )
    @click.option(
        "--limit",
        type=click.IntRange(1, 100_000),
        default=1_000,
        show_default=True,
        help="Maximum number of messages to read.",
    )
    @functools.wraps(command)
    def with_deployment(
        environment: str | None,
        table: str | None,
        queue_url: str | None,
        dead_letter_queue_url: str | None,
        region: str | None,
        **options: object,
    ) -> None:
        session = boto3.Session(region_name=region)
        try:
            if environment is not None:
                with report_aws_errors("Cannot call CloudFormation"):
                    client = session.client("cloudformation")
                resources = find_task_resources(client, environment=environment)
            elif table and queue_url and dead_letter_queue_url:
                resources = TaskResources(table, queue_url, dead_letter_queue_url)
            else:
                raise click.UsageError(
                    "Select a deployment with --environment NAME, or with --table NAME, "
                    "--queue-url URL and --dead-letter-queue-url URL."
                )
            with report_aws_errors("Cannot call AWS"):
                dead_letters = _dead_letters(session, resources)
            command(dead_letters, **options)
        except OperatorError as error:
            raise click.ClickException(str(error)) from error
        except AwsError as error:
            raise click.ClickException(
                f"A call to AWS failed: {error}. No message is lost: those that were not processed "
                f"become visible again within {VISIBILITY_TIMEOUT_S // 60} minutes."
            ) from error

    return with_deployment


def _dead_letters(session: boto3.Session, resources: TaskResources) -> DeadLetters:
    aws = Aws(region=session.region_name, session=session)
    sqs = aws.sqs()
    policy = _policy(resources)
    return DeadLetters(
        letters=DeadLetterQueue(sqs, url=resources.dead_letter_queue_url),
        table=TaskTable(aws.dynamodb(), table=resources.task_table, retention=policy.retention),
        queue=TaskQueue(sqs, url=resources.task_queue_url),
        policy=policy,
        clock=utc_now,
    )


def _policy(resources: TaskResources) -> SubmissionPolicy:
    """The policy for redriven tasks: the deployment's retention, and the defaults for the rest."""
    retention_s = resources.row_retention_s
    known = {} if retention_s is None else {"row_retention_s": retention_s}
    return SubmissionConfig.model_validate(known).submission_policy()


_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@dlq.command("list")
@_as_json
@_deployment_options
def list_(dead_letters: DeadLetters, *, limit: int, as_json: bool) -> None:
    """List the messages by task, with the reason of each failure."""
    with dead_letters.entries(limit=limit) as entries:
        if as_json:
            click.echo(json.dumps([_as_dict(entry) for entry in entries], indent=2))
        elif entries:
            _print_table(entries)
        else:
            click.echo("The dead-letter queue is empty.")


@dlq.command()
@click.argument("id_", metavar="ID")
@_as_json
@_deployment_options
def show(dead_letters: DeadLetters, *, id_: str, limit: int, as_json: bool) -> None:
    """Explain one message and say what to do. ID is the ID of its task or of the message."""
    with dead_letters.entries(limit=limit) as entries:
        for entry in entries:
            if id_ in {entry.task_id, *(letter.message.message_id for letter in entry.letters)}:
                if as_json:
                    click.echo(json.dumps(_as_dict(entry), indent=2))
                else:
                    _print_entry(entry)
                return
    raise OperatorError(
        f"None of the first {limit:,} messages has the ID {id_} or names that task."
    )


@dlq.command()
@click.option(
    "--code",
    "codes",
    metavar="CODE",
    multiple=True,
    required=True,
    help="Redrive the messages with this code in the list. Repeat the option for several codes.",
)
@_deployment_options
def redrive(dead_letters: DeadLetters, *, codes: Collection[str], limit: int) -> None:
    """Retry failed tasks and delete their messages.

    A task gets new attempts and a new deadline. An open task gets a new message. If the task has
    completed or was canceled, or the message does not name a task, the message is only deleted.
    """
    outcomes: Counter[RedriveOutcome] = Counter()
    with dead_letters.entries(limit=limit) as entries:
        for entry in entries:
            if entry.diagnosis.code in codes:
                outcomes[dead_letters.redrive(entry)] += 1
    if not outcomes:
        raise OperatorError(f"No message has the code {' or '.join(codes)}.")
    click.echo(", ".join(f"{outcomes[outcome]} {outcome}" for outcome in RedriveOutcome) + ".")


def _print_table(entries: Collection[DeadLetterEntry]) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("Task or message", "Code", "First sent", "Messages", "What happened"):
        table.add_column(title, overflow="fold")
    for entry in entries:
        table.add_row(
            entry.task_id or entry.letters[0].message.message_id,
            entry.diagnosis.code,
            to_rfc3339(entry.letters[0].sent_at),
            str(len(entry.letters)),
            entry.diagnosis.sentence,
        )
    Console().print(table)


def _print_entry(entry: DeadLetterEntry) -> None:
    diagnosis, task = entry.diagnosis, entry.task
    lines = [
        ("Task", entry.task_id or "none"),
        ("Code", diagnosis.code),
        ("What happened", diagnosis.sentence),
        ("What to do", diagnosis.advice),
    ]
    if task is not None:
        lines += [
            ("Status", task.status),
            ("Attempts", str(task.attempt)),
            ("Client", task.owner),
            ("Request", task.request_id),
            ("Submitted", to_rfc3339(task.created_at)),
            ("Updated", to_rfc3339(task.updated_at)),
        ]
    for letter in entry.letters:
        lines.append(("Message", f"{letter.message.message_id}, {to_rfc3339(letter.sent_at)}"))
        if entry.task_id is None:
            lines.append(("Body", repr(letter.body)))
    width = max(len(title) for title, _ in lines)
    for title, text in lines:
        click.echo(f"{title:<{width}}  {text}")


def _as_dict(entry: DeadLetterEntry) -> dict[str, object]:
    task = entry.task
    return {
        "taskId": entry.task_id,
        **entry.diagnosis._asdict(),
        "status": task and task.status,
        "attempt": task and task.attempt,
        "owner": task and task.owner,
        "requestId": task and task.request_id,
        "messages": [_message_as_dict(letter) for letter in entry.letters],
    }


def _message_as_dict(letter: DeadLetter) -> dict[str, object]:
    return {
        "messageId": letter.message.message_id,
        "sentAt": to_rfc3339(letter.sent_at),
        "body": letter.body,
    }

"""``taskctl dlq``: the messages that no worker could settle, and what to do about them."""

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
    HOLD_S,
    DeadLetter,
    DeadLetterGroup,
    DeadLetterQueue,
    DeadLetters,
    Redrive,
)
from taskctl.deployment import TaskResources, find_task_resources
from taskctl.errors import OperatorError, explained


@click.group()
def dlq() -> None:
    """List, explain and redrive dead letters.

    While a command runs, nobody else sees the letters that it looks at.
    """


def _of_a_deployment(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command` the options that say which deployment is meant, and its dead letters."""

    @click.option("--environment", metavar="NAME", help="The environment that was deployed.")
    @click.option("--table", metavar="NAME", envvar="TASK_TABLE", show_envvar=True)
    @click.option("--queue-url", metavar="URL", envvar="TASK_QUEUE_URL", show_envvar=True)
    @click.option(
        "--dead-letter-queue-url",
        metavar="URL",
        envvar="DEAD_LETTER_QUEUE_URL",
        show_envvar=True,
        help="With --table and --queue-url instead of --environment.",
    )
    @click.option(
        "--region",
        envvar="AWS_REGION",
        show_envvar=True,
        help="Where it is deployed; without it the profile's.",
    )
    @click.option(
        "--limit",
        type=click.IntRange(1, 100_000),
        default=1_000,
        show_default=True,
        help="Look at so many letters at most.",
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
                with explained("CloudFormation cannot be asked"):
                    client = session.client("cloudformation")
                resources = find_task_resources(client, environment=environment)
            elif table and queue_url and dead_letter_queue_url:
                resources = TaskResources(table, queue_url, dead_letter_queue_url)
            else:
                raise click.UsageError(
                    "Say which deployment: --environment NAME, or --table NAME, --queue-url URL "
                    "and --dead-letter-queue-url URL."
                )
            with explained("AWS cannot be asked"):
                dead_letters = _dead_letters(session, resources)
            command(dead_letters, **options)
        except OperatorError as error:
            raise click.ClickException(str(error)) from error
        except AwsError as error:
            raise click.ClickException(
                f"AWS failed on the way: {error}. What was not finished is shown again within "
                f"{HOLD_S // 60} minutes; nothing is lost."
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
    """What a redriven task gets: as in the deployment, and this process's defaults for the rest."""
    deployed = {
        "attempt_limit": resources.attempt_limit,
        "row_retention_s": resources.row_retention_s,
    }
    said = {name: value for name, value in deployed.items() if value is not None}
    return SubmissionConfig.model_validate(said).submission_policy()


_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@dlq.command("list")
@_as_json
@_of_a_deployment
def list_(dead_letters: DeadLetters, *, limit: int, as_json: bool) -> None:
    """List dead letters: which tasks they are about, and why they are there."""
    with dead_letters.cases(limit=limit) as cases:
        if as_json:
            click.echo(json.dumps([_shown(case) for case in cases], indent=2))
        elif cases:
            _print_table(cases)
        else:
            click.echo("There are no dead letters.")


@dlq.command()
@click.argument("id_", metavar="ID")
@_as_json
@_of_a_deployment
def show(dead_letters: DeadLetters, *, id_: str, limit: int, as_json: bool) -> None:
    """Explain one dead letter and say what to do. ID is the task's or the message's."""
    with dead_letters.cases(limit=limit) as cases:
        for case in cases:
            if id_ in {case.task_id, *(letter.message.message_id for letter in case.letters)}:
                if as_json:
                    click.echo(json.dumps(_shown(case), indent=2))
                else:
                    _print_case(case)
                return
    raise OperatorError(f"There is no dead letter of {id_} among the first {limit:,}.")


@dlq.command()
@click.option(
    "--code",
    "codes",
    metavar="CODE",
    multiple=True,
    required=True,
    help="Of which letters, by the list's column of codes; may be repeated.",
)
@_of_a_deployment
def redrive(dead_letters: DeadLetters, *, codes: Collection[str], limit: int) -> None:
    """Try failed tasks again and delete their letters.

    A task gets new attempts and a new deadline. Letters of tasks that are not failed any more, and
    those that name no task, are only deleted.
    """
    outcomes: Counter[Redrive] = Counter()
    with dead_letters.cases(limit=limit) as cases:
        for case in cases:
            if case.diagnosis.code in codes:
                outcomes[dead_letters.redrive(case)] += 1
    if not outcomes:
        raise OperatorError(f"No dead letter has the code {' or '.join(codes)}.")
    click.echo(
        f"{outcomes[Redrive.RETRIED]} tried again, {outcomes[Redrive.DELETED]} only deleted."
    )


def _print_table(cases: Collection[DeadLetterGroup]) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("Task or message", "Code", "First sent", "Letters", "What happened"):
        table.add_column(title, overflow="fold")
    for case in cases:
        table.add_row(
            case.task_id or case.letters[0].message.message_id,
            case.diagnosis.code,
            to_rfc3339(case.letters[0].sent_at),
            str(len(case.letters)),
            case.diagnosis.sentence,
        )
    Console().print(table)


def _print_case(case: DeadLetterGroup) -> None:
    diagnosis, task = case.diagnosis, case.task
    lines = [
        ("Task", case.task_id or "none"),
        ("Code", diagnosis.code),
        ("What happened", diagnosis.sentence),
        ("What to do", diagnosis.advice),
    ]
    if task is not None:
        lines += [
            ("Status", task.status),
            ("Attempts", f"{task.attempt} of {task.attempt_limit}"),
            ("Client", task.owner),
            ("Request", task.request_id),
            ("Submitted", to_rfc3339(task.created_at)),
            ("Changed", to_rfc3339(task.updated_at)),
        ]
    for letter in case.letters:
        lines.append(("Letter", f"{letter.message.message_id}, {to_rfc3339(letter.sent_at)}"))
        if case.task_id is None:
            lines.append(("Body", repr(letter.body)))
    width = max(len(title) for title, _ in lines)
    for title, text in lines:
        click.echo(f"{title:<{width}}  {text}")


def _shown(case: DeadLetterGroup) -> dict[str, object]:
    task = case.task
    return {
        "taskId": case.task_id,
        **case.diagnosis._asdict(),
        "status": task and task.status,
        "attempt": task and task.attempt,
        "attemptLimit": task and task.attempt_limit,
        "owner": task and task.owner,
        "requestId": task and task.request_id,
        "letters": [_letter_shown(letter) for letter in case.letters],
    }


def _letter_shown(letter: DeadLetter) -> dict[str, object]:
    return {
        "messageId": letter.message.message_id,
        "sentAt": to_rfc3339(letter.sent_at),
        "body": letter.body,
    }

"""Errors that the command line shows to the operator as one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError


class OperatorError(Exception):
    """The message is a sentence for the operator."""


@contextmanager
def report_aws_errors(failure: str) -> Iterator[None]:
    """Raise botocore's errors as ``OperatorError`` with a message that starts with `failure`."""
    try:
        yield
    except ClientError as error:
        details = error.response["Error"]
        reason = details.get("Message") or "no reason given"
        raise OperatorError(f"{failure}: {reason.rstrip('.')} ({details['Code']}).") from error
    except BotoCoreError as error:
        raise OperatorError(f"{failure}: {str(error).rstrip('.')}.") from error

"""What the operator is told when something does not work: one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError


class OperatorError(Exception):
    """Its message is a sentence for the operator."""


@contextmanager
def explained(failure: str) -> Iterator[None]:
    """Turn what botocore raises into a sentence that begins with `failure`."""
    try:
        yield
    except ClientError as refused:
        error = refused.response["Error"]
        reason = error.get("Message") or "no reason given"
        raise OperatorError(f"{failure}: {reason.rstrip('.')} ({error['Code']}).") from refused
    except BotoCoreError as failed:
        raise OperatorError(f"{failure}: {str(failed).rstrip('.')}.") from failed

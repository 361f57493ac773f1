"""How long a call to AWS may take. This module loads no AWS library."""

from dataclasses import dataclass

MAX_RETRY_AFTER_S = 5
"""A service may lengthen the backoff by up to this much, with an ``x-amz-retry-after`` header. The
backoff itself is up to 1 s · 2ⁿ when throttled (``ExponentialBackoff`` in botocore's
``retries/standard.py``)."""


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Timeouts of one call, in seconds, and its number of attempts.

    Retries use botocore's ``standard`` mode: exponential backoff with full jitter, and a quota for
    each client that stops retries when most calls fail.
    """

    connect_timeout_s: float = 2
    """For each IP address of the endpoint."""
    read_timeout_s: float = 3
    """DynamoDB, SQS and Secrets Manager respond in milliseconds. A slower response is lost."""
    transfer_timeout_s: float = 10
    """For S3: the longest pause in a transfer of several megabytes."""
    max_attempts: int = 3

    def max_call_s(self, *, wait_s: float = 0) -> float:
        """The longest that a call to DynamoDB, SQS or Secrets Manager takes.

        That is when every attempt times out and the service requests the longest pause between
        them. `wait_s` is the wait time of a long poll.
        """
        return self._max_s(wait_s + self.read_timeout_s)

    def max_transfer_s(self) -> float:
        """The longest that a call to S3 takes when no data is transferred."""
        return self._max_s(self.transfer_timeout_s)

    def max_try_s(self) -> float:
        """The longest that one try takes, with the pause after it."""
        longest_backoff_s = 2.0 ** max(0, self.max_attempts - 2)
        return self.connect_timeout_s + self.read_timeout_s + longest_backoff_s + MAX_RETRY_AFTER_S

    def _max_s(self, timeout_s: float) -> float:
        pauses_s: float = sum(
            2.0**retry + MAX_RETRY_AFTER_S for retry in range(self.max_attempts - 1)
        )
        return self.max_attempts * (self.connect_timeout_s + timeout_s) + pauses_s


DEFAULT_LIMITS = CallLimits()

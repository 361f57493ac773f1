"""A stub of an SQS queue with visibility timeouts and long polls."""

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

VISIBILITY_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class StubMessage:
    message_id: str
    body: str
    attributes: Mapping[str, Any]

    def received(self, receipt: str) -> dict[str, Any]:
        received = {
            "MessageId": self.message_id,
            "ReceiptHandle": receipt,
            "MD5OfBody": md5(self.body),
            "Body": self.body,
            "Attributes": {"ApproximateReceiveCount": "1"},
        }
        return {**received, "MessageAttributes": self.attributes} if self.attributes else received


@dataclass(frozen=True, slots=True)
class _Poll:
    """A long poll that waits for messages."""

    limit: int
    is_wanted: Callable[[], bool]
    answer: Callable[[Sequence[dict[str, Any]]], None]
    timeout: asyncio.TimerHandle


class StubQueue:
    """Runs in an event loop, in one thread."""

    def __init__(self) -> None:
        self._visible: deque[StubMessage] = deque()
        self._held: deque[StubMessage] = deque()
        self._in_flight: dict[str, tuple[StubMessage, asyncio.TimerHandle]] = {}
        self._polls: dict[object, _Poll] = {}
        """Oldest first."""
        self.holds = False
        """Whether new messages wait until ``release``, so that a round starts with a backlog."""
        self.sent = self.received = self.deleted = self.redelivered = 0
        """Messages."""
        self.receives = 0
        """Receive calls that returned messages."""

    def send(self, body: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
        message = StubMessage(str(uuid4()), body, attributes)
        self.sent += 1
        (self._held if self.holds else self._visible).append(message)
        self._answer_polls()
        return {"MessageId": message.message_id, "MD5OfMessageBody": md5(body)}

    def release(self, count: int) -> None:
        """Show the first `count` messages that are held back."""
        self._visible.extend(self._held.popleft() for _ in range(count))
        self._answer_polls()

    def purge(self) -> None:
        """Remove every message that is not in flight."""
        self._visible.clear()
        self._held.clear()

    def receive(
        self,
        *,
        limit: int,
        wait_s: float,
        is_wanted: Callable[[], bool],
        answer: Callable[[Sequence[dict[str, Any]]], None],
    ) -> None:
        """Call `answer` with up to `limit` messages, after at most `wait_s`."""
        if self._visible or not wait_s:
            answer(self._take(limit))
            return
        key = object()
        timeout = asyncio.get_running_loop().call_later(wait_s, self._end_poll, key)
        self._polls[key] = _Poll(limit, is_wanted, answer, timeout)

    def delete(self, receipt: str) -> bool:
        """Return False if the receipt is no longer valid."""
        if receipt not in self._in_flight:
            return False
        _, timeout = self._in_flight.pop(receipt)
        timeout.cancel()
        self.deleted += 1
        return True

    def change_visibility(self, receipt: str, timeout_s: float) -> bool:
        """Return False if the receipt is no longer valid."""
        if receipt not in self._in_flight:
            return False
        message, timeout = self._in_flight[receipt]
        timeout.cancel()
        self._hide(receipt, message, timeout_s)
        return True

    def attributes(self) -> dict[str, str]:
        return {
            "ApproximateNumberOfMessages": str(len(self._visible)),
            "ApproximateNumberOfMessagesNotVisible": str(len(self._in_flight)),
            "ApproximateNumberOfMessagesDelayed": "0",
        }

    def _take(self, limit: int) -> list[dict[str, Any]]:
        taken = []
        for _ in range(min(limit, len(self._visible))):
            message = self._visible.popleft()
            receipt = f"{uuid4()}-receipt".ljust(180, "-")  # about as long as in SQS
            self._hide(receipt, message, VISIBILITY_TIMEOUT_S)
            taken.append(message.received(receipt))
        self.received += len(taken)
        self.receives += bool(taken)
        return taken

    def _hide(self, receipt: str, message: StubMessage, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        timeout = loop.call_later(timeout_s, self._show_again, receipt)
        self._in_flight[receipt] = (message, timeout)

    def _show_again(self, receipt: str) -> None:
        message, _ = self._in_flight.pop(receipt)
        self.redelivered += 1
        self._visible.append(message)
        self._answer_polls()

    def _answer_polls(self) -> None:
        while self._polls and self._visible:
            poll = self._polls.pop(next(iter(self._polls)))
            poll.timeout.cancel()
            if poll.is_wanted():
                poll.answer(self._take(poll.limit))

    def _end_poll(self, key: object) -> None:
        self._polls.pop(key).answer(())


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

"""A stub of an SQS queue. Received messages never become visible again."""

import hashlib
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any
from uuid import uuid4


class StubQueue:
    """Thread-safe. `sent` and `deleted` count all messages since the start."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._visible: deque[tuple[str, str]] = deque()
        self.sent = 0
        self.deleted = 0

    def send(self, body: str) -> dict[str, Any]:
        message_id = str(uuid4())
        with self._changed:
            self._visible.append((message_id, body))
            self.sent += 1
            self._changed.notify_all()
        return {"MessageId": message_id, "MD5OfMessageBody": _md5(body)}

    def receive(self, request: Mapping[str, Any]) -> dict[str, Any]:
        with self._changed:
            self._changed.wait_for(lambda: self._visible, timeout=request["WaitTimeSeconds"])
            count = min(request["MaxNumberOfMessages"], len(self._visible))
            received = [self._visible.popleft() for _ in range(count)]
        messages = [
            {
                "MessageId": message_id,
                "ReceiptHandle": f"{message_id}-receipt".ljust(180, "-"),  # about as long as in SQS
                "MD5OfBody": _md5(body),
                "Body": body,
            }
            for message_id, body in received
        ]
        return {"Messages": messages} if messages else {}

    def delete(self) -> dict[str, Any]:
        with self._changed:
            self.deleted += 1
        return {}

    def attributes(self) -> dict[str, str]:
        return {
            "ApproximateNumberOfMessages": str(len(self._visible)),
            "ApproximateNumberOfMessagesNotVisible": "0",
            "ApproximateNumberOfMessagesDelayed": "0",
        }


def _md5(body: str) -> str:
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()

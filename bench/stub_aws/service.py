"""The operations of the stub, their delays, and the commands that the benchmarks give it."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.stub_aws.http_server import Reply, Request, Response
from bench.stub_aws.queue import StubQueue
from bench.stub_aws.table import Item, StubTable
from bench.task_id import task_id
from local.aws_resources import TABLE

IMAGES, CONTROL = "/images/", "/control/"
QUEUE_PATH = "/000000000000/tasks"
COMPLETED = {"S": "COMPLETED"}

_JSON = (
    b"Content-Type: application/x-amz-json-1.0\r\n"
    b"x-amzn-RequestId: 01234567-89ab-cdef-0123-456789abcdef\r\n"
)
_STORED = b'ETag: "0123456789abcdef0123456789abcdef"\r\n'
Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """From the arrival of a request to its response, in seconds."""

    dynamodb: float = 0
    sqs: float = 0
    s3: float = 0
    source: float = 0


class StubService:
    """One table, one queue, one bucket whose objects are discarded, and one secret.

    Every condition of a write counts as met.
    """

    def __init__(self, *, images: Mapping[str, bytes], secret: str, endpoint_url: str) -> None:
        self._images = images
        self._secret = secret
        self._queue_url = f"{endpoint_url}{QUEUE_PATH}"
        self._latencies = Latencies()
        self._calls: Counter[str] = Counter()
        self._completed_at: list[float] = []
        self._queue = StubQueue()
        self._table = StubTable(index=_index_attributes(TABLE))
        self._dynamodb: Mapping[str, Callable[[Body], Body]] = {
            "PutItem": lambda body: self._table.put(body["Item"]),
            "UpdateItem": self._update,
            "GetItem": lambda body: self._table.get(body["Key"]["taskId"]["S"]),
        }
        self._sqs: Mapping[str, Callable[[Body], Body]] = {
            "GetQueueUrl": lambda _: {"QueueUrl": self._queue_url},
            "GetQueueAttributes": lambda _: {"Attributes": self._queue.attributes()},
            "SendMessage": lambda body: self._queue.send(
                body["MessageBody"], body.get("MessageAttributes", {})
            ),
            "DeleteMessage": self._delete,
            "DeleteMessageBatch": lambda body: _each_entry(body, self._delete),
            "ChangeMessageVisibility": self._change_visibility,
            "ChangeMessageVisibilityBatch": lambda body: _each_entry(body, self._change_visibility),
        }
        self._commands: Mapping[str, Callable[[Body], Body]] = {
            "state": lambda _: self._state(),
            "completions": lambda body: {"at": self._completed_at[body["since"] :]},
            "rows": lambda _: {"rows": self._table.rows()},
            "delay": self._delay,
            "hold": self._hold,
            "release": self._release,
            "put_rows": self._put_rows,
            "send": self._send_messages,
            "purge_queue": self._purge_queue,
            "forget_rows": self._forget_rows,
        }

    def handle(self, request: Request, reply: Reply) -> None:
        if request.path.startswith(CONTROL):
            command = self._commands[request.path.removeprefix(CONTROL)]
            reply.send(Response(json.dumps(command(json.loads(request.body))).encode()))
        elif request.method == "POST":
            operation = request.headers["x-amz-target"].rpartition(".")[2]
            self._calls[operation] += 1
            self._call(operation, json.loads(request.body), reply)
        elif request.method == "PUT":
            self._calls["PutObject"] += 1
            self._later(self._latencies.s3, reply, Response(headers=_STORED))
        else:
            self._calls["GetImage"] += 1
            image = self._images[request.path.removeprefix(IMAGES)]
            self._later(self._latencies.source, reply, Response(image, close=True))

    def _call(self, operation: str, body: Body, reply: Reply) -> None:
        if operation == "ReceiveMessage":
            self._receive(body, reply)
        elif operation in self._dynamodb:
            answer = self._dynamodb[operation](body)
            self._later(self._latencies.dynamodb, reply, _json(answer))
        elif operation in self._sqs:
            self._later(self._latencies.sqs, reply, _json(self._sqs[operation](body)))
        elif operation == "GetSecretValue":
            reply.send(_json({"SecretString": self._secret}))
        else:
            reply.send(replace(_json({"__type": "UnknownOperationException"}), status=400))

    def _later(self, delay_s: float, reply: Reply, response: Response) -> None:
        if delay_s:
            asyncio.get_running_loop().call_later(delay_s, reply.send, response)
        else:
            reply.send(response)

    # ── Operations ────────────────────────────────────────────────────────────────────────────

    def _receive(self, body: Body, reply: Reply) -> None:
        def answer(messages: Sequence[Body]) -> None:
            content = {"Messages": messages} if messages else {}
            self._later(self._latencies.sqs, reply, _json(content))

        self._queue.receive(
            limit=body.get("MaxNumberOfMessages", 1),
            wait_s=body.get("WaitTimeSeconds", 0),
            is_wanted=reply.is_wanted,
            answer=answer,
        )

    def _update(self, body: Body) -> Body:
        before, row = self._table.update(body)
        if row.get("status") == COMPLETED != before.get("status"):
            self._completed_at.append(time.monotonic())
        match body.get("ReturnValues"):
            case "ALL_NEW":
                return {"Attributes": row}
            case "UPDATED_NEW":
                return {"Attributes": _changed(before, row)}
        return {}

    def _delete(self, body: Body) -> Body:
        self._queue.delete(body["ReceiptHandle"])
        return {}

    def _change_visibility(self, body: Body) -> Body:
        self._queue.change_visibility(body["ReceiptHandle"], body["VisibilityTimeout"])
        return {}

    # ── Commands ──────────────────────────────────────────────────────────────────────────────

    def _state(self) -> Body:
        queue = self._queue
        return {
            "calls": self._calls,
            "completed": len(self._completed_at),
            "sent": queue.sent,
            "receives": queue.receives,
            "received": queue.received,
            "deleted": queue.deleted,
            "redelivered": queue.redelivered,
            "write_units": self._table.write_units,
            "cpu_s": time.process_time(),
        }

    def _delay(self, body: Body) -> Body:
        self._latencies = Latencies(**body)
        return asdict(self._latencies)

    def _hold(self, body: Body) -> Body:
        self._queue.holds = body["on"]
        return {}

    def _release(self, body: Body) -> Body:
        self._queue.release(body["count"])
        return {}

    def _put_rows(self, body: Body) -> Body:
        for number in range(body["first"], body["first"] + body["count"]):
            self._table.put_free({**body["template"], "taskId": {"S": task_id(number)}})
        return {}

    def _send_messages(self, body: Body) -> Body:
        for number in range(body["first"], body["first"] + body["count"]):
            self._queue.send(json.dumps({"taskId": task_id(number), "requestId": "bench"}), {})
        return {}

    def _purge_queue(self, _: Body) -> Body:
        self._queue.purge()
        return {}

    def _forget_rows(self, _: Body) -> Body:
        self._table.forget()
        return {}


def _changed(before: Item, row: Item) -> Item:
    return {name: value for name, value in row.items() if before.get(name) != value}


def _index_attributes(table: Mapping[str, Any]) -> Sequence[str]:
    """The attributes in the table's only index, its key first."""
    [index] = table["GlobalSecondaryIndexes"]
    keys = [key["AttributeName"] for key in (*index["KeySchema"], *table["KeySchema"])]
    return [*keys, *index["Projection"].get("NonKeyAttributes", ())]


def _each_entry(body: Body, operation: Callable[[Body], Body]) -> Body:
    for entry in body["Entries"]:
        operation(entry)
    return {"Successful": [{"Id": entry["Id"]} for entry in body["Entries"]], "Failed": []}


def _json(content: Body) -> Response:
    return Response(json.dumps(content).encode(), headers=_JSON)

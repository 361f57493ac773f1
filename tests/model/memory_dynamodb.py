"""A table in memory behind the calls of a DynamoDB client that our code makes."""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from botocore.exceptions import ClientError

from tests.model import expressions
from tests.model.expressions import Item, Value

Observer = Callable[[Item | None, Item], None]
"""Sees an item before and after each write."""


class MemoryDynamoDB:
    """One table with `taskId` as its key and the index of open tasks.

    The index is eventually consistent: what is written shows in it when `index_catches_up`, which
    happens at once unless `index_lags`.
    """

    def __init__(self, *, observe: Observer = lambda _before, _after: None) -> None:
        self.items: dict[str, Item] = {}
        self.index_lags = False
        self._index: dict[str, Item] = {}
        self._observe = observe

    def index_catches_up(self) -> None:
        self._index = {task_id: item for task_id, item in self.items.items() if "checkAt" in item}

    def get_item(self, *, Key: Item, **_: Any) -> Mapping[str, Any]:  # noqa: N803
        item = self.items.get(Key["taskId"]["S"])
        return {} if item is None else {"Item": item}

    def put_item(self, *, Item: Item, **request: Any) -> Mapping[str, Any]:  # noqa: N803
        before = self.items.get(Item["taskId"]["S"])
        self._require(before, request)
        self._write(before, Item)
        return {}

    def update_item(
        self,
        *,
        Key: Item,  # noqa: N803
        UpdateExpression: str,  # noqa: N803
        **request: Any,
    ) -> Mapping[str, Any]:
        before = self.items.get(Key["taskId"]["S"])
        self._require(before, request)
        change = expressions.update(UpdateExpression, _names(request))
        after = change(before or Key, request["ExpressionAttributeValues"])
        self._write(before, after)
        return {"Attributes": after} if request.get("ReturnValues") == "ALL_NEW" else {}

    def get_paginator(self, operation: str) -> "_Query":
        assert operation == "query"
        return _Query(self)

    def query(self, *, ExpressionAttributeValues: Item, **_: Any) -> Iterable[Item]:  # noqa: N803
        """``openShard = :shard AND checkAt <= :now``, which is all that our table asks."""
        shard, now = (ExpressionAttributeValues[name]["N"] for name in (":shard", ":now"))
        if not self.index_lags:
            self.index_catches_up()
        due = [
            item
            for item in self._index.values()
            if item["openShard"]["N"] == shard and _number(item["checkAt"]) <= Decimal(now)
        ]
        return sorted(due, key=lambda item: _number(item["checkAt"]))

    def _require(self, item: Item | None, request: Mapping[str, Any]) -> None:
        holds = expressions.condition(request["ConditionExpression"], _names(request))
        if holds(item or {}, request.get("ExpressionAttributeValues", {})):
            return
        answer: dict[str, Any] = {"Error": {"Code": "ConditionalCheckFailedException"}}
        if item is not None and request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD":
            answer["Item"] = item
        raise ClientError(answer, "Write")  # type: ignore[arg-type] # as much as anybody reads

    def _write(self, before: Item | None, after: Item) -> None:
        self._observe(before, after)
        self.items[after["taskId"]["S"]] = after


class _Query:
    def __init__(self, table: MemoryDynamoDB) -> None:
        self._table = table

    def paginate(self, **request: Any) -> Iterable[Mapping[str, Any]]:
        yield {"Items": self._table.query(**request)}


def _names(request: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(request.get("ExpressionAttributeNames", {}).items())


def _number(value: Value) -> Decimal:
    return Decimal(value["N"])

"""A DynamoDB client on a table in memory, with the calls that the services make."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from botocore.exceptions import ClientError

from tests.model import expressions
from tests.model.expressions import Item, Value

Observer = Callable[[Item | None, Item], None]
"""Receives an item before and after each write."""
_PROJECTED = ("taskId", "openShard", "checkAt", "deadlineAt", "unsent")
"""The attributes of the index."""


class MemoryDynamoDB:
    """One table with the key `taskId` and the index of open tasks.

    The index is eventually consistent. It reflects writes at once, or, while `index_lags` is true,
    after the next `update_index`.
    """

    def __init__(self, *, observe: Observer = lambda _before, _after: None) -> None:
        self.items: dict[str, Item] = {}
        self.index_lags = False
        self._index: dict[str, Item] = {}
        self._observe = observe

    def update_index(self) -> None:
        self._index = {
            task_id: {name: item[name] for name in _PROJECTED if name in item}
            for task_id, item in self.items.items()
            if "checkAt" in item
        }

    def get_item(self, *, Key: Item, **_: Any) -> Mapping[str, Any]:  # noqa: N803
        item = self.items.get(Key["taskId"]["S"])
        return {} if item is None else {"Item": item}

    def batch_get_item(self, *, RequestItems: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: N803
        responses = {
            table: [
                self.items[key["taskId"]["S"]]
                for key in request["Keys"]
                if key["taskId"]["S"] in self.items
            ]
            for table, request in RequestItems.items()
        }
        return {"Responses": responses}

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

    def query(
        self,
        *,
        KeyConditionExpression: str,  # noqa: N803
        FilterExpression: str,  # noqa: N803
        ExpressionAttributeValues: Item,  # noqa: N803
        **_: Any,
    ) -> Sequence[Item]:
        """The items of the index that match, oldest first."""
        if not self.index_lags:
            self.update_index()
        matches = [
            expressions.condition(KeyConditionExpression),
            expressions.condition(FilterExpression),
        ]
        due = [
            item
            for item in self._index.values()
            if all(match(item, ExpressionAttributeValues) for match in matches)
        ]
        return sorted(due, key=lambda item: _number(item["checkAt"]))

    def _require(self, item: Item | None, request: Mapping[str, Any]) -> None:
        holds = expressions.condition(request["ConditionExpression"], _names(request))
        if holds(item or {}, request.get("ExpressionAttributeValues", {})):
            return
        response: dict[str, Any] = {"Error": {"Code": "ConditionalCheckFailedException"}}
        if item is not None and request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD":
            response["Item"] = item
        raise ClientError(response, "Write")  # type: ignore[arg-type] # has only what is read

    def _write(self, before: Item | None, after: Item) -> None:
        self._observe(before, after)
        self.items[after["taskId"]["S"]] = after


class _Query:
    def __init__(self, table: MemoryDynamoDB) -> None:
        self._table = table

    def paginate(self, **request: Any) -> Iterable[Mapping[str, Any]]:
        items = self._table.query(**request)
        yield {"Items": items, "Count": len(items)}


def _names(request: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(request.get("ExpressionAttributeNames", {}).items())


def _number(value: Value) -> Decimal:
    return Decimal(value["N"])

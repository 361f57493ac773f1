"""A stub of a DynamoDB table. It applies updates and treats every condition as met."""

import re
import threading
from collections.abc import Mapping
from typing import Any

Item = dict[str, Any]

_ASSIGNMENT = re.compile(
    r"(?P<name>#?\w+) = "
    r"(?:(?P<base>\w+) \+ |(?P<once>if_not_exists)\(\w+, )?"
    r"(?P<value>:\w+)"
)
"""``a = :b``, ``a = a + :b`` and ``a = if_not_exists(a, :b)``: the forms that our updates use."""


class StubTable:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, Item] = {}

    def put(self, item: Item) -> dict[str, Any]:
        with self._lock:
            self._rows[item["taskId"]["S"]] = item
        return {}

    def get(self, task_id: str) -> dict[str, Any]:
        with self._lock:
            return {"Item": self._rows[task_id]} if task_id in self._rows else {}

    def rows(self) -> list[Item]:
        with self._lock:
            return list(self._rows.values())

    def update(self, request: Mapping[str, Any]) -> Item:
        """Apply the update and return the new row."""
        names: Mapping[str, str] = request.get("ExpressionAttributeNames", {})
        values: Mapping[str, Item] = request["ExpressionAttributeValues"]
        sets, _, removes = request["UpdateExpression"].partition(" REMOVE ")
        sets, _, adds = sets.partition(" ADD ")
        with self._lock:
            row = dict(self._rows.get(request["Key"]["taskId"]["S"], request["Key"]))
            for change in _ASSIGNMENT.finditer(sets):
                name = names.get(change["name"], change["name"])
                value = values[change["value"]]
                if change["base"]:
                    value = _sum(row.get(change["base"]), value)
                elif change["once"]:
                    value = row.get(name, value)
                row[name] = value
            for name, token in re.findall(r"(\w+) (:\w+)", adds):
                row[name] = _sum(row.get(name), values[token])
            for name in re.findall(r"\w+", removes):
                row.pop(name, None)
            self._rows[row["taskId"]["S"]] = row
            return row


def _sum(number: Item | None, added: Item) -> Item:
    return {"N": str(int((number or {"N": "0"})["N"]) + int(added["N"]))}

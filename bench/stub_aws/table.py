"""A stub of a DynamoDB table. It applies updates, treats every condition as met and counts write
units."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import ceil
from typing import Any

Item = dict[str, Any]
Values = Mapping[str, Any]

WRITE_UNIT_BYTES = 1_024
"""Source: "DynamoDB read and write operations", Amazon DynamoDB Developer Guide."""

_CLAUSE = re.compile(r"\b(SET|REMOVE|ADD)\b")
_TERM = re.compile(
    r"if_not_exists\((?P<once>#?\w+), (?P<default>:\w+)\)|(?P<value>:\w+)|(?P<name>#?\w+)"
)
_ASSIGNMENTS = re.compile(r"(#?\w+) = ((?:if_not_exists\([^)]*\)|[^,])+)")


class StubTable:
    """Runs in one thread. `index` names the attributes of its sparse index: partition key, sort
    key, and the others."""

    def __init__(self, *, index: Sequence[str]) -> None:
        self._rows: dict[str, Item] = {}
        self._index_key, self._sort_key, *_ = self._index = index
        self.write_units = 0

    def put(self, item: Item) -> dict[str, Any]:
        self._store({}, item)
        return {}

    def put_free(self, item: Item) -> None:
        """Write a row without counting write units."""
        self._rows[item["taskId"]["S"]] = item

    def get(self, task_id: str) -> dict[str, Any]:
        return {"Item": self._rows[task_id]} if task_id in self._rows else {}

    def rows(self) -> list[Item]:
        return list(self._rows.values())

    def forget(self) -> None:
        self._rows.clear()

    def update(self, request: Mapping[str, Any]) -> tuple[Item, Item]:
        """Apply the update and return the row before and after it."""
        values: Values = request.get("ExpressionAttributeValues", {})
        names: Mapping[str, str] = request.get("ExpressionAttributeNames", {})
        before: Item = self._rows.get(request["Key"]["taskId"]["S"], request["Key"])
        row = dict(before)
        for apply in _parsed(request["UpdateExpression"]):
            apply(row, before, names, values)
        self._store(before, row)
        return before, row

    def _store(self, before: Item, row: Item) -> None:
        self._rows[row["taskId"]["S"]] = row
        self.write_units += ceil(max(_size(before), _size(row)) / WRITE_UNIT_BYTES)
        self.write_units += self._index_units(before, row)

    def _index_units(self, before: Item, row: Item) -> int:
        """An entry that is added, removed or changed costs one unit, and one that moves two.

        Source: "Using Global Secondary Indexes in DynamoDB", Amazon DynamoDB Developer Guide.
        """
        old = {name: before.get(name) for name in self._index if self._index_key in before}
        new = {name: row.get(name) for name in self._index if self._index_key in row}
        if old == new:
            return 0
        moves = bool(old and new) and old[self._sort_key] != new[self._sort_key]
        return 2 if moves else 1


Change = Callable[[Item, Item, Mapping[str, str], Values], None]


@lru_cache
def _parsed(expression: str) -> Sequence[Change]:
    _, *parts = _CLAUSE.split(expression)
    changes: list[Change] = []
    for clause, text in zip(parts[::2], parts[1::2], strict=True):
        match clause:
            case "SET":
                changes += [_assignment(*found) for found in _ASSIGNMENTS.findall(text)]
            case "ADD":
                changes += [_addition(*pair.split()) for pair in text.split(",")]
            case _:
                changes += [_removal(name.strip()) for name in text.split(",")]
    return changes


def _assignment(target: str, expression: str) -> Change:
    terms = list(_TERM.finditer(expression))

    def apply(row: Item, before: Item, names: Mapping[str, str], values: Values) -> None:
        numbers = [_value_of(term, before, names, values) for term in terms]
        row[names.get(target, target)] = numbers[0] if len(numbers) == 1 else _sum(*numbers)

    return apply


def _value_of(term: re.Match[str], before: Item, names: Mapping[str, str], values: Values) -> Any:
    if term["value"]:
        return values[term["value"]]
    name = term["once"] or term["name"]
    stored = before.get(names.get(name, name))
    return values[term["default"]] if stored is None and term["default"] else stored


def _addition(target: str, token: str) -> Change:
    def apply(row: Item, before: Item, names: Mapping[str, str], values: Values) -> None:
        name = names.get(target, target)
        row[name] = _sum(before.get(name), values[token])

    return apply


def _removal(target: str) -> Change:
    def apply(row: Item, _: Item, names: Mapping[str, str], __: Values) -> None:
        row.pop(names.get(target, target), None)

    return apply


def _sum(number: Item | None, added: Item) -> Item:
    total = float((number or {"N": "0"})["N"]) + float(added["N"])
    return {"N": f"{total:g}"}


def _size(item: Item) -> int:
    """About the bytes of an item: names and values. Numbers take half a byte per digit."""
    return sum(len(name) + _value_size(value) for name, value in item.items())


def _value_size(value: Mapping[str, Any]) -> int:
    [(kind, content)] = value.items()
    match kind:
        case "S":
            return len(content)
        case "N":
            return len(content) // 2 + 2
        case "M":
            return 3 + _size(content)
        case "L":
            return 3 + sum(map(_value_size, content))
        case _:
            return 1

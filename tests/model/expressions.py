"""The DynamoDB expressions that the task table uses, compiled once and evaluated in microseconds.

`test_expressions` compares them with moto. Grammar and precedence: "Comparison operator and
function reference" and "Using update expressions", Amazon DynamoDB Developer Guide.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

Value = Mapping[str, Any]
"""A typed value, for example ``{"S": "PENDING"}``."""
Item = Mapping[str, Value]
Operand = Callable[[Item, Item], Value | None]
Condition = Callable[[Item, Item], bool]
Update = Callable[[Item, Item], dict[str, Value]]

_TOKEN = re.compile(r"<=|>=|<>|[()<>=,+]|[:#]?\w+")


@lru_cache
def condition(expression: str, names: tuple[tuple[str, str], ...] = ()) -> Condition:
    """A function of an item and the placeholder values."""
    tokens = _Tokens(expression, dict(names))
    parsed = _any(tokens)
    tokens.expect_end()
    return parsed


@lru_cache
def update(expression: str, names: tuple[tuple[str, str], ...] = ()) -> Update:
    """A function that returns the item after the update."""
    tokens = _Tokens(expression, dict(names))
    sets: list[tuple[str, Operand]] = []
    removes: list[str] = []
    while not tokens.at_end():
        match tokens.take():
            case "SET":
                sets.append(_assignment(tokens))
                while tokens.take_if(","):
                    sets.append(_assignment(tokens))
            case "REMOVE":
                removes.append(tokens.take_name())
                while tokens.take_if(","):
                    removes.append(tokens.take_name())
            case other:
                raise ValueError(f"{other} is not supported: {expression}")

    def apply(item: Item, values: Item) -> dict[str, Value]:
        after = {name: value for name, value in item.items() if name not in removes}
        for name, operand in sets:
            value = operand(item, values)
            assert value is not None, f"{name} is set to no value: {expression}"
            after[name] = value
        return after

    return apply


class _Tokens:
    def __init__(self, expression: str, names: Mapping[str, str]) -> None:
        self._remaining: list[str] = _TOKEN.findall(expression)[::-1]
        self._names = names

    def at_end(self) -> bool:
        return not self._remaining

    def expect_end(self) -> None:
        if self._remaining:
            raise ValueError(f"unexpected {self._remaining[-1]}")

    def take(self) -> str:
        return self._remaining.pop()

    def take_if(self, token: str) -> bool:
        if self._remaining and self._remaining[-1] == token:
            self._remaining.pop()
            return True
        return False

    def expect(self, token: str) -> None:
        if not self.take_if(token):
            raise ValueError(f"{token} expected, not {self._remaining[-1:]}")

    def take_name(self) -> str:
        token = self.take()
        return self._names[token] if token.startswith("#") else token


def _any(tokens: _Tokens) -> Condition:
    parts = [_all(tokens)]
    while tokens.take_if("OR"):
        parts.append(_all(tokens))
    return lambda item, values: any(part(item, values) for part in parts)


def _all(tokens: _Tokens) -> Condition:
    parts = [_not(tokens)]
    while tokens.take_if("AND"):
        parts.append(_not(tokens))
    return lambda item, values: all(part(item, values) for part in parts)


def _not(tokens: _Tokens) -> Condition:
    if tokens.take_if("NOT"):
        inverted = _not(tokens)
        return lambda item, values: not inverted(item, values)
    if tokens.take_if("("):
        inner = _any(tokens)
        tokens.expect(")")
        return inner
    if tokens.take_if("attribute_not_exists"):
        tokens.expect("(")
        name = tokens.take_name()
        tokens.expect(")")
        return lambda item, _: name not in item
    return _comparison(tokens)


def _comparison(tokens: _Tokens) -> Condition:
    left = _operand(tokens)
    compare = _COMPARISONS[tokens.take()]
    right = _operand(tokens)

    def holds(item: Item, values: Item) -> bool:
        one, other = left(item, values), right(item, values)
        if one is None or other is None or one.keys() != other.keys():
            return False  # comparing a missing attribute or another type is false
        return compare(_comparable(one), _comparable(other))

    return holds


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": lambda one, other: bool(one == other),
    "<": lambda one, other: bool(one < other),
    "<=": lambda one, other: bool(one <= other),
    ">": lambda one, other: bool(one > other),
    ">=": lambda one, other: bool(one >= other),
}


def _comparable(value: Value) -> Any:
    return Decimal(value["N"]) if "N" in value else next(iter(value.values()))


def _assignment(tokens: _Tokens) -> tuple[str, Operand]:
    name = tokens.take_name()
    tokens.expect("=")
    operand = _operand(tokens)
    if tokens.take_if("+"):
        operand = _sum(operand, _operand(tokens))
    return name, operand


def _sum(left: Operand, right: Operand) -> Operand:
    def add(item: Item, values: Item) -> Value:
        one, other = left(item, values), right(item, values)
        assert one is not None
        assert other is not None
        return {"N": str(Decimal(one["N"]) + Decimal(other["N"]))}

    return add


def _operand(tokens: _Tokens) -> Operand:
    if tokens.take_if("if_not_exists"):
        tokens.expect("(")
        name = tokens.take_name()
        tokens.expect(",")
        otherwise = _operand(tokens)
        tokens.expect(")")
        return lambda item, values: item[name] if name in item else otherwise(item, values)
    token = tokens.take_name()
    if token.startswith(":"):
        return lambda _, values: values[token]
    return lambda item, _: item.get(token)

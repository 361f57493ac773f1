"""As much of DynamoDB's expressions as our table uses, compiled once and evaluated in microseconds.

`test_expressions` holds it against moto. Grammar and precedence: "Comparison operator and function
reference" and "Using update expressions", Amazon DynamoDB Developer Guide.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

Value = Mapping[str, Any]
"""One typed value, for instance ``{"S": "PENDING"}``."""
Item = Mapping[str, Value]
Operand = Callable[[Item, Item], Value | None]
Condition = Callable[[Item, Item], bool]
Update = Callable[[Item, Item], dict[str, Value]]

_TOKEN = re.compile(r"<=|>=|<>|[()<>=,+]|[:#]?\w+")


@lru_cache
def condition(expression: str, names: tuple[tuple[str, str], ...] = ()) -> Condition:
    """A function of an item and the values of placeholders."""
    tokens = _Tokens(expression, dict(names))
    parsed = _any(tokens)
    tokens.expect_end()
    return parsed


@lru_cache
def update(expression: str, names: tuple[tuple[str, str], ...] = ()) -> Update:
    """A function that gives the item after the update, from the item before."""
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
            assert value is not None, f"{name} is set to nothing: {expression}"
            after[name] = value
        return after

    return apply


class _Tokens:
    def __init__(self, expression: str, names: Mapping[str, str]) -> None:
        self._left: list[str] = _TOKEN.findall(expression)[::-1]
        self._names = names

    def at_end(self) -> bool:
        return not self._left

    def expect_end(self) -> None:
        if self._left:
            raise ValueError(f"unexpected {self._left[-1]}")

    def take(self) -> str:
        return self._left.pop()

    def take_if(self, token: str) -> bool:
        if self._left and self._left[-1] == token:
            self._left.pop()
            return True
        return False

    def expect(self, token: str) -> None:
        if not self.take_if(token):
            raise ValueError(f"{token} expected, not {self._left[-1:]}")

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
            return False  # a missing attribute or another type compares with nothing
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

"""Functions and arithmetic that depend on nothing but their arguments."""

from __future__ import annotations

import datetime as dt
import decimal
import functools
from typing import TYPE_CHECKING, TypeAlias

from aioaurora.simulator.memory.values import Value, as_number, as_text, compared, truth

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Number: TypeAlias = int | float | decimal.Decimal
UNITS = {
    "MICROSECOND": dt.timedelta(microseconds=1),
    "SECOND": dt.timedelta(seconds=1),
    "MINUTE": dt.timedelta(minutes=1),
    "HOUR": dt.timedelta(hours=1),
    "DAY": dt.timedelta(days=1),
}


def computed(operator: str, left: Number, right: Number) -> Value:
    """Carry out one step of arithmetic; whole numbers divide to decimals, and division by zero is NULL."""
    if operator in ("/", "%", "DIV") and right == 0:
        return None
    if isinstance(left, float) or isinstance(right, float):
        return _reckoned(operator, float(left), float(right))
    if operator == "/" or isinstance(left, decimal.Decimal) or isinstance(right, decimal.Decimal):
        result = decimal.Decimal(_reckoned(operator, decimal.Decimal(left), decimal.Decimal(right)))
        return result.quantize(decimal.Decimal("1.0000")) if operator == "/" else result
    return _reckoned(operator, left, right)


def _reckoned(operator: str, left: Number, right: Number) -> Number:
    # The two are of one kind: `computed` has seen to that.
    operations: dict[str, Callable[[], Number]] = {
        "+": lambda: left + right,  # type: ignore[operator]  # As above.
        "-": lambda: left - right,  # type: ignore[operator]  # As above.
        "*": lambda: left * right,  # type: ignore[operator]  # As above.
        "/": lambda: left / right,  # type: ignore[operator]  # As above.
        "DIV": lambda: int(left / right),  # type: ignore[operator]  # As above.
        "%": lambda: _remainder(left, right),
    }
    return operations[operator]()


def _remainder(left: Number, right: Number) -> Number:
    """Return what is left over, with the sign of the dividend as in SQL, unlike Python's."""
    size: Number = abs(left) % abs(right)  # type: ignore[operator]  # Of one kind too.
    return -size if left < 0 else size


def extreme(values: Sequence[Value], sign: int) -> Value:
    """Return the greatest value for a sign of 1, the least for -1."""

    def better(one: Value, other: Value) -> Value:
        return other if (compared(other, one) or 0) * sign > 0 else one

    return functools.reduce(better, values)


def total(values: Sequence[Value]) -> Value:
    """Return the sum: a decimal, or a double if one of the values is."""
    numbers = [as_number(value) for value in values]
    if any(isinstance(number, float) for number in numbers):
        return float(sum(float(number) for number in numbers))
    return sum((decimal.Decimal(number) for number in numbers), decimal.Decimal(0))


def average(values: Sequence[Value]) -> Value:
    """Return the mean."""
    whole = total(values)
    if isinstance(whole, decimal.Decimal):
        return computed("/", whole, len(values))
    return float(as_number(whole)) / len(values)


def _concat(*values: Value) -> Value:
    return None if None in values else "".join(map(as_text, values))


def _if(condition: Value, one: Value, other: Value) -> Value:
    return one if truth(condition) else other


def _coalesce(*values: Value) -> Value:
    return next((value for value in values if value is not None), None)


def _nullif(one: Value, other: Value) -> Value:
    return None if compared(one, other) == 0 else one


def _timestampdiff(unit: Value, start: Value, end: Value) -> Value:
    if start is None or end is None:
        return None
    first, last = (
        moment if isinstance(moment, dt.datetime) else dt.datetime.fromisoformat(as_text(moment))
        for moment in (start, end)
    )
    return int((last - first) / UNITS[str(unit)])


def _on_text(function: Callable[[str], Value]) -> Callable[..., Value]:
    return lambda value: None if value is None else function(as_text(value))


def _absolute(value: Value) -> Value:
    number = as_number(value)
    return None if value is None else -number if number < 0 else number


PLAIN: dict[str, Callable[..., Value]] = {
    "abs": _absolute,
    "char_length": _on_text(len),
    "coalesce": _coalesce,
    "concat": _concat,
    "greatest": lambda *values: None if None in values else extreme(values, 1),
    "hex": lambda value: None if value is None else as_text(value).encode("utf-8", "surrogateescape").hex().upper(),
    "if": _if,
    "ifnull": _coalesce,
    "least": lambda *values: None if None in values else extreme(values, -1),
    "length": _on_text(lambda text: len(text.encode("utf-8", "surrogateescape"))),
    "lower": _on_text(str.lower),
    "mod": lambda one, other: None if None in (one, other) else computed("%", as_number(one), as_number(other)),
    "nullif": _nullif,
    "repeat": lambda text, times: None if None in (text, times) else as_text(text) * int(as_number(times)),
    "timestampdiff": _timestampdiff,
    "upper": _on_text(str.upper),
}

"""What a cell may hold, how it compares, and how it is declared and written on the wire."""

from __future__ import annotations

import datetime as dt
import decimal
import re
from dataclasses import dataclass
from typing import TypeAlias

Value: TypeAlias = int | float | decimal.Decimal | str | bytes | dt.datetime | None

_LEADING_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_SIZES = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_CODES = {
    "tinyint": 1,
    "smallint": 2,
    "int": 3,
    "float": 4,
    "double": 5,
    "null": 6,
    "timestamp": 7,
    "bigint": 8,
    "mediumint": 9,
    "datetime": 12,
    "decimal": 246,
    "text": 252,
    "blob": 252,
    "varchar": 253,
    "varbinary": 253,
    "char": 254,
    "binary": 254,
}
_NUMBERS = {*_SIZES, "float", "double", "decimal"}
_TEXTS = {"varchar", "char", "text"}
_TIMES = {"datetime", "timestamp"}
UTF8MB4, BINARY = 45, 63


class SqlError(Exception):
    """A statement failed: what the ERR packet says."""

    errno: int
    message: str
    state: str

    def __init__(self, errno: int, message: str, state: str = "HY000") -> None:
        """Take MySQL's number, its sentence and its five letters of state."""
        super().__init__(errno, message)
        self.errno, self.message, self.state = errno, message, state


KILLED = "Query execution was interrupted"


def unknown(what: str) -> SqlError:
    """Return the refusal of whatever this engine has not learnt."""
    return SqlError(1064, f"the memory engine knows only the simulator's statements, and not {what}", "42000")


@dataclass(frozen=True, slots=True)
class Type:
    """A column's type: `size` is the declared length or precision, `scale` the digits behind the point."""

    name: str
    size: int | None = None
    scale: int = 0
    unsigned: bool = False

    @property
    def code(self) -> int:
        """Its number on the wire."""
        return _CODES[self.name]

    @property
    def charset(self) -> int:
        """Its character set on the wire; everything that is no text is binary."""
        return UTF8MB4 if self.name in _TEXTS else BINARY

    @property
    def flags(self) -> int:
        """Its flags on the wire: UNSIGNED, BINARY and NUM."""
        is_binary = self.charset == BINARY
        return self.unsigned * 0x20 | is_binary * 0x80 | (self.name in _NUMBERS) * 0x8000

    @property
    def display_length(self) -> int:
        """How many bytes a client should reserve."""
        return (self.size or 255) * (4 if self.name in _TEXTS else 1)

    def stored(self, value: Value, column: str) -> Value:
        """Return `value` as a column of this type keeps it; raises 1264, 1366, 1292 or 1406 as strict mode does."""
        if value is None:
            return None
        if self.name in _SIZES:
            return self._whole(value, column)
        if self.name in ("float", "double"):
            return float(_number(value, column))
        if self.name == "decimal":
            return decimal.Decimal(str(_number(value, column))).quantize(decimal.Decimal(1).scaleb(-self.scale))
        if self.name in _TIMES:
            return self._moment(value, column)
        return self._characters(value, column)

    def _whole(self, value: Value, column: str) -> int:
        number = _number(value, column)
        whole = int(decimal.Decimal(str(number)).to_integral_value(decimal.ROUND_HALF_UP))
        bits = _SIZES[self.name]
        low, high = (0, 2**bits - 1) if self.unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        if not low <= whole <= high:
            raise SqlError(1264, f"Out of range value for column '{column}' at row 1", "22003")
        return whole

    def _moment(self, value: Value, column: str) -> dt.datetime:
        moment = value if isinstance(value, dt.datetime) else _parsed_moment(value)
        if moment is None:
            raise SqlError(1292, f"Incorrect datetime value: '{value!s}' for column '{column}' at row 1", "22007")
        step = 10 ** (6 - self.scale)
        return moment.replace(microsecond=moment.microsecond // step * step)

    def _characters(self, value: Value, column: str) -> Value:
        is_text = self.name in _TEXTS
        text: str | bytes
        if isinstance(value, bytes):
            text = value.decode("utf-8", "surrogateescape") if is_text else value
        else:
            text = as_text(value) if is_text else as_text(value).encode("utf-8", "surrogateescape")
        if self.size is not None and len(text) > self.size:
            raise SqlError(1406, f"Data too long for column '{column}' at row 1", "22001")
        return text


BIGINT, DOUBLE, VARCHAR, NULL = Type("bigint", 20), Type("double", 22), Type("varchar"), Type("null")
_PLAIN_TYPES = {type(None): NULL, bool: BIGINT, int: BIGINT, float: DOUBLE, str: VARCHAR}


def type_of(value: Value) -> Type:
    """Return the type of a computed value."""
    match value:
        case decimal.Decimal():
            return Type("decimal", 65, max(0, -int(value.as_tuple().exponent)))
        case dt.datetime():
            return Type("datetime", 26, 6 if value.microsecond else 0)
        case bytes():
            return Type("varbinary")
        case _:
            return _PLAIN_TYPES[type(value)]


def as_text(value: Value, scale: int | None = None) -> str:
    """Return the text protocol's form of a value that is not NULL; `scale`: digits of a moment's fraction."""
    match value:
        case bytes():
            return value.decode("utf-8", "surrogateescape")
        case dt.datetime():
            return _moment_text(value, scale if scale is not None else 6 * (value.microsecond > 0))
        case decimal.Decimal():
            return f"{value:f}"
        case float():
            return repr(value).removesuffix(".0")
        case _:
            return str(value)


def _moment_text(value: dt.datetime, digits: int) -> str:
    whole = value.strftime("%Y-%m-%d %H:%M:%S")
    return f"{whole}.{value.microsecond:06d}"[: 20 + digits] if digits else whole


def as_number(value: Value) -> int | float | decimal.Decimal:
    """Return the number that a value counts as in an expression; text counts as its leading digits."""
    match value:
        case None:
            return 0
        case dt.datetime():
            return int(value.strftime("%Y%m%d%H%M%S"))
        case str() | bytes():
            found = _LEADING_NUMBER.match(as_text(value))
            return float(found.group()) if found else 0
        case _:
            return value


def truth(value: Value) -> bool | None:
    """Return SQL's truth: None for NULL."""
    return None if value is None else bool(as_number(value))


def folded(value: Value) -> Value:
    """Return `value` in the form in which equal values are equal: text without regard to case."""
    return value.casefold() if isinstance(value, str) else value


def compared(left: Value, right: Value) -> int | None:
    """Compare as MySQL does: -1, 0, 1, or None when one is NULL."""
    if left is None or right is None:
        return None
    one, other = _comparable(left, right)
    return (one > other) - (one < other)  # type: ignore[operator]  # Made to be of one kind above.


def _comparable(left: Value, right: Value) -> tuple[Value, Value]:
    if isinstance(left, dt.datetime) or isinstance(right, dt.datetime):
        moments = _parsed_moment(left), _parsed_moment(right)
        if None not in moments:
            return moments
    if isinstance(left, (str, bytes)) and isinstance(right, (str, bytes)):
        if isinstance(left, str) and isinstance(right, str):
            return left.casefold(), right.casefold()
        return as_text(left), as_text(right)
    return as_number(left), as_number(right)


def _number(value: Value, column: str) -> int | float | decimal.Decimal:
    if isinstance(value, (str, bytes)):
        text = as_text(value).strip()
        if not _LEADING_NUMBER.fullmatch(text):
            raise SqlError(1366, f"Incorrect integer value: '{text}' for column '{column}' at row 1")
        return decimal.Decimal(text)
    return as_number(value)


def _parsed_moment(value: Value) -> dt.datetime | None:
    if isinstance(value, dt.datetime):
        return value
    try:
        return dt.datetime.fromisoformat(as_text(value)).replace(tzinfo=None)
    except ValueError:
        return None

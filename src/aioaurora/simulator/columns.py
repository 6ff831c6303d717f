"""Column names as the client wrote them: an item of a select list that was rewritten gets its old text as alias."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aioaurora.simulator.tokens import Token

_MODIFIERS = frozenset("all distinct distinctrow high_priority straight_join sql_no_cache sql_cache".split())
_ENDS = frozenset("from into union intersect except where group having order limit for procedure lock window".split())
# After one of these a word is an operand, not an alias; and these words themselves are operands.
_OPERATORS = frozenset(
    "and or xor not is in like rlike regexp between div mod collate case when then else binary interval escape".split()
)
_OPERANDS = frozenset("null true false unknown end".split())
_LONGEST_NAME = 255


@dataclass(slots=True)
class _Level:
    """One depth of parentheses: whether its tokens are a select list's, and the item that is being read."""

    is_list: bool = False
    is_replaced: bool = False
    has_replaced: bool = False
    item: list[Token] = field(default_factory=list)


class Columns:
    """Follows one statement token by token; asked before each whether an alias has to be written first."""

    def __init__(self, sql: str) -> None:
        self._sql = sql
        self._levels = [_Level()]

    def alias_before(self, token: Token) -> str:
        """Return the alias of the item that ends before this token, empty if none ends or none is needed."""
        level = self._levels[-1]
        if not level.is_list or token.kind in ("space", "text", "quoted"):
            return ""
        is_end = token.text in (",", ")", ";") or token.low in _ENDS
        return self._alias(level) if is_end else ""

    def alias_at_end(self) -> str:
        """Return the alias of the item that the statement ends with."""
        return self._alias(self._levels[-1])

    def add(self, token: Token, *, is_replaced: bool) -> None:
        """Take the token in."""
        level = self._levels[-1]
        level.is_replaced |= is_replaced
        level.has_replaced |= is_replaced
        match token.kind, token.low:
            case "op", "(":
                level.item.append(token)
                self._levels.append(_Level())
            case "op", ")":
                self._close(token)
            case "op", ";":
                self._levels[-1] = _Level()
            case "op", ",":
                self._levels[-1] = _Level(is_list=level.is_list, has_replaced=level.has_replaced)
            case "word", "select":
                self._levels[-1] = _Level(is_list=True, has_replaced=level.has_replaced)
            case "word", word if word in _ENDS:
                self._levels[-1] = _Level(has_replaced=level.has_replaced)
            case "word", word if word in _MODIFIERS and not level.item:
                pass
            case "space", _:
                pass
            case "rest", _:
                self._levels = [_Level()]  # Nobody knows where the item ends.
            case _:
                level.item.append(token)

    def _close(self, token: Token) -> None:
        inner = self._levels.pop() if len(self._levels) > 1 else _Level()
        outer = self._levels[-1]
        outer.item.append(token)
        outer.is_replaced |= inner.has_replaced  # What encloses a change reads differently too.
        outer.has_replaced |= inner.has_replaced

    def _alias(self, level: _Level) -> str:
        if not level.is_list or not level.is_replaced or not level.item or _is_named(level.item):
            return ""
        first, last = level.item[0], level.item[-1]
        text = self._sql[first.at : last.at + len(last.text)]
        return " AS `" + text[:_LONGEST_NAME].replace("`", "``") + "` "


def _is_named(item: list[Token]) -> bool:
    last = item[-1]
    before = item[-2] if len(item) > 1 else None
    if before is None or last.kind not in ("word", "quoted", "text"):
        return False
    if before.low == "as":
        return True
    if last.low in _OPERANDS or before.low in _OPERATORS or last.text.isdigit():
        return False
    return before.kind != "op" or before.text == ")"

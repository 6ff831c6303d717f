"""Options as people write them: read from text, checked at once, and refused with what to write instead.

A password is easily written in the wrong place, so a refusal repeats only what cannot hold one: numbers, and short text
that is neither a URL with a user, nor `key=value`, nor quoted, nor more than a line.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aioaurora.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}
_NONE = {"none", "null"}
_OF_SECRETS = frozenset("@='\"\r\n\0")
_LARGE = 10**18  # Python refuses to write integers of thousands of digits.
_MISSPELT = 0.85  # Of difflib's likeness: a letter or two.
_LONGEST_SHOWN = 253  # A host name's length; what is longer is something else.


def shown(text: str) -> str:
    """Give a text for a sentence: quoted, or only its length where a secret may be in it."""
    if len(text) > _LONGEST_SHOWN or not _OF_SECRETS.isdisjoint(text):
        return f"a text of {len(text)} characters (not repeated: it may hold a secret)"
    return repr(text)


def refuse_unknown(names: Iterable[str], known: Iterable[str], *, instead: Mapping[str, str]) -> None:
    """Raise ConfigurationError for the first name that is not known, with the nearest one or its substitute."""
    accepted = set(known)
    for name in names:
        if name in accepted:
            continue
        if name in instead:
            raise ConfigurationError(f"{name!r} is no option here: {instead[name]}")
        named = f"{name!r} is no option" if name.isidentifier() else "no option has such a name as was written"
        raise ConfigurationError(f"{named}: {_nearest(name, accepted)}")


def meant_by(name: str, known: Iterable[str]) -> str | None:
    """Give the name that was meant by one that is nearly, but not quite, it; None: there is none."""
    import difflib  # noqa: PLC0415 - only for names that are not known.

    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=_MISSPELT)), None)


def choice(name: str, value: object, allowed: Sequence[str]) -> str:
    """Return `value` if it is one of a few words, whatever its case."""
    if isinstance(value, str):
        word = value.lower()
        if word in allowed:
            return word
        raise ConfigurationError(f"{name}={shown(value)}: {_nearest(word, allowed)}")
    raise ConfigurationError(f"{name}= is a {type(value).__name__}: write {' or '.join(map(repr, allowed))}")


def seconds(name: str, value: object, *, may_be_zero: bool = False, most: float = math.inf) -> float:
    """Return a duration as a float; it must be a finite number above 0, or from 0 on where that has a meaning."""
    least = "0 or more" if may_be_zero else "more than 0"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(f"{name}= is a {type(value).__name__}: it must be a number of seconds, {least}")
    try:
        duration = float(value)
    except OverflowError as exc:
        raise ConfigurationError(f"{name} is too large to be a number of seconds") from exc
    if not math.isfinite(duration) or duration < 0 or (duration == 0 and not may_be_zero):
        raise ConfigurationError(f"{name}={value!r} must be finite and {least} seconds")
    if duration > most:
        raise ConfigurationError(f"{name}={duration!r} must be at most {most:.0f} seconds")
    return duration


def share(name: str, value: object) -> float:
    """Return a part of a whole: above 0, at most 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ConfigurationError(f"{name}={shown(str(value))} must be a number above 0 and at most 1")
    return float(value)


def weight(name: str, value: object) -> float:
    """Return a weight: a finite number, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ConfigurationError(f"{name} must be a finite number, 0 or more")
    return float(value)


def whole(name: str, value: object, *, least: int = 1, most: int) -> int:
    """Return a whole number between two others."""
    says = f"must be a whole number from {least} to {most}"
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigurationError(f"{name}= is a {type(value).__name__}: it {says}")
    if not least <= value <= most:
        raise ConfigurationError(f"{name}={value:d} {says}" if abs(value) < _LARGE else f"{name} {says}")
    return value


def from_text(name: str, text: str, kind: Any) -> Any:  # noqa: ANN401 - `kind` is an annotation: float, bool | None...
    """Read the value of an option from a text as its annotation says: "none" is None where that may be."""
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if types.NoneType in kinds and text.lower() in _NONE:
        return None
    if bool in kinds:
        return _truth(name, text)
    if int in kinds or float in kinds:
        return _number(name, text, int if int in kinds else float)
    if any(typing.get_origin(one) is Mapping for one in kinds):
        return _numbers(name, text)
    if any(typing.get_origin(one) is tuple for one in kinds):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text


def _truth(name: str, text: str) -> bool:
    word = text.lower()
    if word in _TRUE | _FALSE:
        return word in _TRUE
    raise ConfigurationError(f"{name}={shown(text)}: write true or false")


def _number(name: str, text: str, kind: type[int | float]) -> float:
    try:
        return kind(text)
    except ValueError:
        what = "whole number" if kind is int else "number"
        raise ConfigurationError(f"{name}={shown(text)} is no {what}") from None  # The cause quotes it.


def _numbers(name: str, text: str) -> dict[str, float]:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    return {key.strip(): _number(f"{name}[{key.strip()!r}]", value.strip(), float) for key, _, value in pairs}


def _nearest(word: str, allowed: Iterable[str]) -> str:
    import difflib  # noqa: PLC0415 - only for who mistypes.

    ordered = sorted(allowed)
    near = difflib.get_close_matches(word, ordered, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]!r}?"
    few = 6
    return f"write {' or '.join(map(repr, ordered))}" if len(ordered) < few else f"known are {', '.join(ordered)}"

"""What can be told of a text without cutting it up: the relay's speed rests on it."""

from __future__ import annotations

import re

_LOOKED_AT_BYTES = 1 << 20  # Cutting up what is longer takes no more time than searching it.
_TRIGGERS = (
    b"@@", b"replica_host_status", b"aurora_version", b"version(", b"variables", b"processlist", b"_id(", b"user(",
    b"current_user", b"kill", b"transaction_", b"_0900_", b"for share", b"global", b"persist",
)  # fmt: skip
_READER_TRIGGERS = (b";", b"with", b"for update", b"share", b"write", b"_read_only", b"lock", b"flush")
_BEFORE = rb"\s*+(?:/\*(?!M?!)[^*]*+(?:\*(?!/)[^*]*+)*+\*/\s*+|--[^\n]*\n\s*+|\#[^\n]*\n\s*+|\(\s*+)*+"
_CHANGE = re.compile(
    _BEFORE + rb"(?:insert|update|delete|replace|create|alter|drop|truncate|rename|grant|revoke|load|import"
    rb"|optimize)\b",
    re.IGNORECASE,
)
_READ = re.compile(
    _BEFORE + rb"(?:(?:select|show|set|begin|start|savepoint|release|rollback|commit|use|do|explain|describe|desc|kill"
    rb"|table|values|lock|unlock|flush)\b|$)",
    re.IGNORECASE,
)


def is_concerned(text: bytes, *, read_only: bool) -> bool:
    """Say whether `rewritten` has anything to look at."""
    if len(text) > _LOOKED_AT_BYTES:
        return True
    low = text.lower()
    # A loop, as this runs for every statement: a generator costs as much as the search.
    for trigger in _TRIGGERS:
        if trigger in low:
            return True
    if not read_only:
        return False
    return is_change(text) or any(trigger in low for trigger in _READER_TRIGGERS)


def is_change(text: bytes) -> bool:
    """Say whether a text begins like one that writes."""
    return _CHANGE.match(text) is not None


def may_write(text: bytes) -> bool:
    """Say whether a statement of the text might write: a semicolon inside a literal may make it seem so."""
    return not all(_READ.match(part) for part in text.split(b";"))

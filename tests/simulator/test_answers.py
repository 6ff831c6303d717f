"""Where an answer ends, however the bytes of it come."""

from __future__ import annotations

import pytest

from aioaurora.simulator.answers import Answers
from aioaurora.simulator.wire import LARGEST_FRAME, Command, error_packet, packet

OK, OK_OPEN, OK_MORE = b"\0\0\0\2\0\0\0", b"\0\0\0\3\0\0\0", b"\0\1\0\x0a\0\0\0"
EOF, EOF_MORE, EOF_CURSOR, LAST_OK = b"\xfe\0\0\2\0", b"\xfe\0\0\x0a\0", b"\xfe\0\0\x42\0", b"\xfe\0\0\2\0\0\0"
DEFINITION, ROW, PREPARED = b"\3def", b"\1x", b"\0\7\0\0\0\1\0\1\0\0\0\0"
ERROR = error_packet(0, 1064, "no")[4:]
QUERY, PREPARE, EXECUTE = Command.QUERY, Command.STMT_PREPARE, Command.STMT_EXECUTE


def framed(*payloads):
    """One packet for each, numbered."""
    return b"".join(packet(number, payload) for number, payload in enumerate(payloads, 1))


ENDINGS = {
    "ok": (QUERY, False, [OK]),
    "error": (QUERY, False, [ERROR]),
    "rows": (QUERY, False, [b"\1", DEFINITION, EOF, ROW, ROW, EOF]),
    "no rows": (QUERY, False, [b"\1", DEFINITION, EOF, EOF]),
    "rows that end with OK": (QUERY, True, [b"\1", DEFINITION, ROW, LAST_OK]),
    "error among rows": (QUERY, False, [b"\1", DEFINITION, EOF, ROW, ERROR]),
    "several results": (QUERY, False, [OK_MORE, b"\1", DEFINITION, EOF, ROW, EOF_MORE, OK]),
    "a row like an end": (QUERY, False, [b"\1", DEFINITION, EOF, b"\xfe" + bytes(9), EOF]),
    "prepared": (PREPARE, False, [PREPARED, DEFINITION, EOF, DEFINITION, EOF]),
    "prepared without ends": (PREPARE, True, [PREPARED, DEFINITION, DEFINITION]),
    "prepared without anything": (PREPARE, False, [b"\0\7" + bytes(10)]),
    "not prepared": (PREPARE, False, [ERROR]),
    "cursor": (EXECUTE, False, [b"\1", DEFINITION, EOF_CURSOR]),
    "fetched": (Command.STMT_FETCH, False, [ROW, EOF]),
    "statistics": (Command.STATISTICS, False, [b"Uptime: 1"]),
}


@pytest.mark.parametrize(("command", "ends_with_ok", "payloads"), ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize("step", [1, 3, 7, 1000])
def test_an_answer_ends_with_its_last_packet(command, ends_with_ok, payloads, step):
    """Not a byte earlier, and nothing is lost or added."""
    answers = Answers(status=2, ends_with_ok=ends_with_ok)
    data = framed(*payloads)

    answers.expect(command)
    passed, ends = b"", []
    for at in range(0, len(data), step):
        assert answers.is_owed
        before, end = answers.taken(data[at : at + step])
        passed, ends = passed + before + end, [*ends, end]

    assert not answers.is_owed
    assert passed == data
    assert ends[-1][4:] == payloads[-1]
    assert not any(ends[:-1])


def test_rows_pass_before_they_are_whole():
    """A large value is not kept in memory."""
    answers = Answers(status=2, ends_with_ok=False)
    answers.expect(QUERY)
    answers.taken(framed(b"\1", DEFINITION, EOF))
    row = packet(4, b"\xfd" + bytes(100_000))

    assert answers.taken(row[:50_000]) == (row[:50_000], b"")
    assert answers.taken(row[50_000:]) == (row[50_000:], b"")


@pytest.mark.parametrize("last", [b"", b"\xfe\xff\0"])
@pytest.mark.parametrize(("ends_with_ok", "end"), [(False, EOF), (True, LAST_OK)])
def test_a_row_of_several_packets_is_one(last, ends_with_ok, end):
    """Its later packets may begin like anything, and may be empty."""
    answers = Answers(status=2, ends_with_ok=ends_with_ok)
    answers.expect(QUERY)
    answers.taken(framed(b"\1", DEFINITION, *([] if ends_with_ok else [EOF])))
    row = packet(4, b"\xfe" + bytes(LARGEST_FRAME - 1)) + packet(5, last)

    passed, ended = answers.taken(row + packet(6, end))

    assert (len(passed), ended) == (len(row), packet(6, end))
    assert not answers.is_owed


def test_the_flags_are_those_of_the_last_result():
    """That a transaction is open, for one."""
    answers = Answers(status=2, ends_with_ok=False)
    for payload, status in ((OK_OPEN, 3), (ERROR, 3), (OK, 2)):
        answers.expect(QUERY)
        answers.taken(framed(payload))
        assert answers.status == status


def test_a_prepared_statement_is_known_by_its_number():
    """The client will say it again when it executes."""
    answers = Answers(status=2, ends_with_ok=False)
    answers.expect(PREPARE)

    answers.taken(framed(PREPARED, DEFINITION, EOF, DEFINITION, EOF))

    assert answers.statement_id == 7


def test_a_wanted_file_is_the_client_s_turn():
    """The answer goes on afterwards."""
    answers = Answers(status=2, ends_with_ok=False)
    answers.expect(QUERY)

    answers.taken(framed(b"\xfblines"))

    assert answers.wants_file
    assert answers.is_owed


@pytest.mark.parametrize("command", [Command.QUIT, Command.STMT_CLOSE, 0x18, 0x12, -1])
def test_what_has_no_known_answer_is_not_followed(command):
    """It passes as it is."""
    answers = Answers(status=2, ends_with_ok=False)
    answers.expect(command)

    assert not answers.is_owed
    assert answers.taken(b"any") == (b"any", b"")

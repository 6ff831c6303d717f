"""A client's commands in the bytes that come from it."""

from __future__ import annotations

import pytest

from aioaurora.simulator.frames import Frames, payload_of
from aioaurora.simulator.wire import LARGEST_FRAME, command_packets


@pytest.mark.parametrize("size", [1, 70_000, LARGEST_FRAME - 1, LARGEST_FRAME, LARGEST_FRAME + 5, 2 * LARGEST_FRAME])
def test_a_command_is_given_out_whole(size):
    """Of one frame or several; a full one is followed by another, be it empty."""
    payload = b"\3" + b"x" * (size - 1)
    data = command_packets(payload)
    frames = Frames()

    frames.add(data[:-1])
    assert frames.command() is None
    frames.add(data[-1:] + b"\1\0")

    command = frames.command()
    assert command == data
    assert payload_of(command) == payload
    assert frames.command() is None


def test_frames_are_given_out_one_by_one():
    """A file's, of which each passes as it is."""
    frames = Frames()
    frames.add(b"\1\0\0\2a\0\0\0\3")

    assert [frames.frame(), frames.frame(), frames.frame()] == [b"\1\0\0\2a", b"\0\0\0\3", None]
    assert not frames

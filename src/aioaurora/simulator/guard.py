"""Processes that end with ours, by whatever signal.

Linux's kernel ends a child when its parent ends, if the child asks for it. Elsewhere we hold the only end of a pipe
whose other end a companion of the child reads: when we end, the pipe does, and the companion kills the child.

    ours -- starts --> sh, which starts the companion and becomes the program
      '---- pipe ----> companion, a child of the program
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_HAS_KERNEL_HELP = sys.platform == "linux"
# It holds no output of the program, whose readers wait for its end; and it kills only what is still its parent: after
# the program's end another process may have its number.
_COMPANION = 'trap "" HUP INT TERM; read -r _; [ "$(ps -o ppid= -p $$)" -eq $PPID ] && kill -9 $PPID'
_SHELL = 'companion=$1; shift; exec 3<&0 </dev/null; sh -c "$companion" <&3 >/dev/null 2>&1 & exec "$@" 3<&-'


async def guarded(program: str, *arguments: str, output: int) -> asyncio.subprocess.Process:
    """Start a program without input; `output` is as asyncio takes it, for all that it says."""
    if _HAS_KERNEL_HELP:
        return await asyncio.create_subprocess_exec(
            program,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            preexec_fn=_dies_with(os.getpid()),
        )
    return await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", _SHELL, "sh", _COMPANION, program, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=output,
        stderr=asyncio.subprocess.STDOUT,
    )


async def ended(process: asyncio.subprocess.Process) -> None:
    """Kill it if it still runs, and wait for it; its companion ends too."""
    if process.stdin is not None:
        process.stdin.close()
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
    await process.wait()


def _dies_with(parent: int) -> Callable[[], None]:
    libc = ctypes.CDLL(None, use_errno=True)

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # It ended before we had asked.
            os._exit(1)

    return ask

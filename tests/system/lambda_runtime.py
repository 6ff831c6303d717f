"""Plays AWS Lambda's runtime for one function: an event on each line of standard input, an answer on each of output.

`python lambda_runtime.py module`; an event's `clock_jumped_s` is what the loop's clock has jumped while it was frozen.
"""

from __future__ import annotations

import importlib
import json
import sys
import time


class Context:
    """What a handler is told of its invocation."""

    def get_remaining_time_in_millis(self) -> int:
        """As with a limit of ten seconds."""
        return 10_000


def main() -> None:
    """Serve until standard input ends."""
    function = importlib.import_module(sys.argv[1])
    jumped_s = 0.0
    function.loop.time = lambda: time.monotonic() + jumped_s
    for line in sys.stdin:
        event = json.loads(line)
        jumped_s += event.pop("clock_jumped_s")
        began_at = time.monotonic()
        answer = function.handler(event, Context())
        print(json.dumps(answer | {"took_s": time.monotonic() - began_at}), flush=True)
    function.loop.run_until_complete(function.pool.close(1))
    function.loop.close()


if __name__ == "__main__":
    main()

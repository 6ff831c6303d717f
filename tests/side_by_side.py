"""Run the tests in two processes: what is on virtual time computes while what is on real time waits, one at a time.

`python tests/side_by_side.py [arguments for pytest]`; what the second one says is shown after the first one's.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile

ON_REAL_TIME = "real_time or loops"


def main() -> int:
    """Give the worse exit status of the two."""
    command = [sys.executable, "-m", "pytest", *sys.argv[1:], "-m"]
    with tempfile.TemporaryFile() as told:
        waiting = subprocess.Popen([*command, ON_REAL_TIME], stdout=told, stderr=told)
        try:
            status = subprocess.run([*command, f"not ({ON_REAL_TIME})"], check=False).returncode
        except BaseException:
            waiting.terminate()
            raise
        finally:
            waiting.wait()
        told.seek(0)
        print(told.read().decode(errors="replace"), flush=True)
    return status or waiting.returncode


if __name__ == "__main__":
    sys.exit(main())

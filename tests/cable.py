"""A cable to a machine far away: `python tests/cable.py NEAR FAR SECONDS` makes two TUN devices of these names.

What goes into one comes out of the other that much later; `tc netem` would do the same, but is not in every kernel. A
process of its own, so that a busy event loop does not make it longer.
"""

from __future__ import annotations

import collections
import fcntl
import os
import selectors
import struct
import sys
import time

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_LARGEST = 65_536


def main() -> None:
    """Carry packets until nobody wants them any more."""
    near, far, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    ends = [_opened(near), _opened(far)]
    print("made", flush=True)
    _carry(ends, seconds)


def _opened(name: str) -> int:
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return device


def _carry(ends: list[int], seconds: float) -> None:
    under_way: collections.deque[tuple[float, int, bytes]] = collections.deque()
    selector = selectors.DefaultSelector()
    for number, end in enumerate(ends):
        selector.register(end, selectors.EVENT_READ, ends[1 - number])
    while True:
        timeout = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        for key, _ in selector.select(timeout):
            try:
                packet = os.read(key.fd, _LARGEST)
            except BlockingIOError:
                continue
            except OSError:  # The device is not up yet, or is no more.
                time.sleep(0.01)
                continue
            under_way.append((time.monotonic() + seconds, key.data, packet))
        while under_way and under_way[0][0] <= time.monotonic():
            _, end, packet = under_way.popleft()
            try:
                os.write(end, packet)
            except OSError:
                continue  # Lost, as on any cable.


if __name__ == "__main__":
    main()

"""TLS as on RDS: one authority for a cluster, and a certificate of its own for each instance.

Needs `cryptography`, which the extra `simulator` brings.
"""

from __future__ import annotations

import pathlib
import shutil
import ssl
import tempfile
import weakref
from typing import TYPE_CHECKING, Self

from aioaurora.simulator.engine import SimulatorError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from aioaurora.simulator.certificates import Signer


class Authority:
    """A certificate authority for one simulated cluster.

    No private key is left on disk: the authority's never gets there, an instance's only until OpenSSL has read it,
    in a directory that nobody else may enter. `close()` removes the directory, and so does the end of the process.

    Attributes:
        ca_file: The authority's certificate, to be given to clients.
    """

    ca_file: str

    def __init__(self, name: str = "aioaurora simulator") -> None:
        """Make a key and a certificate; raises SimulatorError where `cryptography` is missing."""
        self._signer = _signer(name)
        directory = tempfile.mkdtemp(prefix="aioaurora-tls-")
        self._directory = pathlib.Path(directory)
        self._remove = weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True)
        self.ca_file = str(self._directory / "ca.pem")
        pathlib.Path(self.ca_file).write_bytes(self._signer.pem)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def context_for(self, names: Sequence[str]) -> ssl.SSLContext:
        """Return a server's context whose certificate is for these host names or addresses."""
        chain = self._directory / "server.pem"
        chain.touch(mode=0o600)
        try:
            chain.write_bytes(self._signer.chain_for(names))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(chain)
        finally:
            chain.unlink()
        return context

    def close(self) -> None:
        """Remove the files; contexts that were made go on working."""
        self._remove()


def _signer(name: str) -> Signer:
    try:
        from aioaurora.simulator.certificates import Signer  # noqa: PLC0415 - an extra, needed only for TLS.
    except ImportError as error:
        sentence = "TLS in the simulator needs cryptography: pip install 'aioaurora[simulator]'"
        raise SimulatorError(sentence) from error
    return Signer.made(name)

"""RSA for `caching_sha2_password` without TLS; needs the `simulator` extra, and only then."""

from __future__ import annotations

from functools import cache
from itertools import cycle

from aioaurora.simulator.engine import SimulatorError

_MISSING = "caching_sha2_password without TLS needs RSA: pip install 'aioaurora[simulator]'"


def encrypted_password(password: str, nonce: bytes, public_key: bytes) -> bytes:
    """What a client sends for a password once it has the server's public key (PEM)."""
    try:
        from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - an extra
        from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise SimulatorError(_MISSING) from error
    key = serialization.load_pem_public_key(public_key)
    if not isinstance(key, rsa.RSAPublicKey):
        raise SimulatorError("the engine's key is not RSA")
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)  # noqa: S303 - the protocol's
    return key.encrypt(_masked(password.encode() + b"\0", nonce), oaep)


class KeyPair:
    """The server's side: a key of its own, made when it is first asked for."""

    def __init__(self) -> None:
        try:
            from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise SimulatorError(_MISSING) from error
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def public_pem(self) -> bytes:
        """The public key as a client gets it."""
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - an extra

        pem, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_key().public_bytes(pem, form)

    def decrypted_password(self, secret: bytes, nonce: bytes) -> str | None:
        """The password in a client's answer, None when it is none."""
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - an extra
        from cryptography.hazmat.primitives.asymmetric import padding  # noqa: PLC0415 - an extra

        oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)  # noqa: S303 - the protocol's
        try:
            masked = self._key.decrypt(secret, oaep)
        except ValueError:
            return None
        return _masked(masked, nonce).rstrip(b"\0").decode("utf-8", "replace")


@cache
def key_pair() -> KeyPair:
    """The one key pair of this process: making one takes a tenth of a second."""
    return KeyPair()


def _masked(data: bytes, nonce: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(data, cycle(nonce), strict=False))

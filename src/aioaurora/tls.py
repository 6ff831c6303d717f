"""What `ssl=` means: whether a connection must be encrypted, and who vouches for the other end.

| `ssl=` | names under RDS | others |
| --- | --- | --- |
| None | encrypted; not verified, said once in an event | plain |
| True | encrypted, verified with the system's authorities | the same |
| a path | encrypted, verified with that file or folder of authorities | the same |
| an SSLContext | encrypted, verified as the context says | the same |
| False | refused: such a name is never spoken to in plain text | plain |

A server that does not offer TLS where it is required gets neither password nor token.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import field
from typing import Self

from aioaurora._core.options import shown
from aioaurora._core.value import dataclass
from aioaurora.errors import ConfigurationError

RDS_AUTHORITIES = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"

TlsChoice = ssl.SSLContext | bool | str | os.PathLike[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsRule:
    """How connections of one configuration are encrypted.

    Attributes:
        require: A server without TLS is refused before a secret is sent.
        verify: The certificate must be valid for the *name* that is dialled.
        is_assumed: Encrypted but not verified because nobody said anything: worth an event.
        context: Built once; None: plain.
    """

    require: bool = False
    verify: bool = False
    is_assumed: bool = False
    context: ssl.SSLContext | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        if not self.require:
            return "off"
        return "verified" if self.verify else "unverified"

    def __deepcopy__(self, _memo: dict[int, object]) -> Self:
        return self  # An SSLContext cannot be copied, and this value never changes.


PLAIN = TlsRule()


def tls_rule(choice: TlsChoice, *, is_rds: bool) -> TlsRule:
    """Return the rule for what was written as `ssl=`; `is_rds`: AWS owns the name of the server.

    Raises:
        ConfigurationError: Plain text to RDS, no such file, or something else than the table above lists.
    """
    match choice:
        case None if is_rds:
            return TlsRule(require=True, is_assumed=True, context=_trusting())
        case None:
            return PLAIN
        case False if is_rds:
            raise ConfigurationError(
                "ssl=False: RDS is never spoken to in plain text; leave ssl out to encrypt without verifying, "
                f"or verify with ssl='global-bundle.pem' from {RDS_AUTHORITIES}"
            )
        case False:
            return PLAIN
        case True:
            return TlsRule(require=True, verify=True, context=ssl.create_default_context())
        case ssl.SSLContext():
            return TlsRule(require=True, verify=choice.verify_mode is ssl.CERT_REQUIRED, context=choice)
        case "":
            raise ConfigurationError('ssl="": write the path of a file of authorities, or leave ssl out')
        case str() if "-----BEGIN" in choice:
            raise ConfigurationError(
                "ssl= is the text of a certificate or key: write the path of the file, or pass an SSLContext made of it"
            )
        case str() | os.PathLike():
            return TlsRule(require=True, verify=True, context=_trusting_only(choice))
        case _:
            raise ConfigurationError(
                f"ssl= is a {type(choice).__name__}: pass an SSLContext, the path of a file of authorities, "
                "True (the system's), False or None"
            )


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _trusting_only(path: str | os.PathLike[str]) -> ssl.SSLContext:
    from pathlib import Path  # noqa: PLC0415 - large, and not needed without a file.

    try:
        authorities = Path(path).expanduser()
        if authorities.is_dir():
            return ssl.create_default_context(capath=authorities)
        return ssl.create_default_context(cafile=authorities)
    # RuntimeError: no such home; ValueError: no path at all; ssl.SSLError, an OSError: no certificates in it.
    except (OSError, RuntimeError, TypeError, ValueError) as exc:
        why = getattr(exc, "strerror", None) or type(exc).__name__
        raise ConfigurationError(
            f"ssl={shown(str(path))} cannot be read as a file of certificate authorities in PEM: {why}"
        ) from None  # The cause may quote it.

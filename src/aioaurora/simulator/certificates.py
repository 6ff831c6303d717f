"""Keys and certificates, made with `cryptography`; `tls` imports this module only when TLS is wanted."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

if TYPE_CHECKING:
    from collections.abc import Sequence

_VALID = dt.timedelta(days=30)
_SLACK = dt.timedelta(days=1)  # Clocks differ, and a container's may stand still.
_LONGEST_COMMON_NAME = 64


@dataclass(frozen=True, slots=True)
class Signer:
    """An authority: its key and its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def made(cls, name: str) -> Signer:
        """Make an authority that vouches for itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(name, key.public_key(), _named(name), key.public_key(), signs=True)
        return cls(key, builder.sign(key, hashes.SHA256()))

    @property
    def pem(self) -> bytes:
        """The certificate that clients are given."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def chain_for(self, names: Sequence[str]) -> bytes:
        """Return a new server's certificate and private key."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(names[0], key.public_key(), self.certificate.subject, self.key.public_key(), signs=False)
        alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
        server_only = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        builder = builder.add_extension(alternatives, critical=False).add_extension(server_only, critical=False)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) + secret


def _builder(
    name: str, public: ec.EllipticCurvePublicKey, issuer: x509.Name, signer: ec.EllipticCurvePublicKey, *, signs: bool
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SLACK)
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=signs, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
        .add_extension(_usage(signs=signs), critical=True)
    )


def _named(name: str) -> x509.Name:
    # Nobody reads it: the alternative names count.
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name[:_LONGEST_COMMON_NAME])])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )

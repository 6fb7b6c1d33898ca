"""A self-signed key pair for a cluster, so that `sslmode=require` works here as it does against Neon."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tenantry.local.clusters.privileges import Runner

__all__ = ["CERTIFICATE", "KEY", "ensure_key_pair"]

CERTIFICATE = "server.crt"
KEY = "server.key"

_VALID_FOR = dt.timedelta(days=3650)


def ensure_key_pair(folder: Path, runner: Runner) -> None:
    """Make the key pair in *folder*, which *runner* owns, unless both its files are there."""
    if (folder / KEY).exists() and (folder / CERTIFICATE).exists():
        return
    certificate, key = make_key_pair(now=dt.datetime.now(dt.UTC))
    # The key last: a pair that was cut short is made anew.
    _write(folder / CERTIFICATE, certificate, runner)
    _write(folder / KEY, key, runner)


def make_key_pair(*, now: dt.datetime) -> tuple[bytes, bytes]:
    """Make a certificate for 127.0.0.1 and localhost that signs itself, and its key, both as PEM."""
    # Imported here, since it takes as long as a cluster's start, which needs it once in a cluster's life.
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.IPv4Address("127.0.0.1")),
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + _VALID_FOR)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _write(path: Path, content: bytes, runner: Runner) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        if runner.drops:
            os.fchown(file.fileno(), runner.uid, runner.gid)
        file.write(content)

"""The certificate with which the relay says no to who insists on TLS. It carries no one's data."""

from __future__ import annotations

import datetime as dt
import ssl
import tempfile
from functools import cache
from pathlib import Path

from tenantry.local.clusters.tls import make_key_pair

__all__ = ["refusing_context"]


@cache
def refusing_context() -> ssl.SSLContext:
    """Make a context with a certificate of this process's own, once. Its key is never kept on disk."""
    certificate, key = make_key_pair(now=dt.datetime.now(dt.UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["postgresql"])
    with tempfile.TemporaryDirectory() as folder:  # of mode 700; the module `ssl` reads files only
        path = Path(folder, "pair.pem")
        path.touch(mode=0o600)
        path.write_bytes(certificate + key)
        context.load_cert_chain(path)
    return context

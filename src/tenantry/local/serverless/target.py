"""Which compute a connection string or an address means: decided from the engine's endpoints, never by a resolver."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from tenantry.local.serverless.problems import SqlRefusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tenantry.local.state.records import EndpointRecord

__all__ = ["Login", "find_endpoint", "read_address", "read_connection_string"]

POSTGRES_PORT = 5432

_SCHEMES = {"postgres", "postgresql"}
_LOCAL = {"127.0.0.1", "localhost", "::1"}
_LOCAL_ZONES = (".localhost", ".localtest.me")
_ENDPOINT_OPTIONS = {"endpoint", "project"}  # the second is what Neon called it first


@dataclass(frozen=True, slots=True)
class Login:
    """What a connection string says: where, which database, as whom. `endpoint` is the id that its options name."""

    host: str
    port: int
    database: str
    role: str
    password: str = field(repr=False)
    endpoint: str | None = None
    options: str = ""
    application_name: str = ""


def read_connection_string(text: str) -> Login:
    """Read the header `Neon-Connection-String`. Raises `SqlRefusal` in Neon's words, and shows nothing of *text*."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port or POSTGRES_PORT
        query = parse_qs(parts.query, keep_blank_values=True)
    except ValueError:
        # What is wrong with it may be next to the password, so no part of it is repeated, not even as a cause.
        raise SqlRefusal("invalid connection string: it is no postgresql://ROLE:PASSWORD@HOST/DATABASE") from None
    if parts.scheme not in _SCHEMES:
        raise SqlRefusal("incorrect scheme: a connection string begins with postgresql://")
    database = unquote(parts.path.removeprefix("/"))
    if not database:
        raise SqlRefusal("missing database name")
    if not parts.username:
        raise SqlRefusal("missing username")
    if not parts.password:
        raise SqlRefusal("missing authentication credentials: the connection string has no password")
    if not parts.hostname:
        raise SqlRefusal("missing hostname")
    endpoint, options = _read_options(_last(query, "options"))
    login = Login(
        host=parts.hostname,
        port=port,
        database=database,
        role=unquote(parts.username),
        password=unquote(parts.password),
        endpoint=endpoint,
        options=options,
        application_name=_last(query, "application_name"),
    )
    if any("\0" in value for value in (login.database, login.role, login.password, options, login.application_name)):
        raise SqlRefusal("invalid connection string: it holds a zero byte")
    return login


def _last(query: Mapping[str, Sequence[str]], name: str) -> str:
    return query.get(name, [""])[-1]


def _read_options(options: str) -> tuple[str | None, str]:
    """Part the endpoint, which Neon's proxy takes for itself, from what Postgres is to have."""
    endpoint: str | None = None
    rest: list[str] = []
    for word in options.split():
        name, _, value = word.partition("=")
        if name in _ENDPOINT_OPTIONS:
            endpoint = value
        else:
            rest.append(word)
    return endpoint, " ".join(rest)


def read_address(text: str) -> tuple[str, int]:
    """Read `host:port`, as the driver sends it to a WebSocket proxy. Raises `SqlRefusal`."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port or POSTGRES_PORT
    except ValueError:
        host, port = None, 0
    if not host:
        raise SqlRefusal(f"the address {text!r} is not host:port: set neonConfig.wsProxy to the engine's HOST:PORT/v2")
    return host, port


def find_endpoint(
    endpoints: Sequence[EndpointRecord], *, host: str, port: int, named: str | None = None
) -> EndpointRecord:
    """Return the endpoint that *named* or *host* names, or whose port *port* is on this machine.

    Nothing else can be reached: an address is looked up among *endpoints*, and what is connected to is the
    endpoint's own address. Raises `SqlRefusal` in Neon's words.
    """
    label = host.partition(".")[0].removesuffix("-pooler")
    wanted = (named or label).removesuffix("-pooler")
    for endpoint in endpoints:
        by_id = endpoint.id == wanted
        if by_id or (named is None and _is_local(host) and endpoint.port == port):
            return endpoint
    shown = named or f"{host}:{port}"
    raise SqlRefusal(
        "The requested endpoint could not be found, or you don't have access to it. "
        f"Please check the provided ID and try again. ({shown!r} is no compute of this engine)"
    )


def _is_local(host: str) -> bool:
    return host in _LOCAL or host.endswith(_LOCAL_ZONES)

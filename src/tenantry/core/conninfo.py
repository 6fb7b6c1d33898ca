"""A connection to one database: where it is, as whom, and how it is encrypted, for each driver in its own spelling."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from tenantry.core.errors import UsageError

__all__ = ["Conninfo", "Driver"]

Driver = Literal["psycopg", "asyncpg"]

_DEFAULT_PORT = 5432


@dataclass(frozen=True, slots=True)
class Conninfo:
    """Where a database is and how to log in. The password shows in no `repr`; `str()` has none either."""

    host: str
    port: int
    database: str
    role: str
    password: str = field(repr=False)
    sslmode: str = "require"
    channel_binding: str | None = None

    @classmethod
    def from_uri(cls, uri: str) -> Conninfo:
        """Read a `postgresql://` URI as Neon gives it.

        Raises `UsageError` for a parameter other than `sslmode` and `channel_binding`: to drop one could weaken
        the connection.
        """
        parts = urlsplit(uri)
        query = dict(parse_qsl(parts.query))
        unknown = sorted(query.keys() - {"sslmode", "channel_binding"})
        if unknown:
            raise UsageError(
                f"a connection URI has the parameter {unknown[0]!r}: leave only sslmode and channel_binding in it"
            )
        return cls(
            host=parts.hostname or "",
            port=parts.port or _DEFAULT_PORT,
            database=unquote(parts.path.removeprefix("/")),
            role=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            sslmode=query.get("sslmode", "require"),
            channel_binding=query.get("channel_binding"),
        )

    def as_role(self, role: str, password: str) -> Conninfo:
        """Return the same place, logged in as *role*."""
        return replace(self, role=role, password=password)

    def dsn(self) -> str:
        """Return a URI for libpq. It holds the password."""
        query = {"sslmode": self.sslmode}
        if self.channel_binding is not None:
            query["channel_binding"] = self.channel_binding
        return self._uri("postgresql", query)

    def sqlalchemy_url(self, driver: Driver = "psycopg") -> str:
        """Return a URL for `create_engine` or `create_async_engine`. It holds the password.

        asyncpg calls `sslmode` `ssl` and has no channel binding, so that one is left out for it.
        """
        if driver == "asyncpg":
            return self._uri("postgresql+asyncpg", {"ssl": self.sslmode})
        query = {"sslmode": self.sslmode}
        if self.channel_binding is not None:
            query["channel_binding"] = self.channel_binding
        return self._uri("postgresql+psycopg", query)

    def _uri(self, scheme: str, query: dict[str, str]) -> str:
        login = f"{quote(self.role, safe='')}:{quote(self.password, safe='')}"
        # An IPv6 address has colons of its own.
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{login}@{host}:{self.port}/{quote(self.database, safe='')}?{urlencode(query)}"

    def __str__(self) -> str:
        return f"{self.role}@{self.host}:{self.port}/{self.database}"

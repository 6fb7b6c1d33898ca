"""The statements that put a tenant into a transaction, as values."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, LiteralString, TypeAlias, cast

from tenantry.core.names import APPLICATION_NAME, MAX_IDENTIFIER_BYTES, TENANT_SETTING, TOKEN_SETTING, USER_SETTING
from tenantry.session.signing import token_of

if TYPE_CHECKING:
    from tenantry.session.context import Context
    from tenantry.session.protection import Protection

__all__ = ["Settings", "are_public", "name_of", "set_locally", "set_locally_with_literals", "settings_of"]

Settings: TypeAlias = tuple[tuple[str, str], ...]
"""Names and values of settings, in the order in which a transaction sets them."""


def settings_of(context: Context, protection: Protection) -> Settings:
    """The settings that a transaction of *context* begins with, all of them local to it.

    The user even where there is none: a pooler or a session-wide SET may not hand on the last one's. With a key the
    token besides, so that the same application works before and after its database asks for one.
    """
    plain = ((TENANT_SETTING, str(context.tenant)), (USER_SETTING, context.user or ""))
    if protection.application_name is not None:
        plain = (*plain, (APPLICATION_NAME, name_of(context, protection.application_name)))
    if protection.key is None:
        return plain
    return (*plain, (TOKEN_SETTING, token_of(context, protection.key)))


def name_of(context: Context, application: str) -> str:
    """What a transaction of *context* is called: *application*, and its tenant's id.

    63 bytes, as Postgres shows no more, and ASCII, which is all that it shows as it is (docs: "application_name"). Of a
    name that is too long the application's part goes first.
    """
    tenant = f"tenant={context.tenant}".encode("unicode_escape").decode()[:MAX_IDENTIFIER_BYTES]
    room = max(MAX_IDENTIFIER_BYTES - len(tenant) - 1, 0)
    return f"{application.encode('unicode_escape').decode()[:room]} {tenant}".strip()


def are_public(settings: Settings) -> bool:
    """Whether *settings* may stand in the text of a query. If not, they are sent as parameters only.

    Every session of a role sees the texts of the others in `pg_stat_activity`, and a token there would be anybody's.
    """
    return all(name != TOKEN_SETTING for name, _ in settings)


def set_locally(settings: Settings, *, numeric: bool = False) -> tuple[LiteralString, tuple[str, ...]]:
    """One query that sets *settings* until the transaction ends, and its parameters.

    Placeholders are `%s`, as psycopg has them, or `$1` and on if *numeric*, as asyncpg and libpq have them. The text
    depends on the names alone, so that drivers prepare it once. Outside a transaction block the settings would end
    with the statement itself.
    """
    names, values = zip(*settings, strict=True)
    return _text(names, numeric), values


@lru_cache
def _text(names: tuple[str, ...], numeric: bool) -> LiteralString:  # noqa: FBT001 - private
    calls = (
        f"pg_catalog.set_config('{name}', {f'${place}' if numeric else '%s'}, true)"
        for place, name in enumerate(names, start=1)
    )
    return cast("LiteralString", f"SELECT {', '.join(calls)}")  # names are constants of core.names


def set_locally_with_literals(settings: Settings) -> str:
    """The same query with its values written into it, for a message that takes no parameters.

    The values are escaped for either setting of `standard_conforming_strings` (Postgres docs: "String Constants with
    C-Style Escapes"). Only for settings that `are_public`.
    """
    if not are_public(settings):
        raise AssertionError("a token is sent as a parameter, never in the text of a query: ask `are_public` first")
    calls = (f"pg_catalog.set_config('{name}', {_literal(value)}, true)" for name, value in settings)
    return f"SELECT {', '.join(calls)}"


def _literal(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"

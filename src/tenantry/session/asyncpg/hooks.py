"""What of asyncpg is leaned on beyond its documentation, and whether the asyncpg that is installed still has it.

`guard` stands where a connection keeps its protocol, and writes messages to the connection's transport before those
that the protocol writes. So it must know every method of the protocol that sends something, and their parameters.
"""

# asyncpg says nothing of most of its types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import inspect

from asyncpg import Connection
from asyncpg.protocol import Protocol

__all__ = ["misfits"]

# The methods of the protocol and their parameters, as `guard` calls and overrides them.
_METHODS = {
    "bind": ("state", "args", "portal_name", "timeout"),
    "bind_execute": ("state", "args", "portal_name", "limit", "return_extra", "timeout"),
    "bind_execute_many": ("state", "args", "portal_name", "timeout", "return_rows"),
    "close_portal": ("portal_name", "timeout"),
    "close_statement": ("state", "timeout"),
    "copy_in": ("copy_stmt", "reader", "data", "records", "record_stmt", "timeout"),
    "copy_out": ("copy_stmt", "sink", "timeout"),
    "execute": ("state", "portal_name", "limit", "return_extra", "timeout"),
    "prepare": ("stmt_name", "query", "timeout", "state", "ignore_custom_codec", "record_class"),
    "query": ("query", "timeout"),
    "_get_timeout": ("timeout",),
    "_is_cancelling": (),
    "_wait_for_cancellation": ("timeout",),
    "is_connected": (),
    "is_in_transaction": (),
}

# Public coroutines of the protocol that send nothing of the caller's.
_SILENT = {"close"}

_CONNECTION = ("protocol", "transport", "loop", "addr", "config", "params")


def _parameters(function: object) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)[1:]  # type: ignore[arg-type] - a method, as the caller saw


def misfits() -> list[str]:
    """Where the installed asyncpg differs from what `guard` needs, one line each; empty if it fits."""
    found: list[str] = []
    for name, wanted in _METHODS.items():
        method = getattr(Protocol, name, None)
        if method is None:
            found.append(f"Protocol.{name} is gone")
        elif _parameters(method) != wanted:
            found.append(f"Protocol.{name} takes {_parameters(method)}, not {wanted}")
    # One that is not known could send a statement past the guard.
    found += [
        f"Protocol.{name} is new"
        for name, _ in inspect.getmembers(Protocol, inspect.iscoroutinefunction)
        if not name.startswith("_") and name not in _METHODS and name not in _SILENT
    ]
    if not hasattr(Protocol, "queries_count"):
        found.append("Protocol.queries_count is gone")
    if not hasattr(Connection, "_top_xact"):
        found.append("Connection._top_xact is gone")
    if _parameters(Connection.__init__) != _CONNECTION:
        found.append(f"Connection() takes {_parameters(Connection.__init__)}, not {_CONNECTION}")
    return found

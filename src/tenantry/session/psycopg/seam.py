"""Whether this psycopg keeps in private what `hooks` leans on: names, signatures, and who calls whom."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LEANS_ON", "missing"]

_ALL: Final = ("_start_query", "_convert_query")

LEANS_ON: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "_connection_base.BaseConnection._start_query": ("self", ()),
    "_connection_base.BaseConnection._exec_command": ("self command result_format", ()),
    "_connection_base.BaseConnection._deallocate": ("self name", ("_exec_command",)),
    "_connection_base.BaseConnection._check_connection_ok": ("self", ()),
    "_connection_base.BaseConnection._get_tx_start_command": ("self", ()),
    "_connection_base.BaseConnection._commit_gen": ("self", ("_exec_command",)),
    "_connection_base.BaseConnection._rollback_gen": ("self", ("_exec_command",)),
    "_connection_base.BaseConnection._tpc_begin_gen": ("self xid", ("_exec_command",)),
    "_connection_base.BaseConnection._tpc_prepare_gen": ("self", ("_exec_command",)),
    "transaction.BaseTransaction._enter_gen": ("self", ("_exec_command",)),
    "transaction.BaseTransaction._commit_gen": ("self", ("_exec_command",)),
    "_cursor_base.BaseCursor._start_query": ("self query", ("_start_query",)),
    "_cursor_base.BaseCursor._convert_query": ("self query params", ()),
    "_cursor_base.BaseCursor._execute_gen": ("self query params prepare binary", (*_ALL, "_maybe_prepare_gen")),
    "_cursor_base.BaseCursor._executemany_gen_pipeline": (
        "self query params_seq returning",
        (*_ALL, "_maybe_prepare_gen"),
    ),
    "_cursor_base.BaseCursor._maybe_prepare_gen": ("self pgq prepare binary", ("_get_prepared",)),
    "_cursor_base.BaseCursor._get_prepared": ("self pgq prepare", ()),
    "_cursor_base.BaseCursor._stream_send_gen": ("self query params binary size", _ALL),
    "_cursor_base.BaseCursor._start_copy_gen": ("self statement params", _ALL),
    "_cursor_base.BaseCursor._check_results": ("self results", ()),
    "_cursor_base.BaseCursor._set_results": ("self results", ()),
    "_cursor_base.BaseCursor._reset": ("self reset_query", ()),
    "_server_cursor_base.ServerCursorMixin._declare_gen": ("self query params binary", _ALL),
    "_server_cursor_base.ServerCursorMixin._fetch_gen": ("self num", ("_exec_command",)),
    "_server_cursor_base.ServerCursorMixin._scroll_gen": ("self value mode", ("_exec_command",)),
    "_pipeline_base.BasePipeline._sync_gen": ("self", ()),
    "_pipeline_base.BasePipeline._communicate_gen": ("self", ("command_queue", "result_queue")),
    "_preparing.PrepareManager.get": ("self query prepare", ()),
    "_preparing.PrepareManager.maybe_add_to_cache": ("self query prep name", ()),
    "_preparing.PrepareManager.validate": ("self key prep name results", ()),
    "_preparing.PrepareManager.maintain_gen": ("self conn", ("_to_flush",)),
    **{
        f"{cursor}.{name}": (arguments, (called,))
        for cursor in ("cursor.Cursor", "cursor_async.AsyncCursor")
        for name, arguments, called in (
            ("execute", "self query params prepare binary", "_execute_gen"),
            ("executemany", "self query params_seq returning", "_executemany_gen_pipeline"),
        )
    },
}
"""By module, class and method: the names of its parameters in order, and names that its code must use."""


def missing(leans_on: Mapping[str, tuple[str, tuple[str, ...]]] = LEANS_ON) -> tuple[str, ...]:
    """What of *leans_on* this psycopg does not have, or has otherwise."""
    return tuple(
        name for name, (arguments, used) in leans_on.items() if not _as_expected(name, arguments.split(), used)
    )


def _as_expected(name: str, arguments: list[str], used: tuple[str, ...]) -> bool:
    module, owner, method = name.split(".")
    try:
        code: Any = getattr(getattr(import_module(f"psycopg.{module}"), owner), method).__code__
    except (ImportError, AttributeError):
        return False
    count = code.co_argcount + code.co_kwonlyargcount
    return list(code.co_varnames[:count]) == arguments and set(used) <= set(code.co_names)

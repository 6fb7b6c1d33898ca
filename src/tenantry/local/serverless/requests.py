"""What a request to `/sql` asks for: its body and its headers, read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tenantry.local.serverless.problems import SqlRefusal
from tenantry.local.serverless.values import parameter

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Ask", "Statement", "read_request"]

BEGIN: dict[str, str] = {
    "ReadUncommitted": "BEGIN ISOLATION LEVEL READ UNCOMMITTED",
    "ReadCommitted": "BEGIN ISOLATION LEVEL READ COMMITTED",
    "RepeatableRead": "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "Serializable": "BEGIN ISOLATION LEVEL SERIALIZABLE",
}
MOST_PARAMETERS = 65_535
_ZERO_BYTE = 'invalid byte sequence for encoding "UTF8": 0x00'


class _Query(BaseModel):
    model_config = ConfigDict(extra="ignore")

    query: str
    params: list[Any] = Field(default_factory=list[Any])
    array_mode: bool | None = Field(default=None, alias="arrayMode")


class _Batch(BaseModel):
    model_config = ConfigDict(extra="ignore")

    queries: list[_Query]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, its parameters as text, and whether its rows are arrays."""

    query: bytes
    parameters: tuple[bytes | None, ...]
    as_array: bool


@dataclass(frozen=True, slots=True)
class Ask:
    """What is to be run. `begin` opens the one transaction of a batch; None is a statement by itself."""

    statements: tuple[Statement, ...]
    begin: bytes | None
    raw: bool


def read_request(body: bytes, headers: Mapping[str, str]) -> Ask:
    """Read a request's *body* and *headers*, whose names are in lower case. Raises `SqlRefusal`."""
    as_array = _is(headers, "neon-array-mode")
    queries, is_batch = _read_body(body)
    return Ask(
        statements=tuple(_statement(query, as_array=as_array) for query in queries),
        begin=_begin(headers) if is_batch else None,
        raw=_is(headers, "neon-raw-text-output"),
    )


def _is(headers: Mapping[str, str], name: str) -> bool:
    return headers.get(name) == "true"


def _begin(headers: Mapping[str, str]) -> bytes:
    level = headers.get("neon-batch-isolation-level")
    if level is not None and level not in BEGIN:
        raise SqlRefusal(f"invalid isolation level {level!r}: take one of {', '.join(BEGIN)}")
    words = [
        "BEGIN" if level is None else BEGIN[level],
        *(["READ ONLY"] if _is(headers, "neon-batch-read-only") else []),
        *(["DEFERRABLE"] if _is(headers, "neon-batch-deferrable") else []),
    ]
    return " ".join(words).encode()


def _read_body(body: bytes) -> tuple[list[_Query], bool]:
    try:
        value: object = json.loads(body, parse_constant=_no_json)
        if isinstance(value, dict) and "queries" in cast("dict[str, object]", value):
            return _Batch.model_validate(value, strict=True).queries, True
        return [_Query.model_validate(value, strict=True)], False
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise SqlRefusal(f"could not parse the HTTP request body: {where}: {first['msg']}") from exc
    except (ValueError, RecursionError) as exc:
        raise SqlRefusal(
            "could not parse the HTTP request body: it is no JSON with `query` and `params`, or `queries`"
        ) from exc


def _no_json(word: str) -> Literal[0]:
    raise ValueError(f"{word} is no JSON")


def _statement(query: _Query, *, as_array: bool) -> Statement:
    if len(query.params) > MOST_PARAMETERS:
        raise SqlRefusal(f"a statement has up to {MOST_PARAMETERS} parameters, and this one has {len(query.params)}")
    try:
        return Statement(
            query=_text(query.query),
            parameters=tuple(None if (text := parameter(one)) is None else _text(text) for one in query.params),
            as_array=as_array if query.array_mode is None else query.array_mode,
        )
    except RecursionError as exc:
        raise SqlRefusal("could not parse the HTTP request body: a parameter is nested too deep") from exc


def _text(text: str) -> bytes:
    """Encode what goes to Postgres, where text ends at a zero byte: half a statement must never run."""
    if "\0" in text:
        raise SqlRefusal(_ZERO_BYTE, fields={"code": "22021", "severity": "ERROR"})
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise SqlRefusal(
            'invalid byte sequence for encoding "UTF8": half a surrogate pair',
            fields={"code": "22021", "severity": "ERROR"},
        ) from exc

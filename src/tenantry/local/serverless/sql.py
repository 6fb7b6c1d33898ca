"""Running what a request asks for on a connection of its own, and printing the answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
from psycopg import generators
from psycopg.pq import ExecStatus

from tenantry.local.serverless.problems import SqlRefusal, refusal_of, words_of_failed_login
from tenantry.local.serverless.requests import Ask, Statement
from tenantry.local.serverless.values import command_of, row

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

    from tenantry.local.serverless.target import Login

__all__ = ["LARGEST_ANSWER", "answer"]

LARGEST_ANSWER = 64 * 1024 * 1024
CONNECT_SECONDS = 30

_DONE = {ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK, ExecStatus.EMPTY_QUERY}
_COPIES = {ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH}


async def answer(login: Login, host: str, port: int, ask: Ask) -> str:
    """Log in, run *ask*, and return the JSON of its answer. Raises `SqlRefusal`; a batch is done whole or not at all.

    There is no pool: who may log in is Postgres's to say at each request, and a compute without clients may sleep.
    """
    connection = await _connect(login, host, port)
    try:
        return await _run(connection, ask)
    except psycopg.Error as exc:
        raise SqlRefusal(f"the connection to Postgres was lost: {exc}", fields={"code": "08006"}) from exc
    finally:
        await connection.close()


async def _connect(login: Login, host: str, port: int) -> psycopg.AsyncConnection:
    try:
        return await psycopg.AsyncConnection.connect(
            host=host,
            port=port,
            dbname=login.database,
            user=login.role,
            password=login.password,
            options=login.options,
            application_name=login.application_name,
            client_encoding="utf8",
            sslmode="allow",  # it stays on this machine: encrypt only where Postgres wants it
            connect_timeout=CONNECT_SECONDS,
            autocommit=True,
        )
    except psycopg.Error as exc:
        raise SqlRefusal(words_of_failed_login(str(exc))) from exc


async def _run(connection: psycopg.AsyncConnection, ask: Ask) -> str:
    if ask.begin is None:
        (statement,) = ask.statements
        return _print(await _execute(connection, statement), statement, raw=ask.raw, room=LARGEST_ANSWER)
    await _execute(connection, _bare(ask.begin))
    printed: list[str] = []
    room = LARGEST_ANSWER
    for statement in ask.statements:
        printed.append(_print(await _execute(connection, statement), statement, raw=ask.raw, room=room))
        room -= len(printed[-1])
    await _execute(connection, _bare(b"COMMIT"))
    return f'{{"results":[{",".join(printed)}]}}'


def _bare(query: bytes) -> Statement:
    return Statement(query, (), as_array=True)


async def _execute(connection: psycopg.AsyncConnection, statement: Statement) -> PGresult:
    # The extended protocol, as at Neon: it takes one statement, and gives every value as text.
    connection.pgconn.send_query_params(statement.query, statement.parameters or None)
    results = await connection.wait(generators.execute(connection.pgconn))
    result = results[-1]
    status = ExecStatus(result.status)
    if status in _COPIES:
        raise SqlRefusal("COPY cannot run over HTTP: connect by WebSocket or TCP for it", fields={"code": "0A000"})
    if status not in _DONE:
        raise refusal_of(result)
    return result


def _print(result: PGresult, statement: Statement, *, raw: bool, room: int) -> str:
    columns = range(result.nfields)
    names = [(result.fname(column) or b"").decode() for column in columns]
    oids = [result.ftype(column) for column in columns]
    fields = [
        {
            "name": names[column],
            "dataTypeID": oids[column],
            "tableID": result.ftable(column),
            "columnID": result.ftablecol(column),
            "dataTypeSize": result.fsize(column),
            "dataTypeModifier": result.fmod(column),
            "format": "text",
        }
        for column in columns
    ]
    rows: list[str] = []
    for number in range(result.ntuples):
        values = [
            None if (got := result.get_value(number, column)) is None else bytes(got).decode() for column in columns
        ]
        rows.append(row(names, oids, values, as_array=statement.as_array, raw=raw))
        room -= len(rows[-1])
        if room < 0:
            raise SqlRefusal(f"response is too large (max is {LARGEST_ANSWER} bytes)", status=507)
    command, count = command_of((result.command_status or b"").decode())
    head = json.dumps(
        {"rowAsArray": statement.as_array, "command": command, "rowCount": count, "fields": fields}, ensure_ascii=False
    )
    return f'{head[:-1]},"rows":[{",".join(rows)}]}}'

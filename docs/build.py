"""The pages that the code and the folders themselves tell: the API, the errors, the list of decisions.

`python -m docs.build` writes them; a test fails while one of them is not what the code says.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

import tenantry
from tenantry.cli.main import app
from tenantry.core.errors import TenantryError
from tenantry.local.app import ROUTES
from tenantry.local.plans import PLANS
from tenantry.local.routes import absent
from tenantry.local.routes.published import published, without_route
from tenantry.session.judgement import CHECKS, POWERFUL_ROLES
from tenantry.session.vulnerabilities import VULNERABILITIES, Vulnerability
from tests.isolation.matrix.roster import UNSEEN, WAYS
from tests.isolation.matrix.table import ATTACKS, ELSEWHERE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import ModuleType

    from tenantry.local.routes.published import Published

__all__ = ["DOCS", "REFERENCE", "commands", "errors", "pages"]

DOCS = Path(__file__).parent
REFERENCE = DOCS / "reference"

# The modules of `session` that an application imports by name; the rest is theirs.
DRIVERS = ("asyncpg", "psycopg", "sqlalchemy")

# And the modules of other rooms that it imports.
ROOMS = ("web", "web.asgi", "web.wsgi", "web.fastapi", "session.logs", "session.opentelemetry", "testing")

_WRITTEN_BY = "Written by `make docs` from the code; change it there.\n"


def errors() -> list[type[TenantryError]]:
    """Every public error of every layer's `errors.py`, parents before children."""
    package = Path(tenantry.__file__).parent
    for path in sorted(package.glob("*/errors.py")):
        importlib.import_module(f"tenantry.{path.parent.name}.errors")
    found: list[type[TenantryError]] = []
    waiting: list[type[TenantryError]] = [TenantryError]
    while waiting:
        error = waiting.pop()
        # What stands elsewhere would be found or not, as its module happens to be loaded.
        if error.__module__.endswith(".errors") and not error.__name__.startswith("_") and error not in found:
            found.append(error)
        waiting.extend(sorted(error.__subclasses__(), key=lambda child: child.__name__, reverse=True))
    return found


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its whole name, as `tenantry branches list`; a group before what is in it.

    What Typer hands out is its own copy of a click command, which it gives no public type.
    """
    waiting: list[tuple[str, Any]] = [("tenantry", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop()
        yield name, command
        waiting.extend((f"{name} {sub}", child) for sub, child in reversed(getattr(command, "commands", {}).items()))


def _doc(thing: object) -> str:
    return inspect.cleandoc(getattr(thing, "__doc__", None) or "") + "\n"


def render_errors() -> str:
    """Give the page of errors."""
    head = (
        f"# Errors\n\n{_WRITTEN_BY}\n"
        "All are children of `TenantryError`. Each keeps its parts as attributes, and its message names the value and "
        "the way out.\n"
    )
    parts = [head]
    for error in errors():
        parents = ", ".join(f"`{base.__name__}`" for base in error.__bases__)
        facts = f"`{error.__module__}`; a kind of {parents}; the command line ends with status {error.exit_status}."
        parts.append(f"## `{error.__name__}`\n\n{facts}\n\n{_doc(error)}")
    return "\n".join(parts)


class _Plain(str):
    """An annotation as it is written: without the quotes that `from __future__ import annotations` gives it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _plain(annotation: Any) -> Any:
    return _Plain(annotation) if isinstance(annotation, str) else annotation


def _signature(thing: Callable[..., Any]) -> str:
    try:
        signature = inspect.signature(thing)
    except ValueError:
        return "(...)"
    parameters = [p.replace(annotation=_plain(p.annotation)) for p in signature.parameters.values()]
    return str(signature.replace(parameters=parameters, return_annotation=_plain(signature.return_annotation)))


def _plain_type(annotated: Any) -> str:
    inner = annotated.__origin__
    return getattr(inner, "__name__", str(inner))


def _public(module: ModuleType) -> Iterator[str]:
    for name in sorted(getattr(module, "__all__", ())):
        thing = getattr(module, name)
        if isinstance(thing, type) and issubclass(thing, Exception):
            yield f"### `{name}`\n\nAn error: see [Errors](errors.md).\n"
        elif inspect.isroutine(thing) or isinstance(thing, type):
            yield f"### `{name}`\n\n```text\n{name}{_signature(thing)}\n```\n\n{_doc(thing)}"
        elif metadata := getattr(thing, "__metadata__", None):  # of Annotated: it would be told by its address
            yield f"### `{name}`\n\n`Annotated[{_plain_type(thing)}, {type(metadata[0]).__name__}(...)]`\n"
        else:
            yield f"### `{name}`\n\n`{thing!r}`\n"


def render_api() -> str:
    """Give the page of what an application imports: the package root, the drivers in `session`, and `ROOMS`."""
    head = f"# API\n\n{_WRITTEN_BY}\nWhat is not here is tenantry's own and may change without notice.\n"
    parts = [head]
    for module in (
        tenantry,
        *(importlib.import_module(f"tenantry.session.{driver}") for driver in DRIVERS),
        *(importlib.import_module(f"tenantry.{room}") for room in ROOMS),
    ):
        parts.extend([f"## `{module.__name__}`\n\n{_doc(module)}", *_public(module)])
    return "\n".join(parts)


def _limits() -> Iterator[str]:
    plans = [plan for plan in PLANS.values() if plan.name != "none"]
    yield f"| limit | {' | '.join(f'`{plan.name}`' for plan in plans)} |"
    yield "|---|" + "---|" * len(plans)
    for field in dataclasses.fields(plans[0]):
        if field.name != "name":
            values = (getattr(plan, field.name) for plan in plans)
            cells = ("yes" if value is True else "no" if value is False else f"{value:,}" for value in values)
            yield f"| {field.name.replace('_', ' ')} | {' | '.join(cells)} |"


def _table(operations: Iterable[Published]) -> str:
    rows = (f"| `{one.operation_id}` | `{one.method} {one.path}` |" for one in operations)
    return "\n".join(["| operation | route |", "|---|---|", *rows])


def render_engine_api() -> str:
    """Give the page of what of Neon's API the local engine serves, by operation."""
    missing = set(without_route(ROUTES))
    present = set(without_route([route for route in ROUTES if route not in absent.ROUTES])) - missing
    served = [one for one in published() if one not in missing | present]
    return f"""# The local engine's API

{_WRITTEN_BY}
The local engine serves Neon's API v2 below `/api/v2`, with Neon's status codes and error bodies. Every operation that
Neon publishes stands here once.

## Served: {len(served)} operations

{_table(served)}

## Answered as where there is none: {len(present)} operations

An empty list, or a 404 for what is not enabled or cannot be recovered: clients go on from there.

{_table(one for one in published() if one in present)}

## Not served: {len(missing)} operations

A 501 whose message names the operation. Nothing is done.

{_table(one for one in published() if one in missing)}

## Plans

`tenantry up --plan free`, `tenantry engine serve --plan free` or `TENANTRY_PLAN=free` has the engine refuse what that
plan would, with Neon's codes, such as a 422 with `BRANCHES_LIMIT_EXCEEDED`. Branches, roots, protected branches,
snapshots and computes are counted a project, roles and databases a branch; the default branch's computes do not count
as active. A root is a branch without a parent. What is above a limit already may stay and shrink.

{chr(10).join(_limits())}
"""


def _holes() -> Iterator[str]:
    majors = sorted({major for hole in VULNERABILITIES for major in hole.fixed}, reverse=True)
    yield f"| CVE | what | {' | '.join(f'{major}' for major in majors)} |"
    yield "|---|---|" + "---|" * len(majors)
    for hole in VULNERABILITIES:
        cells = " | ".join(_fixed_in(hole, major) for major in majors)
        yield f"| [{hole.cve}]({hole.page}) | {hole.what} | {cells} |"


def _fixed_in(hole: Vulnerability, major: int) -> str:
    if major in hole.fixed:
        return f"{major}.{hole.fixed[major]}"
    return "never" if hole.affects(major * 10_000) else "no"


def render_safety() -> str:
    """Give the page of what a pool's first connection is checked for."""
    checks = "\n".join(f"| `{code}` | {what} |" for code, what in CHECKS.items() if not code.startswith("CVE"))
    roles = "\n".join(f"| `{role}` | {what} |" for role, what in POWERFUL_ROLES.items())
    return f"""# What a pool is checked for

{_WRITTEN_BY}
Row security binds neither a superuser, nor a role with BYPASSRLS, nor, unless it is forced, the owner of a table. So
before a protected pool hands out its first connection, that connection is checked. What is wrong with its role, its
server or the pooler before it is told in one error, each thing with the SQL that mends it, and nothing of the
application is sent. The next connection is checked again: what was mended works without a restart. Once a check has
passed, the pool costs nothing more; after `engine.dispose()` it is checked anew. So it is with the pools of asyncpg
that tenantry makes; and of psycopg's own `TenantConnection`, in a pool or not, the first to each database by each role
is checked. `tenant_transaction` on a plain connection checks nothing.

A check is one transaction: two settings, one query for all facts (about a millisecond on a quiet machine), COMMIT, and
a look at whether the setting is gone. It needs no scope and no right of its own, and leaves nothing on the connection.

## Refused

| code | because |
|---|---|
{checks}

Both the role that logged in and the current one are judged. Roles are followed from grant to grant: a grant that may be
used for SET ROLE, or that has ADMIN OPTION, leads to all that the granted role is and owns; one that is only inherited
leads to what it owns. Up to Postgres 15 every grant may be used for SET ROLE. What counts as owned is anything in this
database but temporary tables, and the database itself.

These roles are refused to the application whoever owns what:

| role | because it |
|---|---|
{roles}

CREATEDB is not refused, since an application may have to make databases; it is written to the log.

## How to mend it

The error has each statement, with the names filled in, in its message and in `error.sql`. An administrator runs them in
the same database:

```sql
ALTER ROLE "shop_app" NOSUPERUSER;                         -- or NOBYPASSRLS, NOCREATEROLE, NOREPLICATION
REASSIGN OWNED BY "shop_app" TO CURRENT_USER;              -- then grant the application what it needs
REVOKE "neon_superuser" FROM "shop_app" GRANTED BY "cloud_admin";
ALTER ROLE "shop_app" IN DATABASE "shop" RESET row_security;
```

Mostly the application has logged in with the wrong role: `tenantry apply` makes one for it, `<schema>_app`, which
passes.

## Holes of Postgres

A server older than what stands here has a hole in row security itself, and is refused. `never` means that the version
had reached its end of life, and `no` that it never had the hole. The table holds what the Postgres project published up
to its releases of 2026-11-12; each new release of tenantry brings it up to date.

{chr(10).join(_holes())}

The local engine runs the Postgres that its wheel brings or that is installed. It tells so in the log and is not
refused, since it holds no tenant's real rows: its servers are known by their `cluster_name`, which only who starts a
server can set.

## If it must run all the same

```python
protect(engine, allow_unsafe="the host brings 17.12 in December")
protect(engine, allow_unsafe={{"CVE-2026-120154": "no table has a unique key that tenants choose"}})
```

A reason alone lets everything through; a mapping only the codes that it names, each for its reason. It is loud: at each
start the loggers `tenantry` and `tenantry.audit` and an `UnsafeWarning` say the role, the database, the reason and what
was let through. An empty reason and a code that no check has raise `UsageError`.
"""


def render_attacks() -> str:
    """Give the page of the attacks on pools, sessions and contexts."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for attack in ATTACKS:
        names = rows.setdefault((attack.hole, attack.tries, attack.guard.what), [])
        names.append(f"{attack.name} ({attack.reason})" if attack.reason else attack.name)
    tried = [f"| {hole} | {tries} | {'; '.join(names)} | {what} |" for (hole, tries, what), names in rows.items()]
    elsewhere = [f"| {one.hole} | {one.tries} | {one.where} |" for one in ELSEWHERE]
    gaps = [f"- {way}, {guard.what}: {why}." for way, guards in UNSEEN.items() for guard, why in guards.items()]
    return f"""# Attacks

{_WRITTEN_BY}
What one tenant may try on another through a pool, a session or a scope. `tests/isolation/test_attacks.py` tries each of
these, on a real Postgres, through each of {len(WAYS)} ways: {"; ".join(WAYS)}. Each goes directly and through PgBouncer
in transaction mode, on one connection that both tenants use. An attack gets nothing; with its guard taken out it gets
something, or the test would be blind; and the other tenant's row is there, and its owner sees it. In parentheses: why
an attack is not tried on every way.

| hole | what is tried | attacks | guard |
|---|---|---|---|
{chr(10).join(tried)}

## Guards that are there and cannot be taken out

{chr(10).join(gaps) or "None."}

## Tried elsewhere, or not yet

| hole | what it is | where |
|---|---|---|
{chr(10).join(elsewhere)}
"""


def render_decisions() -> str:
    """Give the list of decisions, oldest first, with each one's title."""
    head = "# Decisions\n\nWhat others would have decided differently, and why we did not. Written by `make docs`.\n"
    lines = [
        f"- {path.name[:10]} [{path.read_text(encoding='utf-8').partition(chr(10))[0].removeprefix('# ')}]({path.name})"
        for path in sorted((DOCS / "decisions").glob("2*.md"))
    ]
    return "\n".join([head, *lines]) + "\n"


def pages() -> dict[str, str]:
    """Render every page, by its place below `docs/`."""
    return {
        "decisions/README.md": render_decisions(),
        "reference/api.md": render_api(),
        "reference/attacks.md": render_attacks(),
        "reference/engine-api.md": render_engine_api(),
        "reference/errors.md": render_errors(),
        "reference/safety.md": render_safety(),
    }


def main() -> None:
    """Write the pages."""
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

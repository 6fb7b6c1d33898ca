"""The program `tenantry`: its commands, and how each kind of failure ends it.

Exit statuses: 0 done (and for `plan`: nothing to change), 1 failed, 2 only from `plan`: there are changes,
64 used wrongly, 69 this machine lacks something, 70 a bug of ours, 130 interrupted.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn, cast

import typer

from tenantry.cli import audit_log, branches, connection, context_key, demo, engine, layout, neon, plan
from tenantry.core.errors import TenantryError

__all__ = ["app", "main"]

BUG = 70
INTERRUPTED = 130
USED_WRONGLY = 64

app = typer.Typer(
    name="tenantry",
    help="Keep the tenants of an application apart on Postgres: rows, schemas, Neon branches, projects.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
plan.register(app)
engine.register(app)
demo.register(app)
branches.register(app)
connection.register(app)
context_key.register(app)
audit_log.register(app)
layout.register(app)
neon.register(app)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:  # noqa: FBT001
    if version:
        from tenantry import __version__

        typer.echo(__version__)
        raise typer.Exit


# Typer carries its own copy of click, and hands out only the leaves of its tree of errors.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])
_ClickError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[2])


def main() -> NoReturn:
    """Run the command that the arguments name, and exit with its status. No traceback reaches the user."""
    # What a command has to say it says itself; only `engine serve` keeps a log.
    logging.getLogger("tenantry").addHandler(logging.NullHandler())
    try:
        status = app(standalone_mode=False)
    except TenantryError as exc:
        _say(str(exc))
        status = exc.exit_status
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted: what was done stays, and the same command goes on from there")
        status = INTERRUPTED
    except BrokenPipeError:
        # Who read our output has gone. Keep the interpreter from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except _UsageError as exc:
        exc.show()
        status = USED_WRONGLY
    except _ClickError as exc:
        exc.show()
        status = 1
    except OSError as exc:
        _say(f"{exc.strerror or exc}: {exc.filename or 'the operating system gives no file'}")
        status = 1
    except Exception as exc:
        if os.environ.get("TENANTRY_DEBUG"):
            raise
        _say(f"this is a bug in tenantry ({type(exc).__name__}): run it again with TENANTRY_DEBUG=1 and report it")
        status = BUG
    sys.exit(status if isinstance(status, int) else 0)


def _say(message: str) -> None:
    from tenantry.cli.output import error

    error(message)

"""The command line: a module a noun. Parse, call, print."""

from tenantry.cli.main import main

__all__ = ["main"]
